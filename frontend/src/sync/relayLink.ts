import type { Awareness } from 'y-protocols/awareness'
import { WebsocketProvider } from 'y-websocket'
import type * as Y from 'yjs'
import { backoffMs } from './backoff'
import { relaySocket } from './relaySocket'
import type { CountedFrame, SavedCount } from './savedCount'
import { readSavedMessage, SAVED_MESSAGE, type SavedMessage } from './savedMessages'

/** A relay says Welcome before it is in sync; a stock server never does. */
const WELCOME_MS_MAX = 1000

export interface LinkListener {
  /** All that the relay had was received, or it no longer may have been. */
  synced(inSync: boolean): void
  /** The relay told the key's role; null if this server has no such message. */
  welcomed(canAppend: boolean | null): void
  /** The count of what is saved may have changed. */
  counted(): void
  /** The connection ended; another attempt follows by itself. */
  interrupted(): void
  /** The connection ended for good. */
  refused(code: number, reason: string): void
}

export interface LinkOptions {
  url: string
  board: string
  key: string
  doc: Y.Doc
  awareness: Awareness
  saved: SavedCount
  listener: LinkListener
}

/** The address of the sockets of the host that served this page. */
export function socketUrl(page: Pick<Location, 'protocol' | 'host'>): string {
  return `${page.protocol === 'https:' ? 'wss' : 'ws'}://${page.host}/ws`
}

/** A key may hold any character, a subprotocol may not. */
function base64url(text: string): string {
  const bytes = Array.from(new TextEncoder().encode(text), byte => String.fromCharCode(byte))
  return btoa(bytes.join('')).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '')
}

/** The connection to whichever relay answers: stock y-websocket, with the saved count (L11) and jitter. */
export class RelayLink {
  readonly #provider: WebsocketProvider
  readonly #saved: SavedCount
  readonly #listener: LinkListener
  #welcomed = false
  #isViewer = false
  #refused = false
  #welcomeTimer: ReturnType<typeof setTimeout> | undefined

  constructor({ url, board, key, doc, awareness, saved, listener }: LinkOptions) {
    this.#saved = saved
    this.#listener = listener
    this.#provider = new WebsocketProvider(url, board, doc, {
      connect: false,
      // Two tabs of one browser would exchange changes that no relay has logged.
      disableBc: true,
      awareness,
      // Not in the address, which access logs and the browser's own console write down.
      protocols: ['board-relay', `key.${base64url(key)}`],
      WebSocketPolyfill: relaySocket({
        opened: () => this.#reset(),
        sending: frame => this.#send(frame),
      }),
    })
    this.#provider.messageHandlers[SAVED_MESSAGE] = (_reply, decoder) => this.#hear(readSavedMessage(decoder))
    this.#provider.on('sync', inSync => this.#synced(inSync))
    this.#provider.on('connection-close', () => this.#closed())
    this.#provider.on('closed', ({ code, reason }) => {
      this.#refused = true
      listener.refused(code, reason)
    })
    this.#provider.connect()
  }

  /** Do not wait for the next attempt. */
  connectNow(): void {
    if (!this.#refused) this.#provider.connect()
  }

  /** Find out at once whether the socket still carries anything; y-websocket itself would need 30 s. */
  probe(): void {
    if (this.#refused) return
    const { awareness } = this.#provider
    this.#provider.disconnect()
    // Disconnecting said "gone" at the present clock: only a later one brings this person back for the others.
    awareness.setLocalState(awareness.getLocalState())
    this.#provider.connect()
  }

  close(): void {
    clearTimeout(this.#welcomeTimer)
    this.#provider.destroy()
  }

  #send(frame: CountedFrame): boolean {
    // The relay would cut a viewer off for good, even if it came from another tab's copy in this browser.
    if (this.#isViewer && frame === 'Update') return false
    this.#saved.send(frame)
    this.#listener.counted()
    return true
  }

  #hear(message: SavedMessage | null): void {
    switch (message?.kind) {
      case 'Welcome':
        this.#welcomed = true
        this.#isViewer = !message.canAppend
        this.#listener.welcomed(message.canAppend)
        break
      case 'Saved':
        this.#saved.settle(message.count)
        break
      case 'Unsaved':
        this.#saved.lose()
        break
    }
    this.#listener.counted()
  }

  #synced(inSync: boolean): void {
    clearTimeout(this.#welcomeTimer)
    if (inSync && !this.#welcomed) this.#welcomeTimer = setTimeout(() => this.#goWithoutWelcome(), WELCOME_MS_MAX)
    this.#listener.synced(inSync)
  }

  #goWithoutWelcome(): void {
    this.#saved.trust()
    this.#listener.welcomed(null)
    this.#listener.counted()
  }

  #reset(): void {
    this.#welcomed = false
    this.#saved.reset()
  }

  #closed(): void {
    clearTimeout(this.#welcomeTimer)
    this.#reset()
    // Heard before y-websocket computes its wait.
    this.#provider.maxBackoffTime = backoffMs(this.#provider.wsUnsuccessfulReconnects, Math.random())
    this.#listener.interrupted()
    this.#listener.counted()
  }
}
