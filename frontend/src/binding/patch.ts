import { isEqual, type TLRecord } from 'tldraw'
import { isPlainObject, type PlainObject } from './plain'

/** New values by path: `x`, `props.color`, `meta.author`; undefined where a property went. */
export type Patch = ReadonlyMap<string, unknown>

/** Their properties change one by one; those of all other objects only as a whole. */
const SECTIONS = new Set(['props', 'meta'])

function compare(from: PlainObject, to: PlainObject, prefix: string, changes: Map<string, unknown>): void {
  for (const key of new Set([...Object.keys(from), ...Object.keys(to)])) {
    const before = from[key]
    const after = to[key]
    if (before === after) continue
    if (prefix === '' && SECTIONS.has(key) && isPlainObject(before) && isPlainObject(after)) {
      compare(before, after, `${key}.`, changes)
    } else if (!isEqual(before, after)) {
      changes.set(prefix + key, after)
    }
  }
}

export function diff(from: TLRecord, to: TLRecord): Patch {
  const changes = new Map<string, unknown>()
  compare(from as unknown as PlainObject, to as unknown as PlainObject, '', changes)
  return changes
}

/** The section and the key in it; no section for what stands in the record itself. */
function split(path: string): [string | undefined, string] {
  const dot = path.indexOf('.')
  const section = path.slice(0, Math.max(0, dot))
  return SECTIONS.has(section) ? [section, path.slice(dot + 1)] : [undefined, path]
}

export function valueAt(record: TLRecord, path: string): unknown {
  const [section, key] = split(path)
  const fields = record as unknown as PlainObject
  if (section === undefined) return fields[key]
  return isPlainObject(fields[section]) ? fields[section][key] : undefined
}

function assign(target: Record<string, unknown>, key: string, value: unknown): void {
  if (value === undefined) delete target[key]
  else target[key] = value
}

/** `record` itself where the patch says nothing new. */
export function applied<R extends TLRecord>(record: R, patch: Patch): R {
  if ([...patch].every(([path, value]) => isEqual(valueAt(record, path), value))) return record
  const result = { ...record } as Record<string, unknown>
  for (const section of SECTIONS) if (isPlainObject(result[section])) result[section] = { ...result[section] }
  for (const [path, value] of patch) {
    const [section, key] = split(path)
    if (section === undefined) assign(result, key, value)
    else if (isPlainObject(result[section])) assign(result[section], key, value)
  }
  return result as unknown as R
}
