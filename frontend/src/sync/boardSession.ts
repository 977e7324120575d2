import { atom, computed, createTLStore, type TLStore, type TLUser } from 'tldraw'
import { Awareness } from 'y-protocols/awareness'
import * as Y from 'yjs'
import { type PictureStore, pictureStore } from '../assets/assetStore'
import { type Binding, bindStore, LOCAL, type SkippedRecord } from '../binding/bindStore'
import { arriving } from '../presence/ownState'
import { profile, tabUser } from '../presence/profile'
import type { Person } from '../presence/remoteState'
import { type ConnectionFacts, connectionState, refusalOf } from './connectionState'
import { offlineName } from './offlineName'
import { OfflineStore } from './offlineStore'
import { watchPage } from './pageLife'
import { RelayLink, socketUrl } from './relayLink'
import { SavedCount } from './savedCount'

/** The count of unsaved changes is written behind at most this often. */
const KEEP_UNSAVED_MS = 300

export interface Skipped {
  records: readonly SkippedRecord[]
  count: number
}

interface Status extends ConnectionFacts {
  /** The store shows the board: as the relay has it, or as an earlier visit left it. */
  loaded: boolean
}

const AT_FIRST: Omit<Status, 'online'> = {
  inSync: false,
  interrupted: false,
  refusal: null,
  outdated: false,
  unsaved: 0,
  changed: false,
  allSaved: false,
  acknowledges: true,
  loaded: false,
  canAppend: null,
  keepsCopy: false,
}

/**
 * One open board: its document, the store that tldraw shows, and what keeps the two, this browser's copy and the relay in
 * step. Nothing of it is bound to a component, so its parts stay the same however often the page is rendered.
 */
export class BoardSession {
  readonly doc = new Y.Doc()
  readonly awareness = new Awareness(this.doc)
  readonly store: TLStore
  readonly user: TLUser = tabUser(this.doc.clientID)
  /** What of the board cannot be shown: the first of it, and how much there is in all. */
  readonly skipped = atom<Skipped>('skipped', { records: [], count: 0 })
  /** The others who are on the board. */
  readonly people = atom<readonly Person[]>('people', [])

