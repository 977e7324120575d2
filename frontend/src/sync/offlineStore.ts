import * as idb from 'lib0/indexeddb'
import { IndexeddbPersistence } from 'y-indexeddb'
import type * as Y from 'yjs'

/** How long a browser may take to open its database before the board goes on without. */
const OPEN_MS_MAX = 3000
const PROBE = 'board-relay'
const UNSAVED_PREFIX = 'unsaved:'
const ROLE = 'can-append'

/** What a board left in this browser: its content, and what is known about it. */
export interface Kept {
  hasContent: boolean
  /** Changes that no server has acknowledged, made in earlier visits. */
  unsaved: number
  /** What the key allowed when it was last used; null if it never was. */
  canAppend: boolean | null
}

const NOTHING: Kept = { hasContent: false, unsaved: 0, canAppend: null }

/**
 * A board's copy in this browser, which outlives the page. Every tab adds its updates to one database; what each left unsaved
 * stands under a name of its own. Where a browser has no such store (private windows), nothing is kept and all else works.
 */
export class OfflineStore {
  #persistence: IndexeddbPersistence | null = null
  #inherited: string[] = []
  #keptUnsaved = 0
  #closed = false
  readonly #unsavedName: string

  constructor(
    private readonly name: string,
    private readonly doc: Y.Doc,
    /** Called when what was kept so far is kept no longer. */
    private readonly lost: () => void = () => {},
  ) {
    this.#unsavedName = UNSAVED_PREFIX + doc.clientID
  }

  /** Whether what the document gets is kept. */
  get isOpen(): boolean {
    return this.#persistence !== null
  }

  /** Load what was kept into the document. Never raises; call it before anything listens to the document's updates. */
  async load(): Promise<Kept> {
    if (!(await hasDatabases()) || this.#closed) return NOTHING
    const persistence = new IndexeddbPersistence(this.name, this.doc)
    this.#persistence = persistence
    const loaded = await within(OPEN_MS_MAX, persistence.whenSynced)
    const db = persistence.db
    if (loaded === null || db === null || this.#closed) {
      this.close()
      return NOTHING
    }
    this.#guard(persistence)
    // The database was deleted, here or in another tab.
    db.addEventListener('close', () => this.close())
    db.addEventListener('versionchange', () => this.close())
    return await this.#kept(db).catch(() => NOTHING)
  }

  /** What throws in a listener of the document keeps the change from all later ones: it would be neither sent nor counted. */
  #guard(persistence: IndexeddbPersistence): void {
    const store = persistence._storeUpdate
    this.doc.off('update', store)
    persistence._storeUpdate = (update, origin) => {
      try {
        store(update, origin)
      } catch {
        this.close()
      }
    }
    this.doc.on('update', persistence._storeUpdate)
  }

  async #kept(db: IDBDatabase): Promise<Kept> {
    const [custom] = idb.transact(db, ['custom'], 'readonly')
    if (custom === undefined) return NOTHING
    const entries: { k: IDBValidKey; v: unknown }[] = await idb.getAllKeysValues(custom)
    const unsaved = entries.filter(({ k }) => String(k).startsWith(UNSAVED_PREFIX))
    this.#inherited = unsaved.map(({ k }) => String(k))
    const role = entries.find(({ k }) => k === ROLE)?.v
    return {
      hasContent: this.doc.store.clients.size > 0,
      unsaved: unsaved.reduce((sum, { v }) => sum + (typeof v === 'number' ? v : 0), 0),
      canAppend: typeof role === 'number' ? role === 1 : null,
    }
  }

  /** Remember how many changes of this visit, and of those before it, are not saved. */
  keepUnsaved(count: number): void {
    if (count === this.#keptUnsaved && this.#inherited.length === 0) return
    this.#keptUnsaved = count
    // What earlier visits left is in this document too, and so in this count.
    for (const name of this.#inherited.splice(0)) this.#write(persistence => persistence.del(name))
    this.#write(persistence =>
      count === 0 ? persistence.del(this.#unsavedName) : persistence.set(this.#unsavedName, count),
    )
  }

  keepRole(canAppend: boolean): void {
    this.#write(persistence => persistence.set(ROLE, canAppend ? 1 : 0))
  }

  close(): void {
    this.#closed = true
    if (this.#persistence === null) return
    this.#persistence.destroy().catch(() => {})
    this.#persistence = null
    this.lost()
  }

  #write(action: (persistence: IndexeddbPersistence) => Promise<unknown>): void {
    // A full disk, say: the board itself goes on.
    if (this.#persistence !== null) action(this.#persistence).catch(() => {})
  }
}

/** Try, as y-indexeddb gives no sign when a browser refuses. */
async function hasDatabases(): Promise<boolean> {
  if (typeof indexedDB === 'undefined') return false
  try {
    const db = await within(
      OPEN_MS_MAX,
      idb.openDB(PROBE, () => {}),
    )
    db?.close()
    return db !== null
  } catch {
    return false
  }
}

async function within<T>(ms: number, promise: Promise<T>): Promise<T | null> {
  let timer: ReturnType<typeof setTimeout> | undefined
  const late = new Promise<null>(resolve => {
    timer = setTimeout(resolve, ms, null)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}
