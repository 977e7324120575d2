import type { TLRecord } from 'tldraw'
import { withSuffix } from './indexKeys'

function place(record: TLRecord | undefined): string | undefined {
  if (record?.typeName === 'page') return `pages ${record.index}`
  return record?.typeName === 'shape' ? `${record.parentId} ${record.index}` : undefined
}

/**
 * Index keys that no two siblings share: tldraw throws, and takes the whole canvas along, where it is to put something
 * between two equal ones. The lowest id keeps the key, the others get one just above it, the same in every tab.
 */
export class Siblings {
  readonly #places = new Map<string, string>()
  readonly #ids = new Map<string, Set<string>>()
  readonly #firsts = new Map<string, string>()

  /** Returns those whose keys have changed by it. */
  put(id: string, record: TLRecord | undefined): string[] {
    const before = this.#places.get(id)
    const after = place(record)
    if (before === after) return []
    const changed = [
      ...(before === undefined ? [] : this.#leave(id, before)),
      ...(after === undefined ? [] : this.#enter(id, after)),
    ]
    if (after === undefined) this.#places.delete(id)
    else this.#places.set(id, after)
    return changed
  }

  distinct(record: TLRecord): TLRecord {
    const at = this.#places.get(record.id)
    if (at === undefined || !('index' in record) || this.#firsts.get(at) === record.id) return record
    return { ...record, index: withSuffix(record.index, record.id) }
  }

  #enter(id: string, at: string): string[] {
    const ids = this.#ids.get(at)
    if (ids === undefined) this.#ids.set(at, new Set([id]))
    else ids.add(id)
    const first = this.#firsts.get(at)
    if (first !== undefined && first < id) return []
    this.#firsts.set(at, id)
    return first === undefined ? [] : [first]
  }

  #leave(id: string, at: string): string[] {
    const ids = this.#ids.get(at)
    ids?.delete(id)
    if (ids === undefined || this.#firsts.get(at) !== id) return []
    let first: string | undefined
    for (const other of ids) if (first === undefined || other < first) first = other
    if (first === undefined) {
      this.#firsts.delete(at)
      this.#ids.delete(at)
      return []
    }
    this.#firsts.set(at, first)
    return [first]
  }
}