  readonly #status = atom<Status>('status', { ...AT_FIRST, online: navigator.onLine })
  readonly connection = computed('connection', () => connectionState(this.#status.get()))
  readonly refusal = computed('refusal', () => this.#status.get().refusal)
  readonly loaded = computed('loaded', () => this.#status.get().loaded)
  readonly outdated = computed('outdated', () => this.#status.get().outdated)
  /** Whether the key is known to be a viewer's. */
  readonly isViewer = computed('isViewer', () => this.#status.get().canAppend === false)

  readonly #pictures: PictureStore
  readonly #saved = new SavedCount()
  readonly #offline: OfflineStore
  readonly #stopWatching: () => void
  #link: RelayLink | null = null
  #binding: (Binding & { readOnly: boolean }) | null = null
  /** An empty document is a board without content only when the relay has said so. */
  #hasContent = false
  #touched = false
  #closed = false
  #keepTimer: ReturnType<typeof setTimeout> | undefined

  constructor(
    readonly board: string,
    readonly key: string,
  ) {
    this.#pictures = pictureStore(board, key)
    this.awareness.setLocalState(arriving(profile.get()))
    this.store = createTLStore({ assets: this.#pictures, collaboration: this.#collaboration() })
    this.store.listen(() => this.#touch(), { source: 'user', scope: 'document' })
    this.#offline = new OfflineStore(offlineName(board, key), this.doc, () => this.#set({ keepsCopy: false }))
    this.#stopWatching = watchPage({
      network: online => this.#network(online),
      shown: () => this.#link?.connectNow(),
      hidden: () => this.#hidden(),
      wouldLose: () => this.#wouldLose(),
    })
    void this.#open()
  }

  close(): void {
    this.#closed = true
    this.#binding?.flush()
    this.#binding?.stop()
    this.#keepUnsaved()
    this.#stopWatching()
    this.awareness.setLocalState(null)
    this.#link?.close()
    this.#offline.close()
    this.#pictures.close()
    this.doc.destroy()
  }

  async #open(): Promise<void> {
    // The copy first: what came after the connection would be sent as one more change, a viewer's too.
    const kept = await this.#offline.load()
    if (this.#closed) return
    // Before the link's own listener, so that a change is counted before the frame that carries it.
    this.doc.on('update', (_update: Uint8Array, origin: unknown) => {
      if (origin === LOCAL) this.#saved.change()
      this.#count()
    })
    this.#saved.inherit(kept.unsaved)
    this.#touched = kept.unsaved > 0
    this.#set({ keepsCopy: this.#offline.isOpen, canAppend: kept.canAppend })
    this.#hasContent = kept.hasContent
    this.#bind()
    this.#link = new RelayLink({
      url: socketUrl(location),
      board: this.board,
      key: this.key,
      doc: this.doc,
      awareness: this.awareness,
      saved: this.#saved,
      listener: {
        synced: inSync => this.#synced(inSync),
        welcomed: canAppend => this.#welcomed(canAppend),
        counted: () => this.#count(),
        interrupted: () => this.#set({ interrupted: true }),
        refused: (code, reason) => this.#set({ refusal: refusalOf(code, reason, this.#status.get().loaded) }),
      },
    })
    this.#count()
  }

  #collaboration() {
    return {
      status: computed('status', () => (this.#status.get().inSync ? 'online' : 'offline')),
      mode: computed('mode', () => {
        const { canAppend, outdated, refusal } = this.#status.get()
        // Until the role is known nothing can be drawn that would have to be taken back.
        return canAppend === true && !outdated && refusal === null ? 'readwrite' : 'readonly'
      }),
    } as const
  }

  #synced(inSync: boolean): void {
    this.#set({ inSync })
    this.#hasContent ||= inSync
    this.#bind()
  }

  #welcomed(canAppend: boolean | null): void {
    if (canAppend === null) {
      this.#set({ acknowledges: false, canAppend: this.#status.get().canAppend ?? true })
    } else {
      this.#set({ acknowledges: true, canAppend })
      this.#offline.keepRole(canAppend)
    }
    this.#bind()
  }

  /** Show the document once there is one, and write into it once the key is known to be an editor's. */
  #bind(): void {
    const readOnly = this.#status.get().canAppend !== true
    if (!this.#hasContent || this.#binding?.readOnly === readOnly) return
    this.#binding?.stop()
    const binding = bindStore({
      doc: this.doc,
      store: this.store,
      readOnly,
      onStatus: status => this.#set({ outdated: status === 'outdated' }),
      onSkipped: (records, count = records.length) => this.skipped.set({ records, count }),
    })
    this.#binding = { readOnly, flush: () => binding.flush(), stop: () => binding.stop() }
    this.#set({ loaded: true })
  }

  #count(): void {
    const { unsaved, changed, allSaved } = this.#saved
    if (unsaved !== this.#status.get().unsaved) {
      // At once when all is saved, or a page that is closed right then would be remembered as unsaved.
      if (unsaved === 0) this.#keepUnsaved()
      else this.#keepTimer ??= setTimeout(() => this.#keepUnsaved(), KEEP_UNSAVED_MS)
    }
    this.#set({ unsaved, changed, allSaved })
  }

  #keepUnsaved(): void {
    clearTimeout(this.#keepTimer)
    this.#keepTimer = undefined
    this.#offline.keepUnsaved(this.#saved.unsaved)
  }

  #touch(): void {
    if (this.#binding !== null) this.#touched = true
  }

  #wouldLose(): boolean {
    this.#binding?.flush()
    return this.#touched && this.#saved.unsaved > 0
  }

  #network(online: boolean): void {
    this.#set({ online })
    if (online) this.#link?.connectNow()
    else this.#link?.probe()
  }

  #hidden(): void {
    this.#binding?.flush()
    this.#keepUnsaved()
  }

  #set(change: Partial<Status>): void {
    const before = this.#status.get()
    const keys = Object.keys(change) as (keyof Status)[]
    if (keys.some(key => before[key] !== change[key])) this.#status.set({ ...before, ...change })
  }
}
