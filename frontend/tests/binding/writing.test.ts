import type { Editor, TLShapeId } from 'tldraw'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import * as Y from 'yjs'
import { LOCAL } from '../../src/binding/bindStore'
import { STEPS_MAX } from '../../src/binding/intents'
import {
  arrow,
  binding,
  bytes,
  connect,
  contents,
  draw,
  frame,
  geo,
  type Loose,
  makeEditor,
  note,
  open,
  page,
  put,
  records,
  shape,
  shapeIds,
} from './boards'

const id = (name: string) => `shape:${name}` as TLShapeId

function change(tab: Loose, name: string, changes: object, props: object = {}): void {
  tab.store.update(id(name), (record: Loose) => ({ ...record, ...changes, props: { ...record.props, ...props } }))
}

function written(tab: Loose, name: string): Loose {
  return records(tab.doc).get(id(name))
}

function pair(...list: Loose[]) {
  const docs = [new Y.Doc(), new Y.Doc()] as const
  connect(...docs)
  put(docs[0], page('page'), ...list)
  return [open(docs[0]), open(docs[1])] as const
}

describe('the first edit', () => {
  test('nothing is written by opening, nor by a remote edit', () => {
    const tab = open()
    const empty = bytes(tab.doc)
    expect(tab.store.has('page:page' as Loose)).toBe(true)
    expect(bytes(tab.doc)).toBe(empty)
    put(tab.doc, page('page'), geo('a'))
    const before = bytes(tab.doc)
    open(tab.doc)
    expect(bytes(tab.doc)).toBe(before)
  })

  test('brings page, document and schema along, in one transaction of our origin', () => {
    const tab = open()
    const origins: unknown[] = []
    tab.doc.on('afterTransaction', ({ origin, changed }) => changed.size > 0 && origins.push(origin))
    tab.store.put([geo('a')])
    expect(origins).toEqual([LOCAL])
    expect([...records(tab.doc).keys()].sort()).toEqual(['document:document', 'page:page', 'shape:a'])
    expect(tab.doc.getMap('meta').get('schema')).toEqual(tab.store.schema.serialize())
  })

  test('two tabs that open an empty board at once have one page', () => {
    const docs = [new Y.Doc(), new Y.Doc()] as const
    const [one, two] = [open(docs[0]), open(docs[1])]
    one.store.put([geo('a')])
    two.store.put([geo('b')])
    connect(...docs)
    for (const [from, to] of [docs, [docs[1], docs[0]]] as const)
      Y.applyUpdate(to, Y.encodeStateAsUpdate(from), 'network')
    for (const tab of [one, two]) {
      expect(Object.keys(contents(tab)).sort()).toEqual(['document:document', 'page:page', 'shape:a', 'shape:b'])
    }
    expect(contents(one)).toEqual(contents(two))
  })

  test.each([
    ['none', undefined],
    ['one that cannot be read', 7],
  ])('shapes on a board with no page but %s are shown, and a first edit gives them theirs', (_name, value) => {
    const tab = open()
    if (value !== undefined) records(tab.doc).set('page:page', value)
    put(tab.doc, geo('a'))
    expect(shapeIds(tab)).toEqual(['shape:a'])
    tab.store.put([geo('b')])
    expect(records(tab.doc).get('page:page')).toEqual(tab.store.get('page:page' as Loose))
    expect(shapeIds(open(tab.doc))).toEqual(['shape:a', 'shape:b'])
  })

  test('a page that nobody used goes when the board turns out to have another one', () => {
    const tab = open()
    put(tab.doc, page('other'), geo('a', { parentId: 'page:other' }))
    expect(Object.keys(contents(tab)).sort()).toEqual(['document:document', 'page:other', 'shape:a'])
    change(tab, 'a', { x: 1 })
    expect(records(tab.doc).has('page:page')).toBe(false)
  })

  test('the last page and the document can be deleted by others without harm', () => {
    const tab = open()
    const editor = makeEditor(tab.store)
    put(tab.doc, page('one'), geo('a', { parentId: 'page:one' }), {
      id: 'document:document',
      typeName: 'document',
    } as Loose)
    const before = bytes(tab.doc)
    expect(bytes(tab.doc)).toBe(before)
    for (const key of [...records(tab.doc).keys()]) records(tab.doc).delete(key)
    expect(Object.keys(contents(tab)).sort()).toEqual(['document:document', 'page:page'])
    expect(editor.getCurrentPageId()).toBe('page:page')
    expect(records(tab.doc).size).toBe(0)
    editor.dispose()
  })

  test('a viewer writes nothing at all', () => {
    const tab = open(new Y.Doc(), { readOnly: true })
    put(tab.doc, page('page'), geo('a'))
    const before = bytes(tab.doc)
    change(tab, 'a', { x: 5 })
    tab.store.put([geo('b')])
    tab.binding.flush()
    tab.binding.stop()
    expect(bytes(tab.doc)).toBe(before)
  })
})

