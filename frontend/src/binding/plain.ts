/** Why a record of the document cannot be shown; its message completes "This item cannot be shown: ...". */
export class Unreadable extends Error {}

export type Plain = null | boolean | number | string | Plain[] | PlainObject
export interface PlainObject {
  [key: string]: Plain
}

/** The relay refuses deeper updates too; what recurses over a record is safe at this depth. */
export const DEPTH_MAX = 32
export const RECORD_VALUES_MAX = 200_000
/** Of all strings of a record together; boards made elsewhere hold whole pictures as data: addresses. */
export const RECORD_CHARACTERS_MAX = 20_000_000

interface Budget {
  values: number
  characters: number
}

export function isPlainObject(value: unknown): value is PlainObject {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false
  // A foreign "__proto__" key can leave any object as the prototype, so only those of classes tell.
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === null || !Object.hasOwn(prototype as object, 'constructor') || prototype === Object.prototype
}

/** Own values only; what JSON cannot say (NaN, undefined, bytes, shared types) becomes undefined. */
function copy(value: unknown, depth: number, budget: Budget): Plain | undefined {
  if (--budget.values < 0) throw new Unreadable('it has too many values')
  if (value === null || typeof value === 'boolean') return value
  if (typeof value === 'number') return Number.isFinite(value) ? value : undefined
  if (typeof value === 'string') {
    budget.characters -= value.length
    if (budget.characters < 0) throw new Unreadable('it is too large')
    return value
  }
  if (!Array.isArray(value) && !isPlainObject(value)) return undefined
  if (depth >= DEPTH_MAX) throw new Unreadable('it is nested too deep')
  if (Array.isArray(value)) return value.map(item => copy(item, depth + 1, budget) ?? null)
  const result: PlainObject = {}
  for (const [key, item] of Object.entries(value)) {
    if (key === '__proto__') continue
    const plain = copy(item, depth + 1, budget)
    if (plain !== undefined) result[key] = plain
  }
  return result
}

/** A copy of what a document holds that is safe to walk, or Unreadable. */
export function toPlainObject(value: unknown): PlainObject {
  if (!isPlainObject(value)) throw new Unreadable('it is not a plain record')
  return copy(value, 0, { values: RECORD_VALUES_MAX, characters: RECORD_CHARACTERS_MAX }) as PlainObject
}
