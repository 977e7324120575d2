import type { TLStore } from 'tldraw'
import type * as Y from 'yjs'
import { type BoardSchema, readBoardSchema, SCHEMA_KEY } from './boardSchema'
import { Held } from './held'
import { LOCAL } from './origin'
import { Others } from './others'
import { Reader } from './reader'
import { Skipped, type SkippedRecord } from './skipped'
import { Writer } from './writer'

export { LOCAL, type SkippedRecord }

/** `outdated`: a newer canvas wrote this board; it is shown read-only until the page is loaded anew. */
export type BindingStatus = 'editable' | 'outdated'

export interface BindingOptions {
  doc: Y.Doc
  store: TLStore
  /** A viewer's: nothing is ever written into the document. */
  readOnly: boolean
  onStatus(status: BindingStatus): void
  /** Gets the list whenever it changes: its first hundred, and how many there are in all. */
  onSkipped(skipped: readonly SkippedRecord[], count: number): void
}

export interface Binding {
  /** Write what is still held back by throttling. */
  flush(): void
  stop(): void
}

function isSameMigration(a: BoardSchema, b: BoardSchema): boolean {
  if (a.is !== 'older' || b.is !== 'older') return a.is !== 'older' && b.is !== 'older'
  return JSON.stringify(a.schema) === JSON.stringify(b.schema)
}

function onLeaving(flush: () => void): () => void {
  const onHidden = () => document.visibilityState === 'hidden' && flush()
  window.addEventListener('pagehide', flush)
  window.addEventListener('blur', flush)
  document.addEventListener('visibilitychange', onHidden)
  return () => {
    window.removeEventListener('pagehide', flush)
    window.removeEventListener('blur', flush)
    document.removeEventListener('visibilitychange', onHidden)
  }
}

/** Keep `store` and the document's records equal, both ways, until stopped. */
export function bindStore({ doc, store, readOnly, onStatus, onSkipped }: BindingOptions): Binding {
  const records = doc.getMap<unknown>('tldraw')
  const meta = doc.getMap<unknown>('meta')
  const held = new Held()
  const others = new Others()
  const reader = new Reader(records, store, held, others, new Skipped(onSkipped))
  const schema = () => readBoardSchema(meta.get(SCHEMA_KEY), store.schema.serialize())

  let board = schema()
  let writer: Writer | undefined
  reader.load(board)
  if (!readOnly && board.is !== 'newer') {
    writer = new Writer({ doc, records, meta, store, reader, held, others, board: () => board })
  }
  onStatus(board.is === 'newer' ? 'outdated' : 'editable')

  function onSchema(): boolean {
    const before = board
    // Once outdated, this page stays so: what it shows may lack what it does not know.
    if (before.is === 'newer') return false
    board = schema()
    if (board.is === 'newer') {
      writer?.stop()
      writer = undefined
      onStatus('outdated')
      // What the writer still held back must not look as if the board had it.
      return true
    }
    return !isSameMigration(before, board)
  }

  function onTransaction({ changed, origin }: Y.Transaction): void {
    const schemaChanged = [...changed].some(([type, keys]) => type === (meta as unknown) && keys.has(SCHEMA_KEY))
    const mustReadAll = schemaChanged && onSchema()
    const keys = [...changed].find(([type]) => type === (records as unknown))?.[1] ?? new Set()
    const ids = new Set([...keys].filter(id => id !== null))
    if (ids.size === 0 && !mustReadAll) return
    const own = origin === LOCAL ? ids : undefined
    const show = () => {
      if (mustReadAll) return reader.load(board, own)
      reader.read(ids, board)
      if (own === undefined) writer?.redo(ids)
      reader.show(ids, own)
    }
    if (writer === undefined) show()
    else writer.collect(show)
  }

  doc.on('afterTransaction', onTransaction)
  const flush = () => writer?.flush()
  const stopLeaving = onLeaving(flush)
  return {
    flush,
    stop() {
      flush()
      writer?.stop()
      writer = undefined
      doc.off('afterTransaction', onTransaction)
      stopLeaving()
    },
  }
}
