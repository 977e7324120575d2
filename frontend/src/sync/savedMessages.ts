import * as decoding from 'lib0/decoding'
import * as encoding from 'lib0/encoding'
import type { CountedFrame } from './savedCount'

/** The WebSocket message type of ours, after y-protocols' 0 to 3 (ARCHITECTURE.md, "Saved"). */
export const SAVED_MESSAGE = 100

const VERSION = 1
const SYNC_MESSAGE = 0
const COUNTED_FRAMES: Record<number, CountedFrame> = { 1: 'SyncStep2', 2: 'Update' }

export type SavedMessage =
  | { kind: 'Welcome'; canAppend: boolean }
  | { kind: 'Saved'; count: number }
  | { kind: 'Unsaved' }

/** Ask the relay to tell what is saved. */
export function hello(): Uint8Array<ArrayBuffer> {
  const encoder = encoding.createEncoder()
  encoding.writeVarUint(encoder, SAVED_MESSAGE)
  encoding.writeVarUint(encoder, 0)
  encoding.writeVarUint(encoder, VERSION)
  return encoding.toUint8Array(encoder)
}

/** Read what follows the message type; null is a message of a later version. */
export function readSavedMessage(decoder: decoding.Decoder): SavedMessage | null {
  switch (decoding.readVarUint(decoder)) {
    case 0:
      return { kind: 'Welcome', canAppend: decoding.readVarUint(decoder) === 1 }
    case 1:
      return { kind: 'Saved', count: decoding.readVarUint(decoder) }
    case 2:
      return { kind: 'Unsaved' }
    default:
      return null
  }
}

/** Whether the relay counts this outgoing frame, and as what. */
export function countedFrame(frame: Uint8Array): CountedFrame | null {
  return frame[0] === SYNC_MESSAGE ? (COUNTED_FRAMES[frame[1] ?? -1] ?? null) : null
}
