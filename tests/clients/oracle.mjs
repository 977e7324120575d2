// What real yjs makes of updates, thousands a second: JSON lines in, one answer each, in order. Ends when standard input
// does. The other side is tests/fuzz/oracles.py.
//
//   {seed, steps}  -> {updates}: a session of three documents that edit at once, in base64
//   {histories}    -> {outcomes}: for each list of updates, applied to a new document in their order, what came of it
//   {awareness}    -> {threw}: for each awareness update, null or what a stock client threw
import { createInterface } from 'node:readline'
import { Awareness, applyAwarenessUpdate } from 'y-protocols/awareness'
import * as Y from 'yjs'
import { session } from './authors.mjs'

const NOT_FINITE = (value) => typeof value === 'number' && !Number.isFinite(value)

/** A value as JSON that Python can compare: what JSON lacks is null, shared types in it are what they show. */
const plain = (value) => {
  if (value instanceof Y.Text) return value instanceof Y.XmlText ? 'xml' : value.toString()
  if (value instanceof Y.Map) return value instanceof Y.XmlHook ? 'xml' : shown(value)
  if (value instanceof Y.Array) return 'array' // yrs never comes to the end of some: not compared
  if (value instanceof Y.AbstractType) return 'xml'
  if (value instanceof Y.Doc) return 'doc'
  if (value instanceof Uint8Array) return [...value]
  if (value === undefined || NOT_FINITE(value)) return null
  if (typeof value === 'bigint') return Number(value)
  if (Array.isArray(value)) return value.map(plain)
  if (value !== null && typeof value === 'object') {
    return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, plain(one)]))
  }
  return value
}

/** A text where a value should be is read as a whole here, as yrs does; yjs shows its last character. */
const valued = (map, key) => {
  const { content } = map._map.get(key)
  return content instanceof Y.ContentString ? content.str : plain(map.get(key))
}

const shown = (map) => Object.fromEntries([...map.keys()].map((key) => [key, valued(map, key)]))

const deletions = (doc) => Object.fromEntries(
  [...Y.createDeleteSetFromStructStore(doc.store).clients].map(([client, items]) =>
    [client, items.map(({ clock, len }) => [clock, clock + len])]))

const ROOTS = { tldraw: Y.Map, m: Y.Map, a: Y.Array, t: Y.Text, x: Y.XmlFragment }

const applied = (doc, updates) => {
  const roots = Object.entries(ROOTS).map(([name, type]) => doc.get(name, type))
  for (const update of updates) Y.applyUpdate(doc, Buffer.from(update, 'base64'))
  return roots
}

/** What the updates say. yjs tidies formats when it hears of them, which is an edit of its own: not here. */
const read = (updates) => {
  const doc = new Y.Doc({ clientID: 3 })
  doc.on('beforeObserverCalls', (transaction) => { transaction.local = true })
  const [records, map, array, text] = applied(doc, updates)
  return {
    vector: Object.fromEntries(Y.decodeStateVector(Y.encodeStateVector(doc))),
    deletions: deletions(doc),
    content: { tldraw: shown(records), m: shown(map), t: text.toString() },
    array: array.toArray().map(plain)
  }
}

/** What a page does with them: it reads what it is told of, sends its state, and goes on with edits of its own. */
const use = (updates) => {
  const doc = new Y.Doc({ clientID: 3 })
  for (const [name, type] of Object.entries(ROOTS)) {
    doc.get(name, type).observeDeep((events) => events.map((event) => [event.delta, event.changes.keys]))
  }
  const [records, , array, text] = applied(doc, updates)
  text.toDelta()
  Y.encodeStateAsUpdate(doc)
  doc.transact(() => {
    records.set('mine', { x: 1 })
    array.insert(0, ['mine'])
    text.insert(0, 'mine')
    for (const key of records.keys()) records.delete(key)
  })
}

const outcome = (updates) => {
  try {
    use(updates)
    return read(updates)
  } catch (error) {
    return { threw: error.stack.split('\n').slice(0, 4).join(' | ') }
  }
}

const hears = (update) => {
  const awareness = new Awareness(new Y.Doc({ clientID: 3 }))
  try {
    awareness.setLocalState({ user: 'Ann' })
    applyAwarenessUpdate(awareness, Buffer.from(update, 'base64'), 'server')
    return null
  } catch (error) {
    return String(error)
  } finally {
    awareness.destroy()
  }
}

const answer = ({ seed, steps, histories, awareness }) => {
  if (histories) return { outcomes: histories.map(outcome) }
  if (awareness) return { threw: awareness.map(hears) }
  return { updates: session(seed, steps).map((update) => Buffer.from(update).toString('base64')) }
}

// yjs warns of what it cannot do; the answer tells whether it threw.
console.warn = console.error = console.log = () => {}
createInterface({ input: process.stdin }).on('line', (line) =>
  process.stdout.write(JSON.stringify(answer(JSON.parse(line))) + '\n'))
