import type { TLRecord, TLShape } from 'tldraw'

/** tldraw walks up and down the parents recursively. */
export const PARENTS_MAX = 50

function needs(record: TLRecord | undefined): string[] {
  if (record?.typeName === 'shape') return [record.parentId]
  if (record?.typeName === 'binding') return [record.fromId, record.toId]
  return []
}

function sameStanding(a: TLRecord | undefined, b: TLRecord | undefined): boolean {
  if (a === undefined || b === undefined) return a === b
  const type = (record: TLRecord) => ('type' in record ? record.type : '')
  return type(a) === type(b) && needs(a).join() === needs(b).join()
}

/**
 * Which records stand: those whose parents and bound shapes stand too. The others are parked until these come, and go
 * back when they go. A cycle of parents never stands, since nothing in it stands first.
 */
export class Standing {
  readonly #records = new Map<string, TLRecord>()
  readonly #dependents = new Map<string, Set<string>>()
  /** How many parents each standing record has above it. */
  readonly #depths = new Map<string, number>()
  readonly #dirty = new Set<string>()

  get(id: string): TLRecord | undefined {
    return this.#records.get(id)
  }

  stands(id: string): boolean {
    return this.#depths.has(id)
  }

  ids(): IterableIterator<string> {
    return this.#records.keys()
  }

  put(id: string, record: TLRecord | undefined): void {
    const before = this.#records.get(id)
    if (record === undefined) this.#records.delete(id)
    else this.#records.set(id, record)
    if (sameStanding(before, record)) return
    for (const needed of needs(before)) this.#dependents.get(needed)?.delete(id)
    for (const needed of needs(record)) {
      const dependents = this.#dependents.get(needed)
      if (dependents === undefined) this.#dependents.set(needed, new Set([id]))
      else dependents.add(id)
    }
    this.#soil(id)
  }

  /** Decide anew about all that changed and what hangs on it; returns their ids. */
  settle(): string[] {
    const settled = [...this.#dirty]
    for (const id of settled) this.#depths.delete(id)
    const queue = [...settled]
    for (let id = queue.pop(); id !== undefined; id = queue.pop()) {
      if (this.#depths.has(id)) continue
      const depth = this.#depth(this.#records.get(id))
      if (depth === undefined) continue
      this.#depths.set(id, depth)
      for (const dependent of this.#dependents.get(id) ?? []) if (this.#dirty.has(dependent)) queue.push(dependent)
    }
    this.#dirty.clear()
    return settled
  }

  /** Why a record that is there does not stand. */
  reason(id: string): string {
    const missing = needs(this.#records.get(id)).find(needed => !this.#records.has(needed))
    if (missing !== undefined) return `it waits for ${missing}, which is not there`
    return 'what it belongs to cannot be shown, is itself inside of it, or is nested too deep'
  }

  #soil(first: string): void {
    const queue = [first]
    for (let id = queue.pop(); id !== undefined; id = queue.pop()) {
      if (this.#dirty.has(id)) continue
      this.#dirty.add(id)
      queue.push(...(this.#dependents.get(id) ?? []))
    }
  }

  #depth(record: TLRecord | undefined): number | undefined {
    if (record === undefined) return undefined
    if (record.typeName === 'binding') return this.#bindingStands(record.fromId, record.toId) ? 0 : undefined
    if (record.typeName !== 'shape') return 0
    const above = this.#depths.get(record.parentId)
    return above === undefined || above >= PARENTS_MAX ? undefined : above + 1
  }

  /** tldraw crashes over bindings from what is no arrow, and never ends over arrows that hang on each other. */
  #bindingStands(fromId: string, toId: string): boolean {
    if (!this.#depths.has(fromId) || !this.#depths.has(toId)) return false
    const from = this.#records.get(fromId) as TLShape
    const to = this.#records.get(toId) as TLShape
    if (from.type !== 'arrow' || to.type === 'arrow') return false
    // A group is as large as what is in it, so an arrow may only hang on one that lies wholly beside it.
    return to.type !== 'group' || this.#isAbove(from.parentId, to)
  }

  #isAbove(id: string, shape: TLShape): boolean {
    let parent: string = shape.parentId
    for (let i = 0; i <= PARENTS_MAX; i++) {
      if (parent === id) return true
      const record = this.#records.get(parent)
      if (record?.typeName !== 'shape') return false
      parent = record.parentId
    }
    return false
  }
}
