import 'fake-indexeddb/auto'
import { cleanup, renderHook } from '@testing-library/react'
import { IDBFactory } from 'fake-indexeddb'
import { StrictMode } from 'react'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { PREFERRED_TRIM_SIZE } from 'y-indexeddb'
import { messageYjsUpdate } from 'y-protocols/sync'
import * as Y from 'yjs'
import { LOCAL } from '../src/binding/bindStore'
import { useYjsSync } from '../src/hooks/useYjsSync'
import { BoardSession } from '../src/sync/boardSession'
import { offlineName } from '../src/sync/offlineName'
import { OfflineStore } from '../src/sync/offlineStore'
import { FakeRelay, socketsOf } from './fakeRelay'

let relay: FakeRelay
const sessions: BoardSession[] = []

beforeEach(() => {
  relay = new FakeRelay()
  vi.stubGlobal('WebSocket', socketsOf(relay))
  vi.stubGlobal('indexedDB', new IDBFactory())
})

afterEach(() => {
  cleanup()
  for (const session of sessions.splice(0)) session.close()
  vi.unstubAllGlobals()
})

function open(): BoardSession {
  const session = new BoardSession('demo', 'dc_1')
  sessions.push(session)
  return session
}

const stateOf = (session: BoardSession) => session.connection.get().name
const modeOf = (session: BoardSession) => session.store.props.collaboration?.mode?.get()
const reaches = (session: BoardSession, state: string) => vi.waitFor(() => expect(stateOf(session)).toBe(state))

function edit(session: BoardSession): void {
  session.doc.transact(() => session.doc.getMap('elsewhere').set('x', Math.random()), LOCAL)
}

/** What a person does, as tldraw tells it. */
function act(session: BoardSession): void {
  // As every change from elsewhere, it makes sure of a page.
  session.store.mergeRemoteChanges(() => {})
  const [page] = session.store.allRecords().filter(record => record.typeName === 'page')
  if (page !== undefined) session.store.put([{ ...page, name: 'Renamed' }])
}

function leave(): boolean {
  const leaving = new Event('beforeunload', { cancelable: true })
  window.dispatchEvent(leaving)
  return leaving.defaultPrevented
}

describe('an open board', () => {
  it('is one session however often React renders, and one connection in its strict mode', async () => {
    const { result, rerender, unmount } = renderHook(() => useYjsSync('demo', 'dc_1'), { wrapper: StrictMode })
    await vi.waitFor(() => expect(result.current?.connection.get().name).toBe('connected'))
    const session = result.current
    rerender()
    expect(result.current).toBe(session)
    expect(relay.sockets).toBe(1)
    unmount()
  })

  it('promises no copy of what is unsent where the browser keeps none', async () => {
    const session = open()
    await reaches(session, 'connected')
    expect(session.connection.get().keepsCopy).toBe(true)
    vi.stubGlobal('indexedDB', undefined)
    const without = open()
    await reaches(without, 'connected')
    expect(without.connection.get().keepsCopy).toBe(false)
  })

  it('speaks of itself as soon as it is connected, with no editor yet', async () => {
    await reaches(open(), 'connected')
    expect(relay.received).toContain('other')
  })

  it('goes from connecting over connected to saving and saved', async () => {
    const session = open()
    expect(stateOf(session)).toBe('connecting')
    await reaches(session, 'connected')
    relay.acknowledges = false
    edit(session)
    expect(stateOf(session)).toBe('saving')
    relay.say(100, 1, relay.counted)
    expect(stateOf(session)).toBe('saved')
  })

  it('cannot be drawn on before the role is known, nor by a viewer ever', async () => {
    relay.canAppend = false
    const session = open()
    expect(modeOf(session)).toBe('readonly')
    expect(session.isViewer.get()).toBe(false)
    await reaches(session, 'connected')
    expect(modeOf(session)).toBe('readonly')
    expect(session.isViewer.get()).toBe(true)
  })

  it('of a viewer sends nothing of what it finds in the browser that another tab heard first', async () => {
    relay.canAppend = false
    const session = open()
    await reaches(session, 'connected')
    const others = new Y.Doc()
    others.on('update', update => relay.tell(update))
    // As many as y-indexeddb takes before it tidies up, and takes in what other tabs wrote.
    for (let n = 0; n <= PREFERRED_TRIM_SIZE; n++) others.getMap('elsewhere').set('x', n)
    const tabDoc = new Y.Doc()
    const tab = new OfflineStore(offlineName('demo', 'dc_1'), tabDoc)
    await tab.load()
    tabDoc.getMap('elsewhere').set('heard first', true)
    await vi.waitFor(() => expect(session.doc.getMap('elsewhere').get('heard first')).toBe(true), 5000)
    tab.close()
    expect(relay.received).not.toContain(messageYjsUpdate)
  })

  it('can be drawn on by an editor', async () => {
    const session = open()
    await reaches(session, 'connected')
    expect(modeOf(session)).toBe('readwrite')
  })

  it('says for good that it was refused', async () => {
    const session = open()
    await reaches(session, 'connected')
    relay.hangUp(4401)
    expect(stateOf(session)).toBe('denied')
    expect(session.refusal.get()?.code).toBe(4401)
    expect(modeOf(session)).toBe('readonly')
  })

  it('counts what is unsent while reconnecting, and saves it then', async () => {
    const session = open()
    await reaches(session, 'connected')
    relay.hangUp(1012)
    edit(session)
    edit(session)
    expect(session.connection.get()).toMatchObject({ name: 'reconnecting', unsaved: 2 })
    await reaches(session, 'saved')
  })

  it('does not promise to save what an editor made who is a viewer after reconnecting', async () => {
    const session = open()
    await reaches(session, 'connected')
    relay.hangUp(1012)
    edit(session)
    relay.canAppend = false
    await reaches(session, 'saving')
    expect(session.connection.get()).toMatchObject({ label: 'View only · 1 unsent change', canAppend: false })
    expect(relay.received).not.toContain(messageYjsUpdate)
  })

  it('remembers over a reload what was never sent, and opens at once with the same rights', async () => {
    const first = open()
    await reaches(first, 'connected')
    relay.hangUp(1012)
    first.doc.transact(() => first.doc.getMap('elsewhere').set('x', 'kept'), LOCAL)
    first.close()
    class Unreachable extends EventTarget {
      close(): void {}
    }
    vi.stubGlobal('WebSocket', Unreachable)
    const second = open()
    await vi.waitFor(() => expect(second.loaded.get()).toBe(true))
    expect(second.connection.get()).toMatchObject({ name: 'connecting', unsaved: 1 })
    expect(second.doc.getMap('elsewhere').get('x')).toBe('kept')
    expect(modeOf(second)).toBe('readwrite')
  })
})

describe('leaving the page', () => {
  it('asks only when something that a person did is unsaved', async () => {
    const session = open()
    await reaches(session, 'connected')
    relay.acknowledges = false
    edit(session)
    expect(leave()).toBe(false)
    act(session)
    edit(session)
    expect(leave()).toBe(true)
    relay.say(100, 1, relay.counted)
    expect(leave()).toBe(false)
  })
})
