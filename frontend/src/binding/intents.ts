import { isEqual, type TLRecord } from 'tldraw'
import * as Y from 'yjs'
import { type Patch, valueAt } from './patch'

/** Records whose latest own changes are remembered. */
export const INTENTS_MAX = 500
/** Values remembered of one property: as many as are written while an answer is on its way. */
export const VALUES_MAX = 64
/** Texts and strokes, which are large. */
export const OBJECTS_MAX = 8
export const STEPS_MAX = 1000

/** What this tab set a property to, when, and from which values on the way. */
interface Intent {
  clock: number
  value: unknown
  from: unknown[]
}

/**
 * Yjs knows records as wholes: of two that were written at once one stands, and the other one's change is lost. Here
 * the tab that lost it finds out and does it again, unless the other one changed the very same property. Without this
 * hardly any edit would outlive somebody else's drag of the same shape, which writes every 40 ms.
 */
export class Intents {
  readonly #byRecord = new Map<string, Map<string, Intent>>()

  wrote(before: TLRecord, patch: Patch, clock: number): void {
    const intents = this.#byRecord.get(before.id) ?? new Map<string, Intent>()
    this.#byRecord.delete(before.id)
    this.#byRecord.set(before.id, intents)
    for (const [path, value] of patch) {
      const from = [...(intents.get(path)?.from ?? []), valueAt(before, path)].slice(
        typeof value === 'object' ? -OBJECTS_MAX : -VALUES_MAX,
      )
      intents.set(path, { clock, value, from })
    }
    const [oldest] = this.#byRecord.keys()
    if (this.#byRecord.size > INTENTS_MAX && oldest !== undefined) this.#byRecord.delete(oldest)
  }

  has(id: string): boolean {
    return this.#byRecord.has(id)
  }

  /** What to do again on `record`, whose author had seen of this tab's writes only those until `seen`. */
  lost(record: TLRecord, seen: number): Patch {
    const intents = this.#byRecord.get(record.id) ?? new Map<string, Intent>()
    const patch = new Map<string, unknown>()
    for (const [path, { clock, value, from }] of intents) {
      const theirs = valueAt(record, path)
      // Though it stands, a third one who has not seen it may still be about to overwrite it.
      if (isEqual(theirs, value)) continue
      if (clock > seen && from.some(old => isEqual(theirs, old))) patch.set(path, value)
      else intents.delete(path)
    }
    return patch
  }

  forget(id: string): void {
    this.#byRecord.delete(id)
  }
}

/**
 * The clock of the newest write of `key` by this document that the author of its current value built upon, or -1.
 * Where it would be too far back to tell, its author counts as having seen everything.
 */
export function seenClock(map: Y.Map<unknown>, key: string, doc: Y.Doc): number {
  let item = map._map.get(key)
  let id: Y.ID | null = item?.id ?? null
  for (let i = 0; i < STEPS_MAX && id !== null; i++) {
    if (id.client === doc.clientID) return id.clock
    item = Y.getItem(doc.store, id)
    id = item instanceof Y.Item ? item.origin : null
  }
  return id === null ? -1 : Infinity
}
