import { DefaultHelperButtons, useValue } from 'tldraw'
import { ConnectionIndicator } from './ConnectionIndicator'
import { SkippedNotice } from './SkippedNotice'
import { useSession } from './sessionContext'

/** Below tldraw's menu: how the board fares, above tldraw's own helper buttons. */
export function BoardStatus() {
  const session = useSession()
  const connection = useValue(session.connection)
  const isViewer = useValue(session.isViewer)
  const skipped = useValue(session.skipped)
  return (
    <>
      <div className="board-status">
        <ConnectionIndicator connection={connection} />
        {isViewer && (
          <span className="chip" data-testid="read-only-badge" title="Your key may view this board, not change it.">
            View only
          </span>
        )}
        <SkippedNotice skipped={skipped} />
      </div>
      <DefaultHelperButtons />
    </>
  )
}
