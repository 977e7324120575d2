import { atom, computed, createTLUser, type TLUser, type TLUserPreferences, userTypeValidator } from 'tldraw'
import { PROFILE, readJson, writeJson } from '../boards/browserStorage'
import { userIdOf } from './remoteState'

export const COLORS = ['#d9480f', '#c92a2a', '#c2255c', '#9c36b5', '#6741d9', '#1971c2', '#0c8599', '#2f9e44'] as const

const COLOR = /^#[0-9a-f]{6}$/i

type Profile = Omit<TLUserPreferences, 'id'>

/** The name, colour and preferences of the person at this browser, remembered and the same in all its tabs. */
export const profile = atom<Profile>('profile', stored() ?? fresh())

/** Who the person is to tldraw: an id for this tab, so that one person's two tabs can see each other. */
export function tabUser(clientId: number): TLUser {
  return createTLUser({
    userPreferences: computed('userPreferences', () => ({ ...profile.get(), id: userIdOf(clientId) })),
    setUserPreferences: ({ id: _id, ...changed }) => setProfile(changed),
  })
}

export function setProfile(changed: Partial<Profile>): void {
  profile.set({ ...profile.get(), ...changed })
  writeJson(PROFILE, profile.get())
}

// Another tab of this browser changed it.
window.addEventListener('storage', event => {
  if (event.key === PROFILE) profile.set(stored() ?? profile.get())
})

function stored(): Profile | null {
  const value = readJson(PROFILE)
  if (typeof value !== 'object' || value === null) return null
  try {
    const { id: _id, ...preferences } = userTypeValidator.validate({ ...value, id: '' })
    return COLOR.test(preferences.color ?? '') ? preferences : { ...preferences, color: randomColor() }
  } catch {
    return null
  }
}

function fresh(): Profile {
  const made: Profile = {
    name: `Guest ${Math.floor(Math.random() * 90) + 10}`,
    color: randomColor(),
    colorScheme: 'system',
  }
  writeJson(PROFILE, made)
  return made
}

function randomColor(): string {
  return COLORS[Math.floor(Math.random() * COLORS.length)] ?? COLORS[0]
}
