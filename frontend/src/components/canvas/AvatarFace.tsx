import type { Avatar } from '../../presence/avatars'

/** A coloured disc with initials; agents carry a badge. */
export function AvatarFace({ avatar }: { avatar: Pick<Avatar, 'color' | 'ink' | 'initials' | 'type'> }) {
  return (
    <span className="avatar" style={{ backgroundColor: avatar.color, color: avatar.ink }} aria-hidden="true">
      {avatar.initials}
      {avatar.type === 'agent' && (
        <svg className="avatar-badge" viewBox="0 0 12 12" aria-hidden="true">
          <path d="M6 0v2M2 5h8v5H2zM4 7h.01M8 7h.01" />
        </svg>
      )}
    </span>
  )
}
