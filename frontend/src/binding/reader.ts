import { DocumentRecordType, isEqual, PageRecordType, TLDOCUMENT_ID, type TLRecord, type TLStore } from 'tldraw'
import type * as Y from 'yjs'
import { type BoardSchema, migrate } from './boardSchema'
import type { Held } from './held'
import { nthIndexKey } from './indexKeys'
import { keepMeasures } from './measuredProps'
import type { Others } from './others'
import { type PlainObject, Unreadable } from './plain'
import { quietly } from './quietly'
import { repair, toSource } from './repair'
import { letGo } from './session'
import { Siblings } from './siblings'
import type { Skipped } from './skipped'
import { Standing } from './standing'

export const PAGE_ID = PageRecordType.createId('page')
/** What a board without any page gets, the same in every tab. It is written with the first edit only. */
const LOCAL_PAGE = PageRecordType.create({ id: PAGE_ID, name: 'Page 1', index: nthIndexKey(1) })

/** Brings what the document holds into the store. */
export class Reader {
  readonly #records: Y.Map<unknown>
  readonly #store: TLStore
  readonly #held: Held
  readonly #others: Others
  readonly #skipped: Skipped
  readonly #standing = new Standing()
  readonly #siblings = new Siblings()
  /** What each readable record was read from, to see whether the document has another one by now. */
  readonly #values = new Map<string, unknown>()
  /** What was read before the latest reading, until it is shown. */
  readonly #before = new Map<string, TLRecord>()
  readonly #migrated = new Set<string>()
  readonly #pages = new Set<string>()

  constructor(records: Y.Map<unknown>, store: TLStore, held: Held, others: Others, skipped: Skipped) {
    this.#records = records
    this.#store = store
    this.#held = held
    this.#others = others
    this.#skipped = skipped
  }

  /** Whether only this tab has the page, so that a person's first edit must bring it along. */
  get pageIsLocal(): boolean {
    return this.#standing.get(PAGE_ID) === LOCAL_PAGE
  }

