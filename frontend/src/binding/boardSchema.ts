import type { SerializedSchema, SerializedSchemaV2, TLRecord, TLStore } from 'tldraw'
import { isPlainObject, type Plain, type PlainObject, toPlainObject } from './plain'

export const SCHEMA_KEY = 'schema'

/** How the schema that a board was written with relates to this canvas's; `absent`: none that can be read. */
export type BoardSchema = { is: 'absent' | 'current' | 'newer' } | { is: 'older'; schema: SerializedSchema }

function isVersion(value: Plain | undefined): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0
}

function compare(theirs: PlainObject, ours: Record<string, number>): 'absent' | 'current' | 'newer' | 'older' {
  const versions = Object.entries(theirs)
  if (!versions.every(([, version]) => isVersion(version))) return 'absent'
  if (versions.some(([id, version]) => !Object.hasOwn(ours, id) || Number(version) > Number(ours[id]))) return 'newer'
  return Object.entries(ours).every(([id, version]) => theirs[id] === version) ? 'current' : 'older'
}

/** Boards that only agents wrote have no schema: their records are of today's. */
export function readBoardSchema(value: unknown, ours: SerializedSchemaV2): BoardSchema {
  let theirs: PlainObject
  try {
    theirs = toPlainObject(value)
  } catch {
    return { is: 'absent' }
  }
  if (theirs.schemaVersion === 1 && isVersion(theirs.storeVersion) && isPlainObject(theirs.recordVersions)) {
    return { is: 'older', schema: theirs as unknown as SerializedSchema }
  }
  if (isVersion(theirs.schemaVersion) && theirs.schemaVersion > ours.schemaVersion) return { is: 'newer' }
  if (theirs.schemaVersion !== ours.schemaVersion || !isPlainObject(theirs.sequences)) return { is: 'absent' }
  const is = compare(theirs.sequences, ours.sequences)
  return is === 'older' ? { is, schema: theirs as unknown as SerializedSchema } : { is }
}

type Records = Record<string, PlainObject>

function migrated(records: Records, from: SerializedSchema, schema: TLStore['schema']): Records | undefined {
  try {
    const snapshot = { store: structuredClone(records) as unknown as Record<TLRecord['id'], TLRecord>, schema: from }
    const result = schema.migrateStoreSnapshot(snapshot)
    return result.type === 'success' ? (result.value as unknown as Records) : undefined
  } catch {
    return undefined
  }
}

/** Migrations make bindings out of old arrows under random ids; every tab must make the same ones. */
function named(id: string, record: PlainObject, known: Records): [string, PlainObject] {
  if (Object.hasOwn(known, id) || record.typeName !== 'binding' || !isPlainObject(record.props)) return [id, record]
  const own = `binding:${String(record.fromId).replace('shape:', '')}-${String(record.props.terminal)}`
  return [own, { ...record, id: own }]
}

/** All at once; where one of them breaks a migration, one by one, and what breaks it stays as it is. */
export function migrate(records: Records, from: SerializedSchema, schema: TLStore['schema']): Records {
  const whole = migrated(records, from, schema)
  const parts =
    whole === undefined
      ? Object.entries(records).map(([id, record]) => migrated({ [id]: record }, from, schema) ?? { [id]: record })
      : [whole]
  return Object.fromEntries(
    parts.flatMap(part => Object.entries(part).map(([id, record]) => named(id, record, records))),
  )
}
