import * as decoding from 'lib0/decoding'
import { describe, expect, it } from 'vitest'
import { backoffMs } from '../src/sync/backoff'
import { countedFrame, hello, readSavedMessage } from '../src/sync/savedMessages'

const read = (...bytes: number[]) => readSavedMessage(decoding.createDecoder(Uint8Array.from(bytes)))

describe('messages of type 100', () => {
  it('says Hello as the relay reads it', () => {
    expect([...hello()]).toEqual([100, 0, 1])
  })

  it('reads what the relay says', () => {
    expect(read(0, 1)).toEqual({ kind: 'Welcome', canAppend: true })
    expect(read(0, 0)).toEqual({ kind: 'Welcome', canAppend: false })
    expect(read(1, 0xac, 0x02)).toEqual({ kind: 'Saved', count: 300 })
    expect(read(2)).toEqual({ kind: 'Unsaved' })
  })

  it('overlooks what a later version may say', () => {
    expect(read(7, 1)).toBeNull()
  })

  it('knows the frames that the relay counts', () => {
    expect(countedFrame(Uint8Array.of(0, 1, 0))).toBe('SyncStep2')
    expect(countedFrame(Uint8Array.of(0, 2, 0))).toBe('Update')
    expect(countedFrame(Uint8Array.of(0, 0, 0))).toBeNull()
    expect(countedFrame(Uint8Array.of(1, 1, 0))).toBeNull()
    expect(countedFrame(Uint8Array.of())).toBeNull()
  })
})

describe('the wait before reconnecting', () => {
  it('grows, is spread over its second half, and stays below 5 s', () => {
    expect([backoffMs(0, 0), backoffMs(0, 0.99999)]).toEqual([100, expect.closeTo(200, 0)])
    expect([backoffMs(3, 0), backoffMs(3, 0.99999)]).toEqual([800, expect.closeTo(1600, 0)])
    expect(backoffMs(5000, 0.999)).toBeLessThan(5000)
  })
})
