export type ColorScheme = 'light' | 'dark' | 'system'

const dark = window.matchMedia('(prefers-color-scheme: dark)')
let chosen: ColorScheme = 'system'

/** Show our own parts in the scheme that tldraw shows its parts in. */
export function showScheme(scheme: ColorScheme): void {
  chosen = scheme
  const isDark = scheme === 'dark' || (scheme === 'system' && dark.matches)
  document.documentElement.dataset.theme = isDark ? 'dark' : 'light'
}

dark.addEventListener('change', () => showScheme(chosen))