describe('edits of several people', () => {
  test('only the properties that changed are written, into the latest record', () => {
    const [one, two] = pair(geo('a'))
    one.store.mergeRemoteChanges(() => change(one, 'a', {}, { growY: 50 }))
    change(two, 'a', { x: 30, meta: { by: 'two' } })
    change(one, 'a', {}, { color: 'red' })
    expect(written(one, 'a')).toEqual(geo('a', { x: 30, meta: { by: 'two' } }, { color: 'red' }))
    expect(contents(two)['shape:a' as Loose]).toEqual(written(one, 'a'))
  })

  test.each([
    ['higher', 1, 2],
    ['lower', 2, 1],
  ])('a change survives the drag of another person, whose client id is %s', (_name, mine, theirs) => {
    vi.useFakeTimers()
    const docs = [new Y.Doc(), new Y.Doc()] as const
    put(docs[0], page('page'), geo('a'))
    Y.applyUpdate(docs[1], Y.encodeStateAsUpdate(docs[0]))
    docs[0].clientID = mine
    docs[1].clientID = theirs
    const [one, two] = [open(docs[0]), open(docs[1])]
    for (const [from, to] of [docs, [docs[1], docs[0]]] as const) {
      from.on('update', (update: Uint8Array, origin: unknown) => {
        if (origin === LOCAL) setTimeout(() => Y.applyUpdate(to, update, 'network'), 30)
      })
    }
    for (let x = 1; x <= 30; x++) {
      change(two, 'a', { x })
      if (x === 10) change(one, 'a', {}, { color: 'red' })
      if (x === 20) change(one, 'a', { opacity: 0.5 })
      vi.advanceTimersByTime(10)
    }
    vi.runAllTimers()
    for (const tab of [one, two])
      expect(shape(tab, 'a')).toMatchObject({ x: 30, opacity: 0.5, props: { color: 'red' } })
    expect(written(one, 'a')).toEqual(written(two, 'a'))
    vi.useRealTimers()
  })

  test.each([
    [1, 2, 3],
    [1, 3, 2],
    [2, 1, 3],
    [2, 3, 1],
    [3, 1, 2],
    [3, 2, 1],
  ])('of three who change a shape at once each one’s change stands (client ids %i, %i, %i)', (...clients) => {
    vi.useFakeTimers()
    const docs = clients.map(() => new Y.Doc())
    const [first] = docs as [Y.Doc]
    put(first, page('page'), geo('a'))
    docs.forEach((doc, n) => {
      if (doc !== first) Y.applyUpdate(doc, Y.encodeStateAsUpdate(first))
      doc.clientID = clients[n] as number
    })
    const tabs = docs.map(doc => open(doc))
    const log: [Y.Doc, Uint8Array][] = []
    for (const doc of docs) doc.on('update', (update, origin) => origin === LOCAL && log.push([doc, update]))
    change(tabs[0], 'a', { x: 1 })
    change(tabs[1], 'a', { y: 1 })
    change(tabs[2], 'a', { opacity: 0.5 })
    // The log grows by what is done again.
    for (const [from, update] of log) {
      for (const doc of docs) if (doc !== from) Y.applyUpdate(doc, update, 'network')
      vi.runAllTimers()
      expect(log.length).toBeLessThan(20)
    }
    for (const tab of tabs) expect(written(tab, 'a')).toMatchObject({ x: 1, y: 1, opacity: 0.5 })
    vi.useRealTimers()
  })

  test('what another person sets back after a long drag of two stays so', () => {
    const docs = [new Y.Doc(), new Y.Doc(), new Y.Doc()] as const
    connect(...docs)
    put(docs[0], page('page'), geo('a'))
    const tab = open(docs[0])
    change(tab, 'a', { x: 1 })
    for (let y = 1; y <= STEPS_MAX / 2 + 1; y++) for (const doc of [docs[1], docs[2]]) put(doc, geo('a', { x: 1, y }))
    put(docs[1], geo('a', { x: 0 }))
    tab.binding.flush()
    expect(written(tab, 'a').x).toBe(0)
  })

  test('of two who change the same property at once one has it, and the other one’s other change stands', () => {
    vi.useFakeTimers()
    const docs = [new Y.Doc(), new Y.Doc()] as const
    put(docs[0], page('page'), geo('a'))
    Y.applyUpdate(docs[1], Y.encodeStateAsUpdate(docs[0]))
    const [one, two] = [open(docs[0]), open(docs[1])]
    change(one, 'a', { x: 1, y: 1 })
    change(two, 'a', { x: 2, opacity: 0.5 })
    connect(...docs)
    for (const [from, to] of [docs, [docs[1], docs[0]]] as const)
      Y.applyUpdate(to, Y.encodeStateAsUpdate(from), 'network')
    vi.runAllTimers()
    expect(written(one, 'a')).toEqual(written(two, 'a'))
    expect(written(one, 'a')).toMatchObject({ y: 1, opacity: 0.5 })
    expect([1, 2]).toContain(written(one, 'a').x)
    vi.useRealTimers()
  })

  test('a deletion stands against the edit of another one, and no half record is left', () => {
    const docs = [new Y.Doc(), new Y.Doc()] as const
    put(docs[0], page('page'), geo('a'))
    Y.applyUpdate(docs[1], Y.encodeStateAsUpdate(docs[0]))
    const [one, two] = [open(docs[0]), open(docs[1])]
    one.store.remove([id('a')])
    change(two, 'a', { x: 9 })
    connect(...docs)
    for (const [from, to] of [docs, [docs[1], docs[0]]] as const)
      Y.applyUpdate(to, Y.encodeStateAsUpdate(from), 'network')
    expect(contents(one)).toEqual(contents(two))
    expect([undefined, geo('a', { x: 9 })]).toContainEqual(written(one, 'a'))
  })

  test('what a person deletes under an open edit takes its pending edit along', () => {
    vi.useFakeTimers()
    const [one, two] = pair(geo('a'))
    change(one, 'a', { x: 1 })
    change(one, 'a', { x: 2 })
    two.store.remove([id('a')])
    vi.runAllTimers()
    expect(written(one, 'a')).toBeUndefined()
    expect(shapeIds(one)).toEqual([])
    vi.useRealTimers()
  })

  test('a held back edit makes no record anew that is just being deleted', () => {
    vi.useFakeTimers()
    const [one] = pair(geo('a'))
    change(one, 'a', { x: 1 })
    change(one, 'a', { x: 2 })
    one.doc.transact(() => {
      records(one.doc).delete('shape:a')
      one.binding.flush()
    })
    expect(written(one, 'a')).toBeUndefined()
    expect(shapeIds(one)).toEqual([])
    vi.useRealTimers()
  })

  test('remote changes are not echoed, even where an open editor would react to them', () => {
    const [one, two] = pair(frame('f'), geo('a'), arrow('arrow'), binding('b', 'arrow', 'a'))
    const editor = makeEditor(one.store)
    let echoes = 0
    one.doc.on('afterTransaction', ({ origin, changed }) => {
      if (origin === LOCAL && changed.size > 0) echoes++
    })
    change(two, 'a', { parentId: 'shape:f', index: 'a5' })
    put(
      two.doc,
      geo('same', { index: 'a5', parentId: 'shape:f' }),
      arrow('x', { index: 'a5' }),
      binding('c', 'x', 'same'),
    )
    records(two.doc).delete('shape:a')
    expect(echoes).toBe(0)
    expect(editor.getCurrentPageShapeIds().size).toBe(4)
    expect(contents(one)).toEqual(contents(two))
    editor.dispose()
  })

  test('what waits for a parent appears when a person of this tab makes one', () => {
    const tab = open()
    put(tab.doc, page('page'), geo('child', { parentId: 'shape:f' }))
    expect(shapeIds(tab)).toEqual([])
    tab.store.put([frame('f')])
    expect(shapeIds(tab)).toEqual(['shape:child', 'shape:f'])
    tab.store.remove([id('f')])
    expect(shapeIds(tab)).toEqual([])
    expect(written(tab, 'child')).toEqual(geo('child', { parentId: 'shape:f' }))
  })

  test('a store can be bound anew', () => {
    const first = open()
    first.store.put([geo('a')])
    first.binding.stop()
    put(first.doc, geo('b'))
    records(first.doc).delete('shape:a')
    const again = open(first.doc, { store: first.store })
    expect(shapeIds(again)).toEqual(['shape:b'])
    let writes = 0
    first.doc.on('update', () => writes++)
    change(again, 'b', { x: 1 })
    expect(writes).toBe(1)
  })

  test('a selected and edited shape that others delete is let go', () => {
    const [one, two] = pair(note('n', 'text'))
    const editor = makeEditor(one.store)
    editor.select(id('n'))
    editor.setEditingShape(id('n'))
    editor.setCurrentTool('select.editing_shape')
    two.store.remove([id('n')])
    expect(editor.getSelectedShapeIds()).toEqual([])
    expect(editor.getEditingShapeId()).toBeNull()
    editor.dispose()
  })

  test('a selected shape that others move to another page is let go', () => {
    const [one, two] = pair(frame('f'), geo('a', { parentId: 'shape:f' }), page('second', { index: 'a2' }))
    const editor = makeEditor(one.store)
    editor.select(id('a'))
    change(two, 'f', { parentId: 'page:second' })
    expect(editor.getSelectedShapeIds()).toEqual([])
    editor.dispose()
  })
})

