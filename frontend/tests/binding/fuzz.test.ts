import { renderHtmlFromRichText, type TLShape } from 'tldraw'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import * as Y from 'yjs'
import {
  arrow,
  binding,
  bytes,
  contents,
  draw,
  frame,
  geo,
  group,
  image,
  imageAsset,
  type Loose,
  makeEditor,
  note,
  open,
  page,
  records,
} from './boards'
import { Random } from './random'

/** Seeds that once failed are kept. */
const SEEDS = [1, 484830, Date.now() % 1_000_000]

const REAL = [
  page('page'),
  page('second', { index: 'a2' }),
  geo('g'),
  note('n', 'one\ntwo'),
  frame('f'),
  group('group'),
  geo('in', { parentId: 'shape:group' }),
  arrow('arrow'),
  draw('d', 5, true),
  imageAsset('i'),
  image('image', { assetId: 'asset:i' }),
  binding('b', 'arrow', 'g'),
  { id: 'document:document', typeName: 'document', gridSize: 10, name: '', meta: {} },
]

const JUNK = (random: Random): Loose[] => [
  undefined,
  null,
  true,
  '',
  'x',
  'javascript:alert(1)',
  'shape:f',
  'page:page',
  -1,
  0,
  0.5,
  1e300,
  Number.NaN,
  -Infinity,
  10n,
  [],
  {},
  [[[]]],
  { x: 1 },
  { type: 'text', text: '' },
  [{ type: 'paragraph', content: [{ type: 'text' }] }],
  new Uint8Array(2),
  `shape:${random.below(5)}`,
]

/** One to five values anywhere in the record become something else, go, or come. */
function mutated(record: Loose, random: Random): Loose {
  const result = structuredClone(record)
  for (let n = random.below(5); n >= 0; n--) {
    let at = result
    let keys = Object.keys(at)
    while (keys.length > 0) {
      const key = random.of(keys)
      const inner = at[key]
      if (
        typeof inner === 'object' &&
        inner !== null &&
        !ArrayBuffer.isView(inner) &&
        random.next() < 0.7 &&
        Object.keys(inner).length > 0
      ) {
        at = inner
        keys = Object.keys(at)
        continue
      }
      const what = random.next()
      if (what < 0.2) delete at[key]
      else if (what < 0.3) at[`extra${key}`] = random.of(JUNK(random))
      else at[key] = random.of(JUNK(random))
      break
    }
  }
  return result
}

test.each(SEEDS)('whatever records there are, what is shown is valid and the document untouched (seed %i)', seed => {
  const random = new Random(seed)
  const doc = new Y.Doc()
  const live = open(doc)
  const editor = makeEditor(live.store)
  for (let round = 0; round < 10; round++) {
    doc.transact(() => {
      for (const record of REAL) {
        const value = random.next() < 0.4 ? record : mutated(record, random)
        if (random.next() < 0.1) records(doc).delete(record.id)
        else records(doc).set(record.id, value)
      }
    })
    const before = bytes(doc)
    const rejoined = open(doc)
    expect(contents(live)).toEqual(contents(rejoined))
    expect(rejoined.skipped.map(({ id }) => id).sort()).toEqual(live.skipped.map(({ id }) => id).sort())
    for (const record of live.store.allRecords()) live.store.schema.types[record.typeName].validate(record as never)
    for (const record of live.store.allRecords()) {
      if (record.typeName !== 'shape') continue
      editor.getShapePageBounds(record.id)
      const { richText } = record.props as Loose
      if (richText !== undefined) renderHtmlFromRichText(editor, richText)
    }
    expect(bytes(doc)).toBe(before)
    rejoined.binding.stop()
  }
  editor.dispose()
})

beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] }))
afterEach(() => void vi.useRealTimers())

/** Updates go both ways, late and in bursts, as they do over a network. */
function lateNetwork(random: Random, docs: readonly Y.Doc[]) {
  const queues = docs.map((): Uint8Array[] => [])
  docs.forEach((doc, n) => {
    doc.on('update', (update: Uint8Array, origin: unknown) => {
      if (origin !== 'network') for (const queue of queues) if (queue !== queues[n]) queue.push(update)
    })
  })
  return (all: boolean) => {
    docs.forEach((doc, n) => {
      const queue = queues[n] ?? []
      for (let left = all ? queue.length : random.below(queue.length + 1); left > 0; left--) {
        Y.applyUpdate(doc, queue.shift() as Uint8Array, 'network')
      }
    })
  }
}

function edit(tab: Loose, random: Random): void {
  const shapes = tab.store.allRecords().filter((record: Loose): record is TLShape => record.typeName === 'shape')
  const one = random.of(shapes) as Loose
  const what = random.next()
  if (one === undefined || what < 0.2)
    tab.store.put([geo(`${random.below(20)}`, { x: random.below(100), index: random.of(['a1', 'a2', 'a3']) })])
  else if (what < 0.3) tab.store.remove([one.id])
  else if (what < 0.6) tab.store.update(one.id, (record: Loose) => ({ ...record, x: random.below(100) }))
  else if (what < 0.7) tab.store.put([frame(`f${random.below(3)}`)])
  else if (what < 0.8)
    tab.store.update(one.id, (r: Loose) =>
      r.type === 'geo' ? { ...r, parentId: tab.store.get('shape:f1') ? 'shape:f1' : r.parentId } : r,
    )
  else
    tab.store.update(one.id, (r: Loose) => ({
      ...r,
      props: { ...r.props, color: random.of(['red', 'blue', 'black']) },
    }))
}

test.each(SEEDS)('tabs that edit at random end up equal (seed %i)', seed => {
  const random = new Random(seed)
  const docs = [new Y.Doc(), new Y.Doc(), new Y.Doc()] as const
  docs.forEach((doc, n) => {
    doc.clientID = seed * 10 + n
  })
  const deliver = lateNetwork(random, docs)
  const tabs = docs.map(doc => open(doc))
  for (let step = 0; step < 150; step++) {
    edit(random.of(tabs), random)
    if (random.next() < 0.3) vi.advanceTimersByTime(random.below(60))
    if (random.next() < 0.4) deliver(false)
  }
  for (let n = 0; n < 3; n++) {
    vi.runAllTimers()
    deliver(true)
  }
  const rejoined = open(docs[0])
  for (const tab of tabs) expect(contents(tab)).toEqual(contents(rejoined))
  for (const tab of tabs) expect(records(tab.doc).toJSON()).toEqual(records(docs[0]).toJSON())
})
