import { useValue } from 'tldraw'
import { PresenceBar } from './PresenceBar'
import { ProfileButton } from './ProfileButton'
import { ShareButton } from './ShareButton'
import { useSession } from './sessionContext'

/** The top right corner: who is here, who I am, and how others get here. */
export function BoardPanel() {
  const session = useSession()
  const people = useValue(session.people)
  return (
    <div className="board-panel">
      <PresenceBar people={people} />
      <ProfileButton />
      <ShareButton board={session.board} apiKey={session.key} />
    </div>
  )
}
