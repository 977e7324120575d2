import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Awareness } from 'y-protocols/awareness'
import * as Y from 'yjs'
import { RelayLink, socketUrl } from '../src/sync/relayLink'
import { SavedCount } from '../src/sync/savedCount'
import { FakeRelay, socketsOf } from './fakeRelay'

let relay: FakeRelay
let doc: Y.Doc
let awareness: Awareness
let saved: SavedCount
let link: RelayLink
const told: string[] = []

beforeEach(() => {
  vi.useFakeTimers()
  told.length = 0
  relay = new FakeRelay()
  vi.stubGlobal('WebSocket', socketsOf(relay))
  doc = new Y.Doc()
  awareness = new Awareness(doc)
  saved = new SavedCount()
  doc.on('update', (_update: Uint8Array, origin: unknown) => origin === 'me' && saved.change())
})

afterEach(() => {
  link.close()
  doc.destroy()
  vi.unstubAllGlobals()
  vi.useRealTimers()
})

function open(): void {
  const listener = {
    synced: (inSync: boolean) => told.push(inSync ? 'in sync' : 'not in sync'),
    welcomed: (canAppend: boolean | null) => told.push(`welcome ${canAppend}`),
    counted: () => {},
    interrupted: () => told.push('interrupted'),
    refused: (code: number) => told.push(`refused ${code}`),
  }
  link = new RelayLink({ url: 'ws://h/ws', board: 'demo', key: 'dc_1', doc, awareness, saved, listener })
}

function edit(value: number): void {
  doc.transact(() => doc.getMap('tldraw').set('x', value), 'me')
}

const soon = () => vi.advanceTimersByTimeAsync(1)
const later = () => vi.advanceTimersByTimeAsync(10_000)

describe('the link to a relay', () => {
  it('says Hello before anything else, and knows its role before it is in sync', async () => {
    open()
    await soon()
    expect(relay.received[0]).toBe('hello')
    expect(told).toEqual(['welcome true', 'in sync'])
  })

  it('counts just what the relay counts, so that an edit becomes saved', async () => {
    open()
    await soon()
    relay.acknowledges = false
    edit(1)
    edit(2)
    expect(saved.unsaved).toBe(2)
    relay.say(100, 1, relay.counted)
    expect([saved.unsaved, saved.allSaved]).toEqual([0, true])
    expect(relay.doc.getMap('tldraw').get('x')).toBe(2)
  })

  it('saves what was made while there was no connection with the answer to the next SyncStep1', async () => {
    open()
    await soon()
    relay.hangUp(1006)
    edit(1)
    expect(saved.unsaved).toBe(1)
    await later()
    expect(relay.sockets).toBe(2)
    expect([saved.unsaved, saved.allSaved]).toEqual([0, true])
    expect(relay.doc.getMap('tldraw').get('x')).toBe(1)
  })

  it('takes "saved" back after a loss until it was asked again', async () => {
    open()
    await soon()
    edit(1)
    expect(saved.unsaved).toBe(0)
    relay.say(100, 2)
    expect([saved.unsaved, saved.allSaved]).toEqual([1, false])
    relay.ask()
    expect([saved.unsaved, saved.allSaved]).toEqual([0, true])
  })

  it.each([4400, 4401, 4403, 4404, 4413])('does not come back after %i, not even when the network does', async code => {
    open()
    await soon()
    relay.hangUp(code)
    expect(told.at(-1)).toBe(`refused ${code}`)
    link.connectNow()
    link.probe()
    await later()
    expect(relay.sockets).toBe(1)
  })

  it.each([1006, 1012, 1013, 4508])('comes back after %i', async code => {
    open()
    await soon()
    relay.hangUp(code)
    await later()
    expect(relay.sockets).toBe(2)
    expect(told.at(-1)).toBe('in sync')
  })

  it('spreads its attempts', async () => {
    vi.spyOn(Math, 'random').mockReturnValue(0)
    open()
    await soon()
    relay.hangUp(1012)
    await vi.advanceTimersByTimeAsync(99)
    expect(relay.sockets).toBe(1)
    await vi.advanceTimersByTimeAsync(2)
    expect(relay.sockets).toBe(2)
    vi.spyOn(Math, 'random').mockReturnValue(0.999)
    relay.hangUp(1012)
    await vi.advanceTimersByTimeAsync(190)
    expect(relay.sockets).toBe(2)
    await vi.advanceTimersByTimeAsync(20)
    expect(relay.sockets).toBe(3)
    vi.restoreAllMocks()
  })

  it('works with a server that knows nothing of all this, and claims nothing', async () => {
    relay.speaks = false
    open()
    await soon()
    edit(1)
    expect(told).toEqual(['in sync'])
    await vi.advanceTimersByTimeAsync(1000)
    expect(told).toEqual(['in sync', 'welcome null'])
    expect(saved.unsaved).toBe(0)
    relay.hangUp(1006)
    edit(2)
    expect(saved.unsaved).toBe(1)
  })

  it('finds out at once whether the socket still works, and is still there for the others', async () => {
    awareness.setLocalState({ user: { name: 'Ada' } })
    open()
    await soon()
    const clock = awareness.meta.get(doc.clientID)?.clock ?? 0
    link.probe()
    await soon()
    expect(relay.sockets).toBe(2)
    expect(awareness.meta.get(doc.clientID)?.clock).toBeGreaterThan(clock)
    expect(awareness.getLocalState()).toEqual({ user: { name: 'Ada' } })
  })
})

it('goes to the host that served the page', () => {
  expect(socketUrl({ protocol: 'https:', host: 'h.example' })).toBe('wss://h.example/ws')
  expect(socketUrl({ protocol: 'http:', host: '127.0.0.1:8080' })).toBe('ws://127.0.0.1:8080/ws')
})
