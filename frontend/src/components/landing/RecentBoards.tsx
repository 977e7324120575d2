import { useState } from 'react'
import { forgetBoard, type RecentBoard, recentBoards } from '../../boards/recentBoards'
import { shareLink } from '../../boards/shareLink'
import { forgetOffline } from '../../sync/forgetOffline'

const WHEN = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' })

/** The boards that were opened in this browser. */
export function RecentBoards() {
  const [boards, setBoards] = useState(recentBoards)
  const [open, setOpen] = useState<RecentBoard | null>(null)
  if (boards.length === 0) return null
  const forget = (recent: RecentBoard) => {
    forgetBoard(recent.board)
    setBoards(recentBoards())
    setOpen(null)
    void forgetOffline(recent.board, recent.key)
  }
  return (
    <section className="card" aria-labelledby="recent">
      <h2 id="recent">Opened before</h2>
      <ul className="recent">
        {boards.map(recent => (
          <li key={recent.board}>
            <a data-testid="recent-board" href={shareLink('', recent.board, recent.key)}>
              <strong>{recent.board}</strong>
              <time dateTime={new Date(recent.openedAt).toISOString()}>{WHEN.format(recent.openedAt)}</time>
            </a>
            {open === recent ? (
              <button type="button" className="button-danger" onClick={() => forget(recent)}>
                Forget key and copy
              </button>
            ) : (
              <button type="button" aria-label={`Forget ${recent.board}`} onClick={() => setOpen(recent)}>
                Forget
              </button>
            )}
          </li>
        ))}
      </ul>
      <p className="hint">
        Their keys and a copy of each are kept in this browser, so that they open again without being asked for, offline
        too. “Forget” removes both, with changes that were never sent. On a computer that others use, forget them.
      </p>
    </section>
  )
}
