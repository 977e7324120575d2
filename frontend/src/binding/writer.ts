import { type RecordsDiff, TLDOCUMENT_ID, type TLRecord, type TLStore } from 'tldraw'
import type * as Y from 'yjs'
import { type BoardSchema, SCHEMA_KEY } from './boardSchema'
import type { Change, Held } from './held'
import { Intents, seenClock } from './intents'
import { LOCAL } from './origin'
import type { Others } from './others'
import { applied, diff } from './patch'
import { type PlainObject, toPlainObject, Unreadable } from './plain'
import { quietly } from './quietly'
import { PAGE_ID, type Reader } from './reader'
import { repairRichText } from './richText'

export const DRAG_INTERVAL_MS = 40
export const STROKE_INTERVAL_MS = 150

/** How long after one write of the record this change may wait. */
function interval({ from, to }: Change): number {
  if (from === null || to === null) return 0
  const before = 'props' in from ? (from.props as PlainObject).isComplete : undefined
  const after = 'props' in to ? (to.props as PlainObject).isComplete : undefined
  if (after === false) return STROKE_INTERVAL_MS
  return before === false ? 0 : DRAG_INTERVAL_MS
}

/** What the relay lets pass: plain, and not deeper than it takes. */
function writable(record: TLRecord): PlainObject {
  const props = 'props' in record ? (record.props as unknown as PlainObject) : {}
  if (props.richText === undefined) return toPlainObject(record)
  return toPlainObject({ ...record, props: { ...props, richText: repairRichText(props.richText) } })
}

/** Writes what a person changes in the store into the document. */
export class Writer {
  readonly #doc: Y.Doc
  readonly #records: Y.Map<unknown>
  readonly #meta: Y.Map<unknown>
  readonly #store: TLStore
  readonly #reader: Reader
  readonly #held: Held
  readonly #others: Others
  readonly #board: () => BoardSchema
  readonly #stops: (() => void)[]
  readonly #intents = new Intents()
  readonly #writtenAt = new Map<string, number>()
  #timer: ReturnType<typeof setTimeout> | undefined
  #collecting = false

  constructor(parts: {
    doc: Y.Doc
    records: Y.Map<unknown>
    meta: Y.Map<unknown>
    store: TLStore
    reader: Reader
    held: Held
    others: Others
    board: () => BoardSchema
  }) {
    this.#doc = parts.doc
    this.#records = parts.records
    this.#meta = parts.meta
    this.#store = parts.store
    this.#reader = parts.reader
    this.#held = parts.held
    this.#others = parts.others
    this.#board = parts.board
    this.#stops = [
      ...this.#rebaseUndo(),
      this.#store.listen(({ changes }) => this.#changed(changes), { source: 'user', scope: 'document' }),
    ]
  }

  /** Do something with the store while knowing all that the person has done in it so far. */
  collect(action: () => void): void {
    this.#collecting = true
    try {
      this.#flushStore()
      action()
    } finally {
      this.#collecting = false
    }
    this.#schedule()
  }

  /** Others wrote these records: hold again what was lost by it of this tab's own. */
  redo(ids: Iterable<string>): void {
    for (const id of ids) {
      if (!this.#intents.has(id)) continue
      const record = this.#reader.latest(id)
      if (record === undefined) this.#intents.forget(id)
      else this.#held.redo(record, this.#intents.lost(record, seenClock(this.#records, id, this.#doc)))
    }
  }

  flush(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#flushStore()
    if (this.#held.size === 0) return
    const changes = this.#held.take()
    this.#doc.transact(() => {
      this.#prepare()
      for (const [id, change] of changes) this.#write(id, change)
    }, LOCAL)
    this.#remember(changes)
  }

  /** Write no more; what is held back is dropped. */
  stop(): void {
    clearTimeout(this.#timer)
    for (const stop of this.#stops.splice(0)) stop()
    this.#held.take()
  }

  #rebaseUndo(): (() => void)[] {
    const { sideEffects } = this.#store
    return (['document', 'page', 'shape', 'asset', 'binding'] as const).flatMap(kind => [
      sideEffects.registerBeforeCreateHandler(kind, (record, source) =>
        source === 'user' ? this.#others.rebase(record) : record,
      ),
      sideEffects.registerBeforeChangeHandler(kind, (before, record, source) =>
        source === 'user' ? this.#others.rebase(record, before) : record,
      ),
    ])
  }

  /** The store tells its listeners a frame later: have it tell them now. */
  #flushStore(): void {
    const before = this.#collecting
    this.#collecting = true
    this.#store._flushHistory()
    this.#collecting = before
  }

  #changed({ added, updated, removed }: RecordsDiff<TLRecord>): void {
    const all = Object.values(added)
    const undone = all.filter(record => this.#others.hasRemoved(record)).map(record => record.id)
    const own =
      undone.length === 0 ? added : Object.fromEntries(all.filter(r => !undone.includes(r.id)).map(r => [r.id, r]))
    this.#held.add({ added: own as typeof added, updated, removed })
    if (undone.length > 0) quietly(this.#store, () => this.#store.remove(undone))
    if (!this.#collecting) this.#schedule()
  }

  #schedule(): void {
    let due = Infinity
    for (const [id, change] of this.#held)
      due = Math.min(due, (this.#writtenAt.get(id) ?? -Infinity) + interval(change))
    const wait = due - performance.now()
    if (wait <= 0) this.flush()
    else if (wait < Infinity) {
      clearTimeout(this.#timer)
      this.#timer = setTimeout(() => this.flush(), wait)
    }
  }

  #remember(changes: [string, Change][]): void {
    const now = performance.now()
    for (const [id, at] of this.#writtenAt) if (at + STROKE_INTERVAL_MS < now) this.#writtenAt.delete(id)
    for (const [id] of changes) this.#writtenAt.set(id, now)
  }

  /** What a person's first edit brings along: the schema, migrated records, and the page that only this tab had. */
  #prepare(): void {
    const board = this.#board()
    if (board.is === 'older') for (const record of this.#reader.migrated()) this.#put(record)
    if (board.is !== 'current') this.#meta.set(SCHEMA_KEY, this.#store.schema.serialize())
    const page = this.#store.get(PAGE_ID)
    if (page !== undefined && this.#reader.pageIsLocal) this.#put(page)
    const document = this.#store.get(TLDOCUMENT_ID)
    if (document !== undefined && !this.#records.has(TLDOCUMENT_ID)) this.#put(document)
  }

  #write(id: string, { from, to }: Change): void {
    const latest = this.#reader.latest(id)
    if (to === null) {
      if (id !== TLDOCUMENT_ID && this.#records.has(id)) this.#records.delete(id)
    } else if (latest === undefined) {
      // Without a record to change somebody has deleted it: half of it would bring back nothing whole.
      if (from === null) this.#put(to)
    } else {
      const patch = diff(from ?? latest, to)
      const next = applied(latest, patch)
      if (next === latest) return
      this.#put(next)
      this.#intents.wrote(latest, patch, seenClock(this.#records, id, this.#doc))
    }
  }

  #put(record: TLRecord): void {
    try {
      this.#records.set(record.id, writable(record))
    } catch (error) {
      if (!(error instanceof Unreadable)) throw error
      this.#reader.refuse(record.id, `it cannot be saved: ${error.message}`)
    }
  }
}
