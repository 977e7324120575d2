import { TldrawUiPopover, TldrawUiPopoverContent, TldrawUiPopoverTrigger, useValue } from 'tldraw'
import { initialsOf, inkOn } from '../../presence/avatars'
import { COLORS, profile, setProfile } from '../../presence/profile'
import { NAME_LENGTH_MAX } from '../../presence/remoteState'
import { AvatarFace } from './AvatarFace'

/** Who I am to the others; opens what can be changed about it. */
export function ProfileButton() {
  const { name, color } = useValue(profile)
  const shownName = name?.trim() || 'Somebody'
  const shownColor = color ?? COLORS[0]
  return (
    <TldrawUiPopover id="profile">
      <TldrawUiPopoverTrigger>
        <button
          type="button"
          className="avatar-button"
          data-testid="profile-button"
          title={`You: ${shownName}`}
          aria-label={`You are ${shownName}: change name and colour`}
        >
          <AvatarFace
            avatar={{ initials: initialsOf(shownName), color: shownColor, ink: inkOn(shownColor), type: 'human' }}
          />
        </button>
      </TldrawUiPopoverTrigger>
      <TldrawUiPopoverContent side="bottom" align="end" autoFocusFirstButton={false}>
        <ProfileForm name={name ?? ''} color={shownColor} />
      </TldrawUiPopoverContent>
    </TldrawUiPopover>
  )
}

function ProfileForm({ name, color }: { name: string; color: string }) {
  return (
    <div className="profile">
      <label>
        Your name
        <input
          value={name}
          maxLength={NAME_LENGTH_MAX}
          autoComplete="nickname"
          onChange={event => setProfile({ name: event.target.value })}
        />
      </label>
      <fieldset>
        <legend>Your colour</legend>
        {COLORS.map((offered, index) => (
          <input
            key={offered}
            type="radio"
            name="profile-color"
            aria-label={`Colour ${index + 1}`}
            checked={offered === color}
            style={{ backgroundColor: offered }}
            onChange={() => setProfile({ color: offered })}
          />
        ))}
      </fieldset>
      <p className="hint">Others see both at your cursor. They are remembered in this browser.</p>
    </div>
  )
}
