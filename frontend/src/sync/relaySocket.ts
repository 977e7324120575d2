import type { CountedFrame } from './savedCount'
import { countedFrame, hello } from './savedMessages'

export interface SocketListener {
  opened(): void
  /** Called just before the frame is sent; tells whether it may be. */
  sending(frame: CountedFrame): boolean
}

/** A WebSocket for y-websocket's provider that says Hello first, and tells of the frames that the relay will count (L11). */
export function relaySocket(listener: SocketListener): typeof WebSocket {
  return class RelaySocket extends WebSocket {
    constructor(url: string | URL, protocols?: string | string[]) {
      super(url, protocols)
      // Heard before the provider's own `onopen`, which is set later: so Hello is the first frame.
      this.addEventListener('open', () => {
        listener.opened()
        super.send(hello())
      })
    }

    override send(data: string | ArrayBufferLike | Blob | ArrayBufferView): void {
      // What is sent into a closing socket is dropped, and would be counted for nothing.
      if (this.readyState === WebSocket.OPEN && data instanceof Uint8Array) {
        const frame = countedFrame(data)
        if (frame !== null && !listener.sending(frame)) return
      }
      super.send(data)
    }
  }
}