  /** The records that a migration changed, as the document should have them. */
  migrated(): TLRecord[] {
    return [...this.#migrated].map(id => this.#standing.get(id)).filter(record => record !== undefined)
  }

  refuse(id: string, reason: string): void {
    this.#skipped.set(id, reason)
    this.#skipped.tell()
  }

  /** What the document has under `id` at this moment, repaired. */
  latest(id: string): TLRecord | undefined {
    const value = this.#records.get(id)
    if (this.#values.get(id) === value) return this.#standing.get(id)
    try {
      return repair(toSource(id, value), this.#store.schema)
    } catch {
      return undefined
    }
  }

  /** Take in what the document has under these ids; `show` brings it into the store. */
  read(ids: Iterable<string>, board: BoardSchema): void {
    const old: Record<string, PlainObject> = {}
    for (const id of ids) {
      this.#values.delete(id)
      this.#migrated.delete(id)
      const before = this.#standing.get(id)
      if (before !== undefined) this.#before.set(id, before)
      const value = this.#records.get(id)
      if (value === undefined) {
        this.#standing.put(id, undefined)
        this.#skipped.set(id, undefined)
        continue
      }
      this.#values.set(id, value)
      this.#attempt(id, () => {
        const source = toSource(id, value)
        // Agents write today's records into old boards too: what is valid today is not migrated.
        if (board.is === 'older' && !this.#isValid(source)) old[id] = source
        else this.#take(id, source)
      })
    }
    if (board.is === 'older' && Object.keys(old).length > 0)
      this.#takeMigrated(migrate(old, board.schema, this.#store.schema), old)
  }

  /** Bring the store up to what was read, except for `own`, what this tab has just written itself. */
  show(ids: Iterable<string>, own: ReadonlySet<string> = new Set()): void {
    const touched = new Set([...ids, ...this.#standing.settle()])
    for (const id of touched) this.#notePage(id)
    for (const id of this.#settlePage()) touched.add(id)
    // What this adds to the set is visited too.
    for (const id of touched) for (const other of this.#noteStanding(id)) touched.add(other)
    const puts = new Map<string, TLRecord>()
    const removes: TLRecord['id'][] = []
    for (const id of touched.add(TLDOCUMENT_ID)) {
      const current = this.#store.get(id as TLRecord['id'])
      const target = this.#target(id)
      if (target === undefined) {
        if (this.#held.isNew(id)) continue
        // A tab's own records (camera, selection) are no part of the board, whatever stands in it under their names.
        if (current !== undefined && this.#store.scopedTypes.document.has(current.typeName)) removes.push(current.id)
        this.#held.drop(id)
      } else if (own.has(id)) {
        // What this tab wrote it has, but siblings may have had its index key before.
        const isShared =
          current !== undefined && 'index' in current && 'index' in target && current.index !== target.index
        if (isShared) puts.set(id, { ...current, index: target.index })
      } else if (this.#held.get(id)?.to !== null) {
        const next = this.#held.over(
          current === undefined ? target : keepMeasures(current, this.#before.get(id) ?? target, target),
        )
        if (!isEqual(current, next)) puts.set(id, next)
      }
    }
    this.#before.clear()
    this.#change([...puts.values()], removes)
    this.#skipped.tell()
  }

  /** All that is in the document, and nothing else. */
  load(board: BoardSchema, own?: ReadonlySet<string>): void {
    this.read(new Set([...this.#records.keys(), ...this.#standing.ids()]), board)
    this.show([...this.#standing.ids(), ...Object.keys(this.#store.serialize('document'))], own)
  }

  #attempt(id: string, take: () => void): void {
    try {
      take()
    } catch (error) {
      if (!(error instanceof Unreadable)) throw error
      this.#standing.put(id, undefined)
      this.#skipped.set(id, error.message)
    }
  }

  #take(id: string, source: PlainObject): void {
    this.#standing.put(id, repair(source, this.#store.schema))
  }

  #takeMigrated(records: Record<string, PlainObject>, old: Record<string, PlainObject>): void {
    for (const [id, source] of Object.entries(records)) {
      if (!Object.hasOwn(old, id) && this.#values.has(id)) continue
      this.#migrated.add(id)
      this.#attempt(id, () => this.#take(id, source))
    }
  }

  #isValid(source: PlainObject): boolean {
    const { typeName } = source as { typeName: TLRecord['typeName'] }
    try {
      this.#store.schema.types[typeName].validate(source)
      return true
    } catch {
      return false
    }
  }

  #notePage(id: string): void {
    const record = this.#standing.get(id)
    if (record?.typeName === 'page' && record !== LOCAL_PAGE) this.#pages.add(id)
    else this.#pages.delete(id)
  }

  /** A page of this tab where there is no other one; returns all that this moves. */
  #settlePage(): string[] {
    if (this.#pages.size === 0) this.#standing.put(PAGE_ID, LOCAL_PAGE)
    else if (this.pageIsLocal) this.#standing.put(PAGE_ID, undefined)
    return this.#standing.settle()
  }

  /** Returns whom it changes besides. */
  #noteStanding(id: string): string[] {
    const record = this.#standing.get(id)
    const stands = this.#standing.stands(id)
    const moved = this.#siblings.put(id, stands ? record : undefined)
    if (record === undefined) return moved
    // A binding without its shapes is nothing that anybody could miss.
    this.#skipped.set(id, record.typeName === 'shape' && !stands ? this.#standing.reason(id) : undefined)
    return moved
  }

  /** What the store should have under `id`. */
  #target(id: string): TLRecord | undefined {
    const record = this.#standing.get(id)
    if (record !== undefined && this.#standing.stands(id)) return this.#siblings.distinct(record)
    if (id !== TLDOCUMENT_ID) return undefined
    return DocumentRecordType.create({ id: TLDOCUMENT_ID, name: this.#store.props.defaultName })
  }

  #change(puts: TLRecord[], removes: TLRecord['id'][]): void {
    if (puts.length === 0 && removes.length === 0) return
    for (const record of puts) this.#others.put(this.#store.get(record.id), record)
    for (const id of removes) this.#others.remove(id)
    try {
      letGo(this.#store, puts, removes)
      quietly(this.#store, () => {
        this.#store.put(puts)
        this.#store.remove(removes)
      })
    } catch {
      for (const record of puts) this.#alone(record.id, () => this.#store.put([record]))
      for (const id of removes) this.#alone(id, () => this.#store.remove([id]))
    }
  }

  /** No record takes its neighbours along. */
  #alone(id: string, change: () => void): void {
    try {
      quietly(this.#store, change)
    } catch (error) {
      this.#skipped.set(id, error instanceof Error ? error.message : String(error))
    }
  }
}
