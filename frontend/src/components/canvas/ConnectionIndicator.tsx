import { useSettled } from '../../hooks/useSettled'
import type { ConnectionState } from '../../sync/connectionState'

/** Every edit is being saved for a moment: worth a word only when it takes longer than this. */
const SAVING_SHOWN_MS = 500
const ANNOUNCED_MS = 1500

/** How the connection fares, for eyes at once and for screen readers when it has settled. */
export function ConnectionIndicator({ connection }: { connection: ConnectionState }) {
  const { name, label } = connection
  const steady = useSettled(label, SAVING_SHOWN_MS)
  const announced = useSettled(label, ANNOUNCED_MS)
  return (
    <div className="chip connection" data-testid="connection-indicator" data-state={name} title={adviceOf(connection)}>
      <span className="connection-dot" aria-hidden="true" />
      <span aria-hidden="true">{name === 'saving' ? steady : label}</span>
      <span className="unseen" aria-live="polite">
        {announced}
      </span>
      {name === 'outdated' && (
        <button type="button" className="chip-button" onClick={() => location.reload()}>
          Reload
        </button>
      )}
    </div>
  )
}

function adviceOf({ name, unsaved, canAppend, keepsCopy }: ConnectionState): string {
  switch (name) {
    case 'connected':
      return 'You see what the others do, as they do it.'
    case 'saving':
      return canAppend
        ? 'Your latest changes are on their way to the server.'
        : 'Your key may only view this board by now: your unsent changes stay with you alone.'
    case 'saved':
      return 'All your changes are on the server.'
    case 'outdated':
      return 'This board was changed with a newer version: load the page again to go on.'
    case 'connecting':
    case 'reconnecting':
    case 'offline':
      if (unsaved === 0) return 'You can go on: what you change is sent when the connection is there.'
      return keepsCopy
        ? 'Your changes are kept in this browser and sent when the connection is back.'
        : 'Your changes are in this tab alone: leave it open until the connection is back.'
    case 'denied':
      return 'The server refused this board.'
  }
}
