/** Read what this browser remembers under a name; null if nothing, if it is not JSON, or if the browser refuses. */
export function readJson(name: string): unknown {
  try {
    return JSON.parse(localStorage.getItem(name) ?? 'null')
  } catch {
    return null
  }
}

/** Have the browser remember a value; where it refuses (private windows, a full disk) it is forgotten with the page. */
export function writeJson(name: string, value: unknown): void {
  try {
    localStorage.setItem(name, JSON.stringify(value))
  } catch {
    // Nothing on the board depends on it.
  }
}

export const PROFILE = 'board-relay:profile'

/** The colour scheme that the person chose on a board, before any of the board's code is loaded. */
export function storedScheme(): 'light' | 'dark' | 'system' {
  const profile = readJson(PROFILE)
  const scheme =
    typeof profile === 'object' && profile !== null && 'colorScheme' in profile ? profile.colorScheme : null
  return scheme === 'light' || scheme === 'dark' ? scheme : 'system'
}
