import type { RecordsDiff, TLRecord } from 'tldraw'
import { applied, diff, type Patch } from './patch'

/** A person's change of one record that is not written yet; null where the record was not, or is not any more. */
export interface Change {
  from: TLRecord | null
  to: TLRecord | null
}

/** What a person changed and the document does not have yet. */
export class Held {
  readonly #changes = new Map<string, Change>()

  add({ added, updated, removed }: RecordsDiff<TLRecord>): void {
    const changes: Change[] = [
      ...Object.values(added).map(to => ({ from: null, to })),
      ...Object.values(updated).map(([from, to]) => ({ from, to })),
      ...Object.values(removed).map(from => ({ from, to: null })),
    ]
    for (const { from, to } of changes) {
      const id = (to ?? from)?.id ?? ''
      const before = this.#changes.get(id)
      this.#changes.set(id, { from: before === undefined ? from : before.from, to })
    }
  }

  [Symbol.iterator](): IterableIterator<[string, Change]> {
    return this.#changes.entries()
  }

  get(id: string): Change | undefined {
    return this.#changes.get(id)
  }

  /** Whether a person made this record, and the document is yet to get it. */
  isNew(id: string): boolean {
    const change = this.#changes.get(id)
    return change !== undefined && change.from === null && change.to !== null
  }

  get size(): number {
    return this.#changes.size
  }

  /** Put a change on `record`, below what is held of it already. */
  redo(record: TLRecord, patch: Patch): void {
    const change = this.#changes.get(record.id)
    if (patch.size === 0 || change?.to === null) return
    const to = applied(record, patch)
    if (change === undefined) this.#changes.set(record.id, { from: record, to })
    else if (change.from !== null) {
      const both = applied(to, diff(change.from, change.to))
      this.#changes.set(record.id, { from: record, to: both })
    }
  }

  drop(id: string): void {
    this.#changes.delete(id)
  }

  /** The document's newest record with the held changes on it: what this tab shows. */
  over(record: TLRecord): TLRecord {
    const change = this.#changes.get(record.id)
    if (change === undefined || change.to === null) return record
    const to = change.from === null ? change.to : applied(record, diff(change.from, change.to))
    this.#changes.set(record.id, { from: record, to })
    return to
  }

  take(): [string, Change][] {
    const changes = [...this.#changes]
    this.#changes.clear()
    return changes
  }
}
