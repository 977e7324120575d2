import { T, type TLRecord, type TLStore } from 'tldraw'
import {
  ASSET,
  ASSET_PROPS,
  BINDING,
  BINDING_PROPS,
  DOCUMENT,
  type Field,
  type Fields,
  PAGE,
  RANGES,
  SHAPE,
  SHAPE_PROPS,
} from './fields'
import { indexKeyFor, isIndexKey, nthIndexKey } from './indexKeys'
import { isPlainObject, type Plain, type PlainObject, toPlainObject, Unreadable } from './plain'
import { repairRichText, TEXT_CHARACTERS_MAX } from './richText'

export const ID_CHARACTERS_MAX = 500
export const CLOUD_RATIO_MAX = 1000

/** The kinds of records that belong to a board; a tab's own (camera, selection, pointer) are never taken from it. */
const KINDS = new Set(['document', 'page', 'shape', 'asset', 'binding'])
const UNSAFE_URL = /^\s*(javascript|vbscript|blob|data|file):/i

function passes(validator: T.Validatable<unknown>, value: unknown): boolean {
  try {
    validator.validate(value)
    return true
  } catch {
    return false
  }
}

/** The value, or what can be saved of it, or the fallback; undefined where none of them passes. */
function repairValue(key: string, value: Plain | undefined, { validator, fallback }: Field): Plain | undefined {
  const candidate = savable(key, value, validator, fallback)
  if (candidate !== undefined && passes(validator, candidate)) return candidate
  return fallback
}

function savable(
  key: string,
  value: Plain | undefined,
  validator: T.Validatable<unknown>,
  fallback: Plain | undefined,
): Plain | undefined {
  if (typeof value === 'number') {
    const [least, most] = RANGES.get(key) ?? [-Infinity, Infinity]
    return Math.min(most, Math.max(least, value))
  }
  if (Array.isArray(value) && validator instanceof T.ArrayOfValidator) {
    const field = { validator: validator.itemValidator, fallback: undefined }
    return value.map(item => repairValue('', item, field)).filter(item => item !== undefined)
  }
  if (isPlainObject(value) && validator instanceof T.ObjectValidator) {
    const inner = isPlainObject(fallback) ? fallback : {}
    return Object.fromEntries(
      Object.entries(validator.config as Record<string, T.Validatable<unknown>>)
        .map(([name, field]) => [name, repairValue(name, value[name], { validator: field, fallback: inner[name] })])
        .filter((entry): entry is [string, Plain] => entry[1] !== undefined),
    )
  }
  if (isPlainObject(value) && validator instanceof T.DictValidator) {
    const field = { validator: validator.valueValidator, fallback: undefined }
    const entries = Object.entries(value).map(([name, item]) => [name, repairValue('', item, field)] as const)
    return Object.fromEntries(entries.filter((entry): entry is [string, Plain] => entry[1] !== undefined))
  }
  return value
}

/** Every field of `fields`, and nothing else. */
function repairFields(source: PlainObject, fields: Fields): PlainObject {
  const result: PlainObject = {}
  for (const [key, field] of fields) {
    const value = repairValue(key, source[key], field)
    if (value !== undefined) result[key] = value
  }
  return result
}

/** Points in their order, each under its own key; equal indexes would throw where a new point is put between. */
function repairPoints(props: PlainObject, fallback: Plain | undefined): void {
  const points = Object.entries(isPlainObject(props.points) ? props.points : {})
    .filter((entry): entry is [string, PlainObject] => isPlainObject(entry[1]))
    .map(([id, point]) => ({ ...point, id, index: String(point.index) }))
    .sort((a, b) => (a.index < b.index ? -1 : a.index > b.index ? 1 : a.id < b.id ? -1 : 1))
  if (points.length < 2) {
    props.points = fallback ?? {}
    return
  }
  const ordered = points.every((point, n) => n === 0 || point.index > (points[n - 1]?.index ?? ''))
  props.points = Object.fromEntries(
    points.map((point, n) => [point.id, ordered ? point : { ...point, index: nthIndexKey(n) }]),
  )
}

function repairSegments(props: PlainObject): void {
  const segments = Array.isArray(props.segments) ? props.segments : []
  props.segments = segments.filter(
    segment => isPlainObject(segment) && Array.isArray(segment.points) && segment.points.length > 0,
  )
  if (props.segments.length === 0) throw new Unreadable('it is a stroke without points')
}

