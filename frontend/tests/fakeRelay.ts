import * as decoding from 'lib0/decoding'
import * as encoding from 'lib0/encoding'
import * as sync from 'y-protocols/sync'
import * as Y from 'yjs'

/** A relay in memory, one socket at a time: it answers as the real one does, and its words can be put into its mouth. */
export class FakeRelay {
  readonly doc = new Y.Doc()
  /** The types of the messages that the present socket sent: 0 to 2 for sync messages, 'hello', 'other'. */
  received: (number | 'hello' | 'other')[] = []
  /** What of them a relay would count. */
  counted = 0
  sockets = 0
  speaks = true
  canAppend = true
  acknowledges = true
  #socket: FakeSocket | null = null

  opened(socket: FakeSocket): void {
    this.#socket = socket
    this.sockets += 1
    this.received = []
    this.counted = 0
  }

  hear(frame: Uint8Array): void {
    const decoder = decoding.createDecoder(frame)
    const type = decoding.readVarUint(decoder)
    if (type === 100) {
      this.received.push('hello')
      if (this.speaks) this.say(100, 0, this.canAppend ? 1 : 0)
    } else if (type === 0) {
      this.#hearSync(decoder)
    } else {
      this.received.push('other')
    }
  }

  #hearSync(decoder: decoding.Decoder): void {
    const reply = encoding.createEncoder()
    encoding.writeVarUint(reply, 0)
    const kind = sync.readSyncMessage(decoder, reply, this.doc, 'client')
    this.received.push(kind)
    if (kind === sync.messageYjsSyncStep1) {
      this.#socket?.get(encoding.toUint8Array(reply))
      if (this.canAppend) this.ask()
    } else {
      this.counted += 1
      if (this.acknowledges && this.speaks) this.say(100, 1, this.counted)
    }
  }

  /** Ask for what the log lacks. */
  ask(): void {
    const encoder = encoding.createEncoder()
    encoding.writeVarUint(encoder, 0)
    sync.writeSyncStep1(encoder, this.doc)
    this.#socket?.get(encoding.toUint8Array(encoder))
  }

  /** Bring what somebody else changed. */
  tell(update: Uint8Array): void {
    const encoder = encoding.createEncoder()
    encoding.writeVarUint(encoder, 0)
    sync.writeUpdate(encoder, update)
    this.#socket?.get(encoding.toUint8Array(encoder))
  }

  say(...numbers: number[]): void {
    const encoder = encoding.createEncoder()
    for (const number of numbers) encoding.writeVarUint(encoder, number)
    this.#socket?.get(encoding.toUint8Array(encoder))
  }

  hangUp(code: number, reason = ''): void {
    this.#socket?.end(code, reason)
  }
}

/** Make a class to stand for the browser's WebSocket, whose sockets all reach `relay`. */
export function socketsOf(relay: FakeRelay): typeof WebSocket {
  return class extends FakeSocket {
    override readonly relay = relay
  } as unknown as typeof WebSocket
}

class FakeSocket extends EventTarget {
  static readonly CONNECTING = 0
  static readonly OPEN = 1
  static readonly CLOSING = 2
  static readonly CLOSED = 3
  readonly OPEN = 1
  readonly relay: FakeRelay | undefined
  readyState = 0
  onopen: (() => void) | null = null
  onmessage: ((event: { data: Uint8Array }) => void) | null = null
  onclose: ((event: { code: number; reason: string }) => void) | null = null

  constructor(readonly url: string) {
    super()
    setTimeout(() => {
      if (this.readyState !== 0) return
      this.readyState = 1
      this.relay?.opened(this)
      this.dispatchEvent(new Event('open'))
      this.onopen?.()
    })
  }

  send(frame: Uint8Array): void {
    if (this.readyState === 1) this.relay?.hear(frame)
  }

  get(data: Uint8Array): void {
    this.onmessage?.({ data })
  }

  end(code: number, reason: string): void {
    this.readyState = 3
    this.onclose?.({ code, reason })
  }

  close(): void {
    this.readyState = 3
  }
}
