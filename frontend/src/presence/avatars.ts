import type { Person } from './remoteState'

/** One avatar: an agent whose name two bridges announce is still one agent. */
export interface Avatar extends Person {
  initials: string
  /** The colour in which the initials can be read. */
  ink: '#000000' | '#ffffff'
}

/** People first, agents after them, each in the order of their names. */
export function avatarsOf(people: readonly Person[]): Avatar[] {
  const distinct = new Map<string, Person>()
  for (const person of people) {
    const key = person.type === 'agent' ? `agent ${person.name}` : person.userId
    if (!distinct.has(key)) distinct.set(key, person)
  }
  return [...distinct.values()]
    .sort((a, b) => (a.type === b.type ? a.name.localeCompare(b.name) : a.type === 'human' ? -1 : 1))
    .map(person => ({ ...person, initials: initialsOf(person.name), ink: inkOn(person.color) }))
}

/** "Ada Lovelace" is AL; whole characters, whatever the script. */
export function initialsOf(name: string): string {
  const words = name.split(/[\s_-]+/u).filter(word => word !== '')
  const first = [...(words[0] ?? '?')][0] ?? '?'
  const last = words.length > 1 ? ([...(words.at(-1) ?? '')][0] ?? '') : ''
  return (first + last).toLocaleUpperCase()
}

/** Black or white, whichever has more contrast on `#rrggbb` (WCAG 2, relative luminance). */
export function inkOn(color: string): '#000000' | '#ffffff' {
  const channel = (from: number) => {
    const value = Number.parseInt(color.slice(from, from + 2), 16) / 255
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4
  }
  const luminance = 0.2126 * channel(1) + 0.7152 * channel(3) + 0.0722 * channel(5)
  return (luminance + 0.05) / 0.05 > 1.05 / (luminance + 0.05) ? '#000000' : '#ffffff'
}
