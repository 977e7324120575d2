// One stock client: its own document, its own provider, and what happened to them.
import { createHash } from 'node:crypto'
import { isDeepStrictEqual } from 'node:util'
import WebSocket from 'ws'
import * as Y from 'yjs'
import { WebsocketProvider as Provider3 } from 'y-websocket'
import { WebsocketProvider as Provider2 } from 'y-websocket-2'
import { acting } from './reporting.mjs'

const PROVIDERS = { 2: Provider2, 3: Provider3 }

const sorted = (_key, value) =>
  value !== null && typeof value === 'object' && !Array.isArray(value)
    ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
    : typeof value === 'bigint' ? `${value}n` : value

/** Milliseconds since 1970 with the resolution of the monotonic clock. */
export const now = () => performance.timeOrigin + performance.now()

export class Client {
  constructor ({ client, version, url, room, params, protocols, connect }) {
    this.name = client
    this.version = version
    this.doc = new Y.Doc()
    this.map = this.doc.getMap('tldraw')
    this.closes = []
    this.connectionErrors = []
    this.syncs = 0
    this.watched = new Map()
    this.waits = new Set()
    this.checking = false
    // Made unconnected, so that the listeners miss nothing; connect() is what the constructor would call.
    this.provider = new PROVIDERS[version](url, room, this.doc, {
      connect: false, params, protocols, WebSocketPolyfill: WebSocket, disableBc: true
    })
    this.#listen()
    if (connect) this.connect()
  }

  #listen () {
    const { provider } = this
    this.doc.on('update', () => this.#changed())
    this.map.observe((event) => {
      for (const key of event.keysChanged) {
        if (this.watched.get(key) === null && this.map.has(key)) this.watched.set(key, now())
      }
    })
    provider.awareness.on('update', () => this.#changed())
    provider.on('status', () => this.#changed())
    provider.on('sync', (synced) => {
      if (synced) this.syncs++
      this.#changed()
    })
    provider.on('connection-error', (event) => this.connectionErrors.push(event.message))
    provider.on('connection-close', (event) => {
      const { code = null, reason = '' } = event ?? {}
      const local = event === null
      this.closes.push({ code, reason, local, opened: provider.wsconnected, final: false, at: now() / 1000 })
      this.#changed()
    })
    // Only 3.1 knows final codes; it says so right after the close itself.
    provider.on('closed', () => { this.closes.at(-1).final = true })
  }

  // Conditions are looked at once a turn of the loop, when the provider's fields agree with each other again (it
  // reports a close before it has changed them), and however many updates the turn brought.
  #changed () {
    if (this.checking) return
    this.checking = true
    setImmediate(() => {
      this.checking = false
      for (const check of [...this.waits]) check()
    })
  }

  connect () { acting.run(this, () => this.provider.connect()) }

  disconnect () { this.provider.disconnect() }

  /** Lose the connection without a close frame, as a dead network or a killed tab does; the provider reconnects. */
  cut () { this.provider.ws?.terminate() }

  /** The next connection goes elsewhere: the provider builds its address anew from serverUrl for each connection. */
  moveTo (url) { this.provider.serverUrl = url.replace(/\/+$/, '') }

  destroy () {
    this.provider.destroy()
    this.doc.destroy()
  }

  get (key) {
    const value = this.map.get(key)
    return value instanceof Y.AbstractType ? value.toJSON() : value
  }

  async setMany (count, prefix, perTurn) {
    for (let n = 0; n < count; n++) {
      if (perTurn !== null && n > 0 && n % perTurn === 0) await new Promise((resolve) => setImmediate(resolve))
      this.map.set(`${prefix}${n}`, { by: this.name, n })
    }
  }

  get status () {
    return this.provider.wsconnected ? 'connected' : this.provider.wsconnecting ? 'connecting' : 'disconnected'
  }

  /** The keys that were set more than once: an item of each time stays in the document, though only one shows. */
  get doubled () {
    return [...this.map._map].filter(([, item]) => item.left !== null).map(([key]) => key)
  }

  /** Whether updates arrived whose dependencies have not: the document is not whole. */
  get pending () { return this.doc.store.pendingStructs !== null || this.doc.store.pendingDs !== null }

  get stateVector () { return Y.encodeStateVector(this.doc) }

  /** The same in two clients exactly if they hold the same insertions and deletions and show the same records. */
  get digest () {
    return createHash('sha256')
      .update(JSON.stringify(this.map.toJSON(), sorted))
      .update(Y.encodeSnapshot(Y.snapshot(this.doc)))
      .digest('hex')
  }

  states () { return Object.fromEntries(this.provider.awareness.getStates()) }

  /** Whether a client other than this one shows a state with all the given fields. */
  sees (fields) {
    return [...this.provider.awareness.getStates()].some(([id, state]) => id !== this.doc.clientID &&
      Object.entries(fields).every(([field, value]) => isDeepStrictEqual(state[field], value)))
  }

  summary () {
    const { provider } = this
    return {
      client: this.name,
      version: this.version,
      clientId: this.doc.clientID,
      url: provider.url,
      status: this.status,
      synced: provider.synced,
      syncs: this.syncs,
      reconnects: provider.shouldConnect,
      keys: this.map.size,
      pending: this.pending,
      awareness: provider.awareness.getStates().size,
      closes: this.closes,
      connectionErrors: this.connectionErrors
    }
  }
}

/**
 * Resolve with what `test` returns as soon as it is not undefined. It is asked again after every change of one of the
 * clients. Rejects after `timeout` milliseconds with the state the clients are in.
 */
export const until = (clients, what, timeout, test) => new Promise((resolve, reject) => {
  const finish = (settle, value) => {
    clearTimeout(timer)
    for (const client of clients) client.waits.delete(check)
    settle(value)
  }
  const check = () => {
    const result = test()
    if (result !== undefined) finish(resolve, result)
  }
  const timer = setTimeout(() => {
    const states = clients.map((client) => JSON.stringify(client.summary())).join('\n')
    finish(reject, new Error(`Waited ${timeout / 1000} s for ${what}; the state is\n${states}`))
  }, timeout)
  for (const client of clients) client.waits.add(check)
  check()
})

/** The digest that all clients share, or undefined while they differ or one of them is not whole. */
export const sharedDigest = (clients) => {
  const [first, ...others] = clients
  if (clients.some((client) => client.pending)) return undefined
  const vector = Buffer.from(first.stateVector)
  if (others.some((client) => !vector.equals(client.stateVector))) return undefined
  const { digest } = first
  return others.every((client) => client.digest === digest) ? digest : undefined
}
