import { toRichText } from 'tldraw'
import { afterEach, describe, expect, test, vi } from 'vitest'
import * as Y from 'yjs'
import {
  arrow,
  binding,
  bytes,
  connect,
  contents,
  geo,
  type Loose,
  makeStore,
  note,
  open,
  page,
  put,
  records,
  shape,
} from './boards'

const OURS = makeStore().schema.serialize()

function schema(changes: Record<string, number>, without: string[] = []): Loose {
  const sequences = Object.entries({ ...OURS.sequences, ...changes }).filter(([key]) => !without.includes(key))
  return { schemaVersion: 2, sequences: Object.fromEntries(sequences) }
}

const OLD = schema({
  'com.tldraw.shape.geo': 9,
  'com.tldraw.shape.note': 7,
  'com.tldraw.shape.arrow': 3,
  'com.tldraw.binding.arrow': 0,
})
const NEW = schema({ 'com.tldraw.shape.geo': 999 })

function without(record: Loose, ...keys: string[]): Loose {
  const props = Object.fromEntries(Object.entries(record.props).filter(([key]) => !keys.includes(key)))
  return { ...record, props }
}

const OLD_GEO = without(geo('old', {}, { text: 'first\nsecond', w: 300 }), 'richText')
const OLD_ARROW = without(
  arrow(
    'old-arrow',
    {},
    {
      start: {
        type: 'binding',
        boundShapeId: 'shape:old',
        normalizedAnchor: { x: 0.5, y: 0.5 },
        isExact: false,
        isPrecise: false,
      },
      end: { type: 'point', x: 90, y: 80 },
    },
  ),
  'kind',
  'elbowMidPoint',
)

function board(value: unknown, ...list: Loose[]): Y.Doc {
  const doc = new Y.Doc()
  put(doc, page('page'), ...list)
  if (value !== undefined) doc.getMap('meta').set('schema', value)
  return doc
}

function edit(tab: Loose, x: number): void {
  tab.store.update('shape:today', (record: Loose) => ({ ...record, x }))
}

describe('a board of an older schema', () => {
  const today = note('today', 'an agent’s')

  test('is migrated on the screen, and not in the document', () => {
    const doc = board(OLD, OLD_GEO, OLD_ARROW, today)
    const before = bytes(doc)
    const tab = open(doc)
    expect(shape(tab, 'old').props.richText).toEqual(toRichText('first\nsecond'))
    expect(shape(tab, 'old').props).not.toHaveProperty('text')
    expect(contents(tab)['binding:old-arrow-start' as Loose]).toMatchObject({
      fromId: 'shape:old-arrow',
      toId: 'shape:old',
    })
    expect(shape(tab, 'today')).toEqual(today)
    expect(tab.statuses).toEqual(['editable'])
    expect(bytes(doc)).toBe(before)
  })

  test('is written back with a person’s first edit, once and whole', () => {
    const doc = board(OLD, OLD_GEO, OLD_ARROW, today)
    const tab = open(doc)
    edit(tab, 5)
    expect(doc.getMap('meta').get('schema')).toEqual(OURS)
    expect(records(doc).toJSON()).toEqual({ ...contents(tab) })
    const fresh = open(doc)
    expect(contents(fresh)).toEqual(contents(tab))
    expect(fresh.skipped).toEqual([])
  })

  test('is not written back by a viewer', () => {
    const doc = board(OLD, OLD_GEO, today)
    const before = bytes(doc)
    const tab = open(doc, { readOnly: true })
    edit(tab, 5)
    expect(shape(tab, 'old').props.richText).toEqual(toRichText('first\nsecond'))
    expect(bytes(doc)).toBe(before)
  })

  test('two tabs that migrate it at once agree', () => {
    const docs = [board(OLD, OLD_GEO, OLD_ARROW, today), new Y.Doc()] as const
    Y.applyUpdate(docs[1], Y.encodeStateAsUpdate(docs[0]))
    const [one, two] = [open(docs[0]), open(docs[1])]
    edit(one, 5)
    edit(two, 5)
    connect(...docs)
    for (const [from, to] of [docs, [docs[1], docs[0]]] as const)
      Y.applyUpdate(to, Y.encodeStateAsUpdate(from), 'network')
    expect(contents(one)).toEqual(contents(two))
    expect(Object.keys(contents(one)).filter(id => id.startsWith('binding:'))).toHaveLength(1)
    expect(records(docs[0]).toJSON()).toEqual({ ...contents(one) })
  })

  test('takes records that agents write today as they are, and old ones that come later', () => {
    const tab = open(board(OLD))
    const own = binding('b', 'a', 'today')
    const elbow = arrow('elbow', {}, { kind: 'elbow' })
    put(tab.doc, today, OLD_GEO, arrow('a'), own, elbow)
    expect(shape(tab, 'elbow')).toEqual(elbow)
    expect(shape(tab, 'today')).toEqual(today)
    expect(shape(tab, 'old').props.richText).toEqual(toRichText('first\nsecond'))
    expect(contents(tab)['binding:b' as Loose]).toEqual(own)
  })

  test('one record that breaks a migration takes no other one along', () => {
    const quiet = vi.spyOn(console, 'error').mockImplementation(() => {})
    const tab = open(board(OLD, OLD_GEO, { ...OLD_ARROW, props: null }, today))
    expect(shape(tab, 'old').props.richText).toEqual(toRichText('first\nsecond'))
    expect(shape(tab, 'today')).toEqual(today)
    quiet.mockRestore()
  })

  test('becomes a migrated one as soon as another tab has migrated it', () => {
    const docs = [board(OLD, OLD_GEO, today), new Y.Doc()] as const
    Y.applyUpdate(docs[1], Y.encodeStateAsUpdate(docs[0]))
    connect(...docs)
    const [one, two] = [open(docs[0]), open(docs[1])]
    edit(one, 5)
    const before = bytes(docs[1])
    edit(two, 6)
    expect(contents(two)).toEqual(contents(one))
    expect(Y.encodeStateAsUpdate(docs[1]).length - Buffer.from(before, 'base64').length).toBeLessThan(1000)
  })

  test('keeps what a person made just before another tab migrated it', () => {
    const docs = [board(OLD, OLD_GEO, today), new Y.Doc()] as const
    Y.applyUpdate(docs[1], Y.encodeStateAsUpdate(docs[0]))
    connect(...docs)
    const [one, two] = [open(docs[0]), open(docs[1])]
    vi.useFakeTimers()
    // A browser's store tells its changes a frame later.
    Object.assign(globalThis, { __FORCE_RAF_IN_TESTS__: true })
    two.store.put([note('new', 'mine') as Loose])
    Object.assign(globalThis, { __FORCE_RAF_IN_TESTS__: undefined })
    edit(one, 5)
    two.binding.flush()
    vi.useRealTimers()
    expect(shape(two, 'new')).toBeDefined()
    expect(shape(one, 'new')).toBeDefined()
  })
})

