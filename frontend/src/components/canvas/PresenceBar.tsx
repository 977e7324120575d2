import {
  type Editor,
  PORTRAIT_BREAKPOINT,
  TldrawUiPopover,
  TldrawUiPopoverContent,
  TldrawUiPopoverTrigger,
  useBreakpoint,
  useEditor,
  useValue,
} from 'tldraw'
import { type Avatar, avatarsOf } from '../../presence/avatars'
import type { Person } from '../../presence/remoteState'
import { AvatarFace } from './AvatarFace'

const SHOWN_MAX = 5
const SHOWN_ON_PHONE_MAX = 2

/** Who else is on the board; a click follows a person, or goes to where an agent works. */
export function PresenceBar({ people }: { people: readonly Person[] }) {
  const editor = useEditor()
  const shownMax = useBreakpoint() < PORTRAIT_BREAKPOINT.TABLET_SM ? SHOWN_ON_PHONE_MAX : SHOWN_MAX
  const following = useValue('following', () => editor.getInstanceState().followingUserId, [editor])
  const avatars = avatarsOf(people)
  // "+1" would take as much room as the one whom it hides.
  const shown = avatars.length <= shownMax + 1 ? avatars : avatars.slice(0, shownMax)
  const hidden = avatars.length - shown.length
  if (avatars.length === 0) return null
  return (
    <section className="presence" data-testid="presence-bar" aria-label="On this board">
      {shown.map(avatar => (
        <AvatarButton key={avatar.userId} avatar={avatar} following={following} />
      ))}
      {hidden > 0 && (
        <TldrawUiPopover id="presence">
          <TldrawUiPopoverTrigger>
            <button type="button" className="avatar-button" data-testid="presence-overflow" title={`${hidden} more`}>
              <span className="avatar avatar-more">+{hidden}</span>
            </button>
          </TldrawUiPopoverTrigger>
          <TldrawUiPopoverContent side="bottom" align="end">
            <Everyone avatars={avatars} following={following} />
          </TldrawUiPopoverContent>
        </TldrawUiPopover>
      )}
    </section>
  )
}

interface AvatarButtonProps {
  avatar: Avatar
  following: string | null
}

function AvatarButton({ avatar, following }: AvatarButtonProps) {
  const editor = useEditor()
  const isFollowed = following === avatar.userId
  return (
    <button
      type="button"
      className="avatar-button"
      data-testid="presence-avatar"
      data-type={avatar.type}
      title={avatar.name}
      aria-label={describe(avatar, isFollowed)}
      aria-pressed={isFollowed}
      onClick={() => visit(editor, avatar, isFollowed)}
    >
      <AvatarFace avatar={avatar} />
    </button>
  )
}

function Everyone({ avatars, following }: { avatars: readonly Avatar[]; following: string | null }) {
  const editor = useEditor()
  return (
    <ul className="everyone">
      {avatars.map(avatar => (
        <li key={avatar.userId}>
          <button
            type="button"
            aria-pressed={following === avatar.userId}
            onClick={() => visit(editor, avatar, following === avatar.userId)}
          >
            <AvatarFace avatar={avatar} />
            <span className="everyone-name">{avatar.name}</span>
            <span className="everyone-what">{avatar.type === 'agent' ? 'Agent' : ''}</span>
          </button>
        </li>
      ))}
    </ul>
  )
}

function describe({ name, type }: Avatar, isFollowed: boolean): string {
  if (type === 'agent') return `${name}, agent: go there`
  return isFollowed ? `${name}: stop following` : `${name}: follow`
}

/** Follow a person, or stop; an agent has no view to follow, so go to what it touched last. */
function visit(editor: Editor, { userId, type }: Avatar, isFollowed: boolean): void {
  if (isFollowed) {
    editor.stopFollowingUser()
  } else if (type === 'human') {
    editor.startFollowingUser(userId)
  } else {
    const presence = editor.getCollaborators().find(other => other.userId === userId)
    if (presence?.cursor == null) return
    if (editor.getPage(presence.currentPageId) !== undefined) editor.setCurrentPage(presence.currentPageId)
    editor.centerOnPoint(presence.cursor, { animation: { duration: 300 } })
  }
}
