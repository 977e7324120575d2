/** A close code after which trying again is pointless (44xx), and what to tell the person about it. */
export interface Refusal {
  code: number
  title: string
  advice: string
  /** Whether a key, another or the right one, is what is missing. */
  wantsKey: boolean
}

/** What is known of the connection. */
export interface ConnectionFacts {
  /** The browser's own opinion. */
  online: boolean
  /** The socket is open, and all that the relay had was received. */
  inSync: boolean
  /** Since the page was opened: attempts that failed, or connections that ended. */
  interrupted: boolean
  refusal: Refusal | null
  /** A newer canvas wrote this board. */
  outdated: boolean
  /** Changes made here that are not known to be in the board's log. */
  unsaved: number
  /** Whether anything was changed here, now or in an earlier visit that left something unsaved. */
  changed: boolean
  /** Whether all that this document holds is known to be in the log. */
  allSaved: boolean
  /** Whether this server tells what is saved. */
  acknowledges: boolean
  /** What the key allows; null until it is known. */
  canAppend: boolean | null
  /** Whether this browser keeps a copy of the board, with what is unsaved. */
  keepsCopy: boolean
}

export type ConnectionName =
  | 'connecting'
  | 'connected'
  | 'saving'
  | 'saved'
  | 'reconnecting'
  | 'offline'
  | 'denied'
  | 'outdated'

export interface ConnectionState {
  name: ConnectionName
  /** What the person reads. */
  label: string
  unsaved: number
  /** Whether what is unsaved can become saved with this key, as far as is known. */
  canAppend: boolean
  /** Whether what is unsaved outlives this tab. */
  keepsCopy: boolean
}

/** Return the one state that is shown: what hinders most comes first. */
export function connectionState(facts: ConnectionFacts): ConnectionState {
  const name = nameOf(facts)
  const { unsaved, canAppend, keepsCopy } = facts
  return { name, label: labelOf(name, facts), unsaved, canAppend: canAppend !== false, keepsCopy }
}

function nameOf(facts: ConnectionFacts): ConnectionName {
  if (facts.refusal !== null) return 'denied'
  if (!facts.inSync) {
    if (!facts.online) return 'offline'
    return facts.interrupted ? 'reconnecting' : 'connecting'
  }
  if (facts.outdated) return 'outdated'
  if (!facts.acknowledges || !facts.changed) return 'connected'
  return facts.unsaved === 0 && facts.allSaved ? 'saved' : 'saving'
}

function labelOf(name: ConnectionName, facts: ConnectionFacts): string {
  switch (name) {
    case 'connecting':
      return withUnsaved('Connecting…', facts.unsaved)
    case 'connected':
      return 'Connected'
    case 'saving':
      // Made while the key was still an editor's: the relay takes nothing of a viewer's.
      return facts.canAppend === false ? withUnsaved('View only', facts.unsaved) : 'Saving…'
    case 'saved':
      return 'Saved'
    case 'reconnecting':
      return withUnsaved('Reconnecting…', facts.unsaved)
    case 'offline':
      return withUnsaved('Offline', facts.unsaved)
    case 'denied':
      return 'Refused'
    case 'outdated':
      return 'Out of date'
  }
}

function withUnsaved(label: string, unsaved: number): string {
  if (unsaved === 0) return label
  return `${label} · ${unsaved} unsent ${unsaved === 1 ? 'change' : 'changes'}`
}

/** Say what a final close code means. `wasInSync`: the board had been open, so key and board had been right. */
export function refusalOf(code: number, reason: string, wasInSync: boolean): Refusal {
  switch (code) {
    case 4401:
      return {
        code,
        title: wasInSync ? 'This key is no longer valid' : 'This key is not valid',
        advice: 'It may have been revoked or mistyped. Ask whoever shared the board for a new link.',
        wantsKey: true,
      }
    case 4403:
      return {
        code,
        title: wasInSync ? 'This key may not do that any more' : 'This key is for another board',
        advice: wasInSync
          ? 'Its rights on this board have changed. Open the board again, or ask for another link.'
          : 'Check that link and key belong together, or ask whoever shared the board for its link.',
        wantsKey: true,
      }
    case 4404:
      return {
        code,
        title: 'There is no such board',
        advice: 'Check the name in the link. Whoever runs this server can create the board.',
        wantsKey: false,
      }
    case 4413:
      return {
        code,
        title: 'A change was too large',
        advice: 'The server takes no change of that size. Open the board again and make it in smaller pieces.',
        wantsKey: false,
      }
    case 4400:
      return {
        code,
        title: 'The server did not understand this canvas',
        advice: 'Load the page again. If that does not help, tell whoever runs this server.',
        wantsKey: false,
      }
    default:
      return {
        code,
        title: 'The server refused this board',
        advice: reason === '' ? `It gave no reason (code ${code}).` : reason,
        wantsKey: false,
      }
  }
}