describe('a board of a newer schema', () => {
  test.each([
    ['with a newer sequence', NEW],
    ['with an unknown sequence', schema({ 'com.example.nuke': 1 })],
    ['with a newer kind of schema', { schemaVersion: 3, sequences: {} }],
    ['both newer and older', schema({ 'com.tldraw.shape.geo': 999, 'com.tldraw.shape.note': 1 })],
  ])('%s is shown, and nothing is written', (_name, value) => {
    const doc = board(value, note('today', 'a'))
    const before = bytes(doc)
    const tab = open(doc)
    edit(tab, 5)
    tab.binding.stop()
    expect(tab.statuses).toEqual(['outdated'])
    expect(shape(tab, 'today')).toBeDefined()
    expect(bytes(doc)).toBe(before)
  })

  test('becomes read-only as soon as another tab writes one, and stays so', () => {
    vi.useFakeTimers()
    const tab = open(board(undefined, note('today', 'a')))
    edit(tab, 1)
    edit(tab, 2)
    tab.doc.getMap('meta').set('schema', NEW)
    const before = bytes(tab.doc)
    vi.runAllTimers()
    edit(tab, 3)
    expect(tab.statuses).toEqual(['editable', 'outdated'])
    expect(bytes(tab.doc)).toBe(before)
    put(tab.doc, geo('later'))
    expect(shape(tab, 'later')).toBeDefined()
    tab.doc.getMap('meta').set('schema', OURS)
    edit(tab, 4)
    expect(tab.statuses).toEqual(['editable', 'outdated'])
  })

  test('shows nothing that can no longer be written', () => {
    vi.useFakeTimers()
    const tab = open(board(undefined, note('today', 'a')))
    edit(tab, 1)
    edit(tab, 2)
    tab.doc.getMap('meta').set('schema', NEW)
    expect(shape(tab, 'today').x).toBe(1)
  })

  afterEach(() => void vi.useRealTimers())
})

describe('a schema that makes no sense', () => {
  test.each([
    ['none', undefined],
    ['null', null],
    ['a number', 7],
    ['a text', 'schema'],
    ['an array', []],
    ['nothing in it', {}],
    ['a version of a wrong kind', { schemaVersion: '2', sequences: {} }],
    ['sequences of a wrong kind', { schemaVersion: 2, sequences: 5 }],
    ['negative versions', schema({ 'com.tldraw.shape.geo': -1 })],
    ['versions of a wrong kind', schema({ 'com.tldraw.shape.geo': '9' as Loose })],
    ['a shared map', () => new Y.Map()],
    ['an ancient one without anything', { schemaVersion: 1, storeVersion: 0, recordVersions: {} }],
    ['an ancient one full of junk', { schemaVersion: 1, storeVersion: 99, recordVersions: { shape: 7, page: null } }],
    ['all at their first versions', schema(Object.fromEntries(Object.keys(OURS.sequences).map(key => [key, 0])))],
  ])('%s: records of today are shown and can be edited', (_name, value) => {
    const quiet = vi.spyOn(console, 'error').mockImplementation(() => {})
    const today = note('today', 'words')
    const tab = open(board(typeof value === 'function' ? value() : value, today))
    expect(shape(tab, 'today')).toEqual(today)
    edit(tab, 5)
    expect(tab.statuses).toEqual(['editable'])
    expect(records(tab.doc).get('shape:today')).toEqual({ ...today, x: 5 })
    expect(tab.doc.getMap('meta').get('schema')).toEqual(OURS)
    quiet.mockRestore()
  })
})
