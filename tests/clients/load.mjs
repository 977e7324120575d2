// A steady load of small edits, each under a key of its own, and when each client was back after a fault.
import { now, sharedDigest, until } from './client.mjs'

export class Load {
  #clients
  #editors
  #made = new Map() // key -> { by, at }
  #timers = []
  #faultAt = Infinity
  #cutAt = new Map() // client -> when it last lost a connection, or the fault happened
  #back = new Map() // client -> milliseconds since 1970
  #closesBefore = new Map()

  constructor (clients, editors) {
    this.#clients = clients
    this.#editors = editors
    for (const client of clients) {
      client.map.observe((event) => { for (const key of event.keysChanged) this.#seen(client, key) })
      client.provider.on('connection-close', () => { if (client.closes.at(-1).opened) this.#cutOff(client) })
    }
  }

  /** Each editor makes an edit every `everyMs`, at most `editsMax` of them; not all in the same moment. */
  start (everyMs, editsMax) {
    for (const [place, editor] of this.#editors.entries()) {
      let count = 0
      const edit = () => {
        if (count++ >= editsMax) return
        const key = `${editor.name}:${this.#made.size}`
        this.#made.set(key, { by: editor, at: now() })
        editor.map.set(key, { by: editor.name })
      }
      this.#timers.push(setTimeout(() => {
        edit()
        this.#timers.push(setInterval(edit, everyMs))
      }, everyMs * place / this.#editors.length))
    }
  }

  stop () {
    for (const timer of this.#timers) clearTimeout(timer)
    this.#timers = []
  }

  /** Wait until so many more edits are made. */
  grow (edits, timeout) {
    const wanted = this.#made.size + edits
    return until(this.#clients, `${wanted} edits`, timeout, () => this.#made.size >= wanted || undefined)
  }

  /** From now on it counts when each client is back. */
  fault () {
    this.#faultAt = now()
    for (const client of this.#clients) {
      this.#closesBefore.set(client, client.closes.length)
      this.#cutOff(client)
    }
  }

  /** Wait until every client is back; return for each how soon, and what closed its connections since the fault. */
  back (timeout) {
    const describe = (client) => ({
      client: client.name,
      seconds: (this.#back.get(client) - this.#faultAt) / 1000,
      closes: client.closes.slice(this.#closesBefore.get(client))
    })
    return until(this.#clients, 'every client to be back', timeout, () =>
      this.#clients.every((client) => this.#back.has(client)) ? this.#clients.map(describe) : undefined)
  }

  /** Wait until every client has everything that any of them made, the given keys too, and all of them the same. */
  settled (keys, timeout) {
    const wanted = [...this.#made.keys(), ...keys]
    return until(this.#clients, `every client to have the same ${wanted.length} keys`, timeout, () => {
      const digest = sharedDigest(this.#clients)
      return digest !== undefined && wanted.every((key) => this.#clients[0].map.has(key)) ? digest : undefined
    })
  }

  /** Every key that a client made or holds. */
  held () { return [...new Set([...this.#made.keys(), ...this.#clients.flatMap((client) => [...client.map.keys()])])] }

  get edits () { return this.#made.size }

  #cutOff (client) {
    this.#cutAt.set(client, now())
    this.#back.delete(client)
  }

  // An editor is back when an edit that it made since is on another one's screen, so its way through the log works; who
  // only views, when such an edit of anybody's has reached it. An edit that got through just before a connection broke
  // says nothing.
  #seen (client, key) {
    const edit = this.#made.get(key)
    if (edit === undefined || edit.by === client) return
    this.#isBack(edit.by, edit)
    if (!this.#editors.includes(client)) this.#isBack(client, edit)
  }

  #isBack (client, edit) {
    if (edit.at >= this.#cutAt.get(client) && !this.#back.has(client)) this.#back.set(client, now())
  }
}
