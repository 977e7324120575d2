import { atom, createTLStore, type Editor, type TLInstancePresence } from 'tldraw'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Awareness, applyAwarenessUpdate, encodeAwarenessUpdate, removeAwarenessStates } from 'y-protocols/awareness'
import * as Y from 'yjs'
import type { Person } from '../src/presence/remoteState'
import { sharePresence } from '../src/presence/sharePresence'

let own: Awareness
let store: ReturnType<typeof createTLStore>
const people = atom<readonly Person[]>('people', [])
const name = atom('name', 'Ada')
let stop: () => void

beforeEach(() => {
  vi.useFakeTimers()
  own = new Awareness(new Y.Doc())
  own.setLocalState(null)
  store = createTLStore()
  // Makes sure of a page and of this editor's own records.
  store.mergeRemoteChanges(() => {})
  const user = { getUserPreferences: () => ({ id: 'me', name: name.get(), color: '#112233' }) }
  stop = sharePresence({ store, user } as unknown as Editor, own, people)
})

afterEach(() => {
  stop()
  own.doc.destroy()
  vi.useRealTimers()
})

const drawn = () => store.allRecords().filter(record => record.typeName === 'instance_presence') as TLInstancePresence[]

/** Somebody else's tab, with its state known here. */
function somebody(state: Record<string, unknown>): Awareness {
  const other = new Awareness(new Y.Doc())
  tell(other, state)
  return other
}

function tell(other: Awareness, state: Record<string, unknown>): void {
  other.setLocalState(state)
  applyAwarenessUpdate(own, encodeAwarenessUpdate(other, [other.clientID]), 'relay')
}

function hide(event: 'pagehide' | 'pageshow', persisted: boolean): void {
  window.dispatchEvent(Object.assign(new Event(event), { persisted }))
}

describe('the others', () => {
  it('are drawn by tldraw and listed, and follow what they do', () => {
    const other = somebody({ user: { name: 'Bo', color: '#445566', type: 'human' }, cursor: { x: 1, y: 2 } })
    expect(drawn()).toMatchObject([{ userName: 'Bo', cursor: { x: 1, y: 2 } }])
    tell(other, { user: { name: 'Bo', color: '#445566' }, cursor: { x: 3, y: 4 } })
    expect(drawn()).toMatchObject([{ cursor: { x: 3, y: 4 } }])
    expect(people.get().map(person => person.name)).toEqual(['Bo'])
  })

  it('are gone when they leave', () => {
    const other = somebody({ user: { name: 'Bo' } })
    removeAwarenessStates(own, [other.clientID], 'relay')
    expect(drawn()).toEqual([])
    expect(people.get()).toEqual([])
  })

  it('are drawn in bounded number', () => {
    for (let i = 0; i < 310; i += 1) somebody({ user: { name: `P${i}` } })
    expect(drawn()).toHaveLength(300)
    expect(people.get()).toHaveLength(300)
  })

  it('are no longer drawn when the board is closed', () => {
    somebody({ user: { name: 'Bo' } })
    stop()
    expect(drawn()).toEqual([])
  })
})

describe('the person here', () => {
  it('is told to the others, not drawn, and told again when something changes', () => {
    expect(own.getLocalState()).toMatchObject({ user: { name: 'Ada', color: '#112233', type: 'human' }, selection: [] })
    expect(own.getLocalState()?.canvas).toMatchObject({ page: 'page:page' })
    expect(drawn()).toEqual([])
    name.set('Ada L.')
    vi.advanceTimersByTime(50)
    expect(own.getLocalState()?.user).toMatchObject({ name: 'Ada L.' })
  })

  it('leaves with the page, whatever was about to be told, and comes back with it', () => {
    name.set('Late')
    hide('pagehide', true)
    vi.advanceTimersByTime(1000)
    expect(own.getLocalState()).toBeNull()
    hide('pageshow', true)
    expect(own.getLocalState()?.user).toMatchObject({ name: 'Late' })
  })
})