/** A cloud has as many bumps as it is long by its shorter side. */
function repairCloud(props: PlainObject): void {
  const [w, h] = [Number(props.w), Number(props.h)]
  const least = Math.max(w, h) / CLOUD_RATIO_MAX
  Object.assign(props, { w: Math.max(w, least), h: Math.max(h, least) })
}

function refuseLongText(props: PlainObject): void {
  for (const [key, value] of Object.entries(props)) {
    if (typeof value === 'string' && value.length > TEXT_CHARACTERS_MAX && !SOURCES.has(key)) {
      throw new Unreadable(`its ${key} is too long`)
    }
  }
}

/** Whole pictures may stand in these. */
const SOURCES = new Set(['src', 'image', 'favicon'])

function repairShapeProps(type: string, source: PlainObject, fields: Fields): PlainObject {
  const prepared = { ...source }
  if (fields.has('richText')) prepared.richText = repairRichText(source.richText ?? source.text) as unknown as Plain
  if (typeof source.url === 'string' && UNSAFE_URL.test(source.url)) prepared.url = ''
  if (type === 'line' && isPlainObject(source.points)) {
    prepared.points = Object.fromEntries(
      Object.entries(source.points).map(([id, point]) => [
        id,
        isPlainObject(point) ? { ...point, id, index: isIndexKey(point.index) ? point.index : nthIndexKey(0) } : point,
      ]),
    )
  }
  const props = repairFields(prepared, fields)
  if (type === 'line') repairPoints(props, fields.get('points')?.fallback)
  if (props.geo === 'cloud') repairCloud(props)
  if (type === 'draw' || type === 'highlight') repairSegments(props)
  return props
}

function typed(kind: string, source: PlainObject, known: ReadonlyMap<string, Fields>): [string, Fields, PlainObject] {
  const fields = typeof source.type === 'string' ? known.get(source.type) : undefined
  if (fields === undefined) throw new Unreadable(`this canvas knows no ${kind} of the type ${shown(source.type)}`)
  return [source.type as string, fields, isPlainObject(source.props) ? source.props : {}]
}

function shown(value: Plain | undefined): string {
  return JSON.stringify(value)?.slice(0, 50) ?? 'nothing'
}

function repairKind(id: string, kind: string, source: PlainObject): PlainObject {
  const index = isIndexKey(source.index) ? source.index : indexKeyFor(id)
  switch (kind) {
    case 'shape': {
      const [type, fields, props] = typed(kind, source, SHAPE_PROPS)
      return { type, index, ...repairFields(source, SHAPE), props: repairShapeProps(type, props, fields) }
    }
    case 'binding': {
      const [type, fields, props] = typed(kind, source, BINDING_PROPS)
      return { type, ...repairFields(source, BINDING), props: repairFields(props, fields) }
    }
    case 'asset': {
      const [type, fields, props] = typed(kind, source, ASSET_PROPS)
      return { type, ...repairFields(source, ASSET), props: repairFields(props, fields) }
    }
    case 'page':
      return { index, ...repairFields(source, PAGE) }
    default:
      return repairFields(source, DOCUMENT)
  }
}

/** What the document holds under `id`, as plain values of a kind that belongs to a board, or Unreadable. */
export function toSource(id: string, value: unknown): PlainObject {
  if (id.length > ID_CHARACTERS_MAX) throw new Unreadable('its id is too long')
  const source = toPlainObject(value)
  const kind = source.typeName ?? id.slice(0, Math.max(0, id.indexOf(':')))
  if (typeof kind !== 'string' || !KINDS.has(kind)) throw new Unreadable(`${shown(kind)} is nothing a board holds`)
  if (source.id !== undefined && source.id !== id) throw new Unreadable(`it says that its id is ${shown(source.id)}`)
  return { ...source, id, typeName: kind }
}

/** A record that passes tldraw's validators and that tldraw can draw, or Unreadable. */
export function repair(source: PlainObject, schema: TLStore['schema']): TLRecord {
  const { id, typeName } = source as { id: string; typeName: TLRecord['typeName'] }
  const record: PlainObject = { id, typeName, ...repairKind(id, typeName, source) }
  refuseLongText(record)
  if (isPlainObject(record.props)) refuseLongText(record.props)
  try {
    return schema.types[typeName].validate(record) as TLRecord
  } catch (error) {
    throw new Unreadable(error instanceof Error ? error.message : String(error))
  }
}