describe('undo', () => {
  let editor: Editor
  afterEach(() => editor.dispose())

  function started(...list: Loose[]) {
    const [one, two] = pair(...list)
    editor = makeEditor(one.store)
    return [one, two] as const
  }

  function undo(tab: Loose): void {
    editor.undo()
    tab.binding.flush()
  }

  test('of a colour does not take back the move of another person', () => {
    const [one, two] = started(geo('a'))
    editor.markHistoryStoppingPoint()
    editor.updateShape({ id: id('a'), type: 'geo', props: { color: 'red' } })
    change(two, 'a', { x: 77 })
    undo(one)
    for (const tab of [one, two]) expect(shape(tab, 'a')).toMatchObject({ x: 77, props: { color: 'black' } })
    editor.redo()
    one.binding.flush()
    for (const tab of [one, two]) expect(shape(tab, 'a')).toMatchObject({ x: 77, props: { color: 'red' } })
    change(two, 'a', { y: 5 })
    two.binding.flush()
    undo(one)
    for (const tab of [one, two]) expect(shape(tab, 'a')).toMatchObject({ x: 77, y: 5, props: { color: 'black' } })
  })

  test('takes back all of a person’s own steps around the edits of others', () => {
    const [one, two] = started(geo('a'))
    editor.markHistoryStoppingPoint()
    editor.updateShape({ id: id('a'), type: 'geo', x: 10, opacity: 0.5 })
    change(two, 'a', { y: 20 })
    editor.markHistoryStoppingPoint()
    editor.updateShape({ id: id('a'), type: 'geo', x: 30 })
    undo(one)
    expect(shape(two, 'a')).toMatchObject({ x: 10, y: 20, opacity: 0.5 })
    undo(one)
    expect(shape(two, 'a')).toMatchObject({ x: 0, y: 20, opacity: 1 })
    expect(contents(one)).toEqual(contents(two))
  })

  test('does not bring back what another person deleted', () => {
    const [one, two] = started(geo('a'))
    editor.markHistoryStoppingPoint()
    editor.updateShape({ id: id('a'), type: 'geo', props: { color: 'red' } })
    two.store.remove([id('a')])
    undo(one)
    expect(shapeIds(one)).toEqual([])
    expect(written(one, 'a')).toBeUndefined()
  })

  test('of an own deletion brings the shape back', () => {
    const [one, two] = started(geo('a'))
    change(two, 'a', { x: 8 })
    editor.markHistoryStoppingPoint()
    editor.deleteShapes([id('a')])
    expect(shapeIds(two)).toEqual([])
    undo(one)
    for (const tab of [one, two]) expect(shape(tab, 'a')).toMatchObject({ x: 8 })
  })

  test('of a deletion inside a frame that is gone leaves no shape without a parent', () => {
    const [one, two] = started(frame('f'), geo('a', { parentId: 'shape:f' }))
    editor.markHistoryStoppingPoint()
    editor.deleteShapes([id('a')])
    two.store.remove([id('f')])
    undo(one)
    expect(shapeIds(one)).toEqual([])
    expect(shapeIds(two)).toEqual([])
  })

  test('has nothing to undo after the edits of others only', () => {
    const [, two] = started(geo('a'))
    change(two, 'a', { x: 5 })
    two.store.put([geo('b')])
    expect(editor.getCanUndo()).toBe(false)
  })
})

