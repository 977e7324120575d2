import {
  type Atom,
  computed,
  type Editor,
  isEqual,
  react,
  type TLInstancePresence,
  type TLInstancePresenceID,
} from 'tldraw'
import type { Awareness } from 'y-protocols/awareness'
import { type OwnState, ownState } from './ownState'
import { type Person, readPerson, readPresence } from './remoteState'
import { throttle } from './throttle'

/** How often a moving cursor is told to the others. */
const TELL_MS = 50
/** More people than this are neither drawn nor counted: a screen full of cursors helps nobody. */
const PEOPLE_MAX = 300

interface AwarenessChange {
  added: number[]
  updated: number[]
  removed: number[]
}

/** Tell the others about this editor, and tldraw and `people` about the others, until stopped. */
export function sharePresence(editor: Editor, awareness: Awareness, people: Atom<readonly Person[]>): () => void {
  const stopTelling = tellOwn(editor, awareness)
  const stopShowing = showOthers(editor, awareness, people)
  return () => {
    stopTelling()
    stopShowing()
  }
}

function tellOwn(editor: Editor, awareness: Awareness): () => void {
  const tell = throttle(TELL_MS, (state: OwnState) => awareness.setLocalState(state))
  const own = computed('own presence', () => ownState(editor), { isEqual })
  const stopReacting = react('tell own presence', () => {
    const state = own.get()
    if (state !== null) tell(state)
  })
  const events = new AbortController()
  // The page may be closed, or kept to come back to: the others see it gone at once, either way.
  const leave = () => {
    tell.cancel()
    awareness.setLocalState(null)
  }
  const comeBack = (event: PageTransitionEvent) => event.persisted && awareness.setLocalState(ownState(editor))
  window.addEventListener('pagehide', leave, { signal: events.signal })
  window.addEventListener('pageshow', comeBack, { signal: events.signal })
  return () => {
    events.abort()
    stopReacting()
    leave()
  }
}

function showOthers(editor: Editor, awareness: Awareness, people: Atom<readonly Person[]>): () => void {
  const shown = new Map<number, TLInstancePresenceID>()
  const show = ({ added, updated, removed }: AwarenessChange) => {
    const gone = removed.flatMap(clientId => shown.get(clientId) ?? [])
    for (const clientId of removed) shown.delete(clientId)
    const records = [...added, ...updated].flatMap(clientId => {
      const record = recordOf(clientId)
      if (record !== null) shown.set(clientId, record.id)
      return record ?? []
    })
    editor.store.mergeRemoteChanges(() => {
      if (gone.length > 0) editor.store.remove(gone)
      if (records.length > 0) editor.store.put(records)
    })
    people.set(everyone())
  }
  const recordOf = (clientId: number): TLInstancePresence | null => {
    if (clientId === awareness.clientID || (!shown.has(clientId) && shown.size >= PEOPLE_MAX)) return null
    return readPresence(clientId, awareness.getStates().get(clientId), Date.now())
  }
  const everyone = () =>
    [...awareness.getStates()]
      .filter(([clientId]) => shown.has(clientId))
      .flatMap(([clientId, state]) => readPerson(clientId, state) ?? [])
  awareness.on('change', show)
  show({ added: [...awareness.getStates().keys()], updated: [], removed: [] })
  return () => {
    awareness.off('change', show)
    show({ added: [], updated: [], removed: [...shown.keys()] })
  }
}
