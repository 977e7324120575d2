import { type IndexKey, T } from 'tldraw'

/** Enough to tell 900,000 apart, and no more than a 32-bit hash holds. */
const SUFFIX_DIGITS = 5
const DIGITS = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'

function digit(n: number): string {
  return DIGITS.charAt(n % DIGITS.length)
}

/** A key just above `index`, which every tab derives from `id` alike. */
export function withSuffix(index: IndexKey, id: string): IndexKey {
  let hash = 2166136261
  for (let i = 0; i < id.length; i++) hash = Math.imul(hash ^ id.charCodeAt(i), 16777619) >>> 0
  let suffix = ''
  for (let i = 0; i < SUFFIX_DIGITS; i++, hash = Math.floor(hash / DIGITS.length)) suffix += digit(hash)
  // The fraction of a key must not end in 0.
  return `${index}${suffix}V` as IndexKey
}

/** For a record without a valid key: one among those of its parent's first children. */
export function indexKeyFor(id: string): IndexKey {
  return withSuffix(nthIndexKey(1), id)
}

/** The n-th of a series of keys, in order and the same in every tab. */
export function nthIndexKey(n: number): IndexKey {
  const size = DIGITS.length
  if (n < size) return `a${digit(n)}` as IndexKey
  const rest = n - size
  if (rest < size ** 2) return `b${digit(Math.floor(rest / size))}${digit(rest)}` as IndexKey
  const last = rest - size ** 2
  return `c${digit(Math.floor(last / size ** 2))}${digit(Math.floor(last / size))}${digit(last)}` as IndexKey
}

export function isIndexKey(value: unknown): value is IndexKey {
  return typeof value === 'string' && value.length <= INDEX_CHARACTERS_MAX && T.indexKey.isValid(value)
}

/** A longer key is the mark of an attack: it grows with each new neighbour. */
const INDEX_CHARACTERS_MAX = 1000