describe('throttling', () => {
  beforeEach(() => void vi.useFakeTimers())
  afterEach(() => void vi.useRealTimers())

  function counted(tab: Loose) {
    const writes: number[] = []
    const start = performance.now()
    tab.doc.on('afterTransaction', ({ origin, changed }: Y.Transaction) => {
      if (origin === LOCAL && changed.size > 0) writes.push(performance.now() - start)
    })
    return writes
  }

  test('a drag is written at once, then every 40 ms, and at last as it ended', () => {
    const [one] = pair(geo('a'))
    const writes = counted(one)
    for (let x = 1; x <= 19; x++) {
      change(one, 'a', { x })
      vi.advanceTimersByTime(10)
    }
    expect(writes).toEqual([0, 40, 80, 120, 160])
    vi.runAllTimers()
    expect(writes).toEqual([0, 40, 80, 120, 160, 200])
    expect(written(one, 'a').x).toBe(19)
    expect(vi.getTimerCount()).toBe(0)
  })

  test('an unfinished stroke is written every 150 ms, and at once when it is finished', () => {
    const [one] = pair()
    const writes = counted(one)
    one.store.put([draw('s', 1, false)])
    for (let n = 2; n <= 40; n++) {
      vi.advanceTimersByTime(10)
      one.store.put([draw('s', n, false)])
    }
    expect(writes).toEqual([0, 150, 300])
    one.store.put([draw('s', 40, true)])
    expect(writes).toEqual([0, 150, 300, 390])
    expect(written(one, 's')).toEqual(draw('s', 40, true))
    expect(vi.getTimerCount()).toBe(0)
  })

  test('what is new, deleted, or not just written goes at once, with all that was held back', () => {
    const [one] = pair(geo('a'), geo('b'))
    const writes = counted(one)
    change(one, 'a', { x: 1 })
    change(one, 'a', { x: 2 })
    expect(written(one, 'a').x).toBe(1)
    change(one, 'b', { x: 3 })
    expect(written(one, 'a').x).toBe(2)
    one.store.put([geo('c')])
    one.store.remove([id('c')])
    expect(writes).toEqual([0, 0, 0, 0])
    expect(written(one, 'c')).toBeUndefined()
  })

  test.each([
    ['leaving the page', () => window.dispatchEvent(new Event('pagehide'))],
    ['leaving the window', () => window.dispatchEvent(new Event('blur'))],
    ['flushing', (tab: Loose) => tab.binding.flush()],
    ['stopping', (tab: Loose) => tab.binding.stop()],
  ])('%s writes what is held back', (_name, leave) => {
    const [one] = pair(geo('a'))
    change(one, 'a', { x: 1 })
    change(one, 'a', { x: 2 })
    expect(written(one, 'a').x).toBe(1)
    leave(one)
    expect(written(one, 'a').x).toBe(2)
    expect(vi.getTimerCount()).toBe(0)
  })

  test('held back properties stand against remote ones, all others come in', () => {
    const [one, two] = pair(geo('a'))
    change(one, 'a', { x: 1 })
    change(one, 'a', { x: 2 })
    change(two, 'a', { x: 50, y: 60 }, { color: 'red' })
    expect(shape(one, 'a')).toMatchObject({ x: 2, y: 60, props: { color: 'red' } })
    vi.runAllTimers()
    for (const tab of [one, two]) expect(shape(tab, 'a')).toMatchObject({ x: 2, y: 60, props: { color: 'red' } })
  })

  test('the echo of an older own value does not move what is being dragged', () => {
    const one = open()
    one.store.put([geo('a')])
    vi.advanceTimersByTime(1000)
    change(one, 'a', { x: 1 })
    change(one, 'a', { x: 2 })
    records(one.doc).set('shape:a', geo('a', { x: 1 }))
    expect(shape(one, 'a').x).toBe(2)
    vi.runAllTimers()
    expect(written(one, 'a').x).toBe(2)
  })

  test('a stopped binding does nothing any more', () => {
    const [one, two] = pair(geo('a'))
    one.binding.stop()
    const before = bytes(one.doc)
    change(one, 'a', { x: 5 })
    window.dispatchEvent(new Event('blur'))
    expect(bytes(one.doc)).toBe(before)
    change(two, 'a', { y: 5 })
    two.binding.flush()
    expect(shape(one, 'a').y).toBe(0)
    expect(vi.getTimerCount()).toBe(0)
  })
})

