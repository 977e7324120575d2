import type { TLRecord } from 'tldraw'
import { applied, diff } from './patch'

export const REMOVALS_MAX = 10_000

/**
 * What others changed since this tab saw a version of a record. tldraw's undo puts back whole records as they once were;
 * with this, the properties that others changed in the meantime stay as these left them.
 */
export class Others {
  #now = 0
  readonly #seen = new WeakMap<TLRecord, number>()
  readonly #changes = new Map<string, Map<string, { at: number; value: unknown }>>()
  readonly #removals = new Map<string, number>()

  /** `after` has come from the document in the place of `before`. */
  put(before: TLRecord | undefined, after: TLRecord): void {
    const at = ++this.#now
    this.#seen.set(after, at)
    this.#removals.delete(after.id)
    if (before === undefined) return
    const changes = this.#changes.get(after.id) ?? new Map()
    this.#changes.set(after.id, changes)
    for (const [path, value] of diff(before, after)) changes.set(path, { at, value })
  }

  remove(id: string): void {
    this.#changes.delete(id)
    this.#removals.set(id, ++this.#now)
    const [oldest] = this.#removals.keys()
    if (this.#removals.size > REMOVALS_MAX && oldest !== undefined) this.#removals.delete(oldest)
  }

  /** What a person's action puts into the store in the place of `before`: an old version gets what others did since. */
  rebase<R extends TLRecord>(record: R, before?: R): R {
    // What is in the store now has everything, also where this tab alone has made it so by measuring.
    if (before !== undefined && !this.#seen.has(before)) this.#seen.set(before, this.#now)
    const seen = this.#seen.get(record)
    this.#seen.set(record, seen ?? this.#now)
    if (seen === undefined || seen === this.#now) return record
    const newer = [...(this.#changes.get(record.id) ?? [])].filter(([, { at }]) => at > seen)
    const result = applied(record, new Map(newer.map(([path, { value }]) => [path, value])))
    if (result !== record) this.#seen.set(result, this.#now)
    return result
  }

  /** Whether an undo brought back what somebody else has removed. */
  hasRemoved(record: TLRecord): boolean {
    const removed = this.#removals.get(record.id)
    return removed !== undefined && removed > (this.#seen.get(record) ?? removed)
  }
}