describe('in a browser, where a store tells its changes a frame later', () => {
  beforeEach(() => {
    vi.useFakeTimers()
    Object.assign(globalThis, { __FORCE_RAF_IN_TESTS__: true })
  })
  afterEach(() => {
    vi.runAllTimers()
    vi.useRealTimers()
    Object.assign(globalThis, { __FORCE_RAF_IN_TESTS__: undefined })
  })

  test('a remote edit meets one that was not told yet', () => {
    const [one, two] = pair(geo('a'), geo('b'))
    vi.runAllTimers()
    const remote: Loose[] = []
    one.store.listen(({ changes }) => remote.push(changes.added), { source: 'remote', scope: 'document' })
    change(one, 'a', { x: 1 })
    one.store.remove([id('b')])
    put(two.doc, geo('a', { y: 2 }), geo('b', { y: 2 }))
    expect(shape(one, 'a')).toMatchObject({ x: 1, y: 2 })
    expect(shape(one, 'b')).toBeUndefined()
    vi.runAllTimers()
    expect(remote).not.toContainEqual(expect.objectContaining({ 'shape:b': expect.anything() }))
    expect(written(two, 'a')).toMatchObject({ x: 1, y: 2 })
    expect(written(two, 'b')).toBeUndefined()
    expect(contents(one)).toEqual(contents(two))
  })

  test('leaving writes what was not told yet', () => {
    const [one] = pair(geo('a'))
    vi.runAllTimers()
    change(one, 'a', { x: 1 })
    window.dispatchEvent(new Event('pagehide'))
    expect(written(one, 'a').x).toBe(1)
  })
})
