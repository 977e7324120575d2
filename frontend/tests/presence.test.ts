import { InstancePresenceRecordType } from 'tldraw'
import { describe, expect, it } from 'vitest'
import { avatarsOf, initialsOf, inkOn } from '../src/presence/avatars'
import { type Person, readPerson, readPresence } from '../src/presence/remoteState'

const NOW = 1_700_000_000_000

const ADA = {
  user: { name: 'Ada Lovelace', color: '#AA00cc', type: 'human' },
  cursor: { x: 10.5, y: -3 },
  selection: ['shape:a', 'shape:b'],
  canvas: {
    page: 'page:two',
    camera: { x: 1, y: 2, z: 0.5 },
    screen: { x: 0, y: 0, w: 800, h: 600 },
    cursorType: 'cross',
    brush: { x: 0, y: 0, w: 5, h: 5 },
    scribbles: [{ color: 'laser', points: [{ x: 1, y: 1 }] }],
    following: '7',
    chat: 'hello',
  },
}

/** Whatever comes, either nothing or a record that the store accepts. */
function validPresence(state: unknown) {
  const record = readPresence(5, state, NOW)
  return record === null ? null : InstancePresenceRecordType.validate(record)
}

describe('a remote state', () => {
  it('becomes what tldraw draws', () => {
    expect(validPresence(ADA)).toMatchObject({
      userId: '5',
      userName: 'Ada Lovelace',
      color: '#aa00cc',
      currentPageId: 'page:two',
      cursor: { x: 10.5, y: -3, type: 'cross', rotation: 0 },
      selectedShapeIds: ['shape:a', 'shape:b'],
      camera: { x: 1, y: 2, z: 0.5 },
      screenBounds: { w: 800 },
      followingUserId: '7',
      chatMessage: 'hello',
      lastActivityTimestamp: NOW,
    })
  })

  it('of a stock client is enough: a name and a cursor', () => {
    const record = validPresence({ user: { name: 'Bo', color: '#123456' }, cursor: { x: 1, y: 2 } })
    expect(record).toMatchObject({ userName: 'Bo', currentPageId: 'page:page', cursor: { x: 1, y: 2 } })
  })

  it('keeps an agent active, who says nothing between two writes', () => {
    const record = validPresence({ user: { name: 'Planner', type: 'agent' }, cursor: { x: 0, y: 0 } })
    expect(record?.lastActivityTimestamp).toBeGreaterThan(NOW + 3_600_000)
  })

  it.each([
    null,
    'text',
    7,
    [],
    {},
    { user: null, cursor: 'here', selection: {}, canvas: [] },
    { user: { name: { toString: null }, color: 'url(https://x.example)', type: 'admin' } },
    { cursor: { x: Number.NaN, y: 1 }, canvas: { camera: { x: 1, y: 1, z: 0 }, screen: { x: 0, y: 0, w: -1, h: 1 } } },
    { cursor: { x: 1e300, y: 1 }, canvas: { page: 'shape:x', cursorType: 'constructor', following: {} } },
    { selection: ['page:x', 7, null, 'shape:ok', `shape:${'x'.repeat(500)}`] },
    { canvas: { scribbles: [null, { points: 'x' }, { points: [{}, { x: 1, y: 1 }], color: 'none' }], brush: {} } },
    JSON.parse('{"__proto__": {"user": 1}, "user": {"name": "\\u202Eevil"}}'),
  ])('is never raised about and never invalid: %j', state => {
    expect(() => validPresence(state)).not.toThrow()
  })

  it('takes nothing for a colour that could load anything', () => {
    expect(readPerson(5, { user: { color: 'url(https://x.example/)' } })?.color).toMatch(/^#[0-9a-f]{6}$/)
  })

  it('cuts names, and strips what turns the text around it', () => {
    expect(readPerson(5, { user: { name: '\u202Eevil\u0000' } })?.name).toBe('evil')
    expect(readPerson(5, { user: { name: 'x'.repeat(1000) } })?.name).toHaveLength(64)
    expect(readPerson(5, { user: { name: '   ' } })?.name).toBe('Somebody')
    expect(readPerson(5, { user: { type: 'agent' } })?.name).toBe('Agent')
  })

  it('bounds what it takes of lists', () => {
    const selection = Array.from({ length: 5000 }, (_, index) => `shape:${index}`)
    const scribbles = Array.from({ length: 50 }, () => ({ points: Array(5000).fill({ x: 0, y: 0 }) }))
    const record = validPresence({ selection, canvas: { scribbles } })
    expect(record?.selectedShapeIds).toHaveLength(1000)
    expect(record?.scribbles).toHaveLength(10)
    expect(record?.scribbles[0]?.points.length).toBeLessThanOrEqual(500)
  })
})

describe('the avatars', () => {
  const person = (clientId: number, name: string, type: Person['type']): Person => {
    return { clientId, userId: String(clientId), name, color: '#112233', type }
  }

  it('show people before agents, and one agent of two bridges once', () => {
    const people = [
      person(1, 'Planner', 'agent'),
      person(2, 'Zoe', 'human'),
      person(3, 'Planner', 'agent'),
      person(4, 'Ann', 'human'),
      person(5, 'Ann', 'human'),
    ]
    expect(avatarsOf(people).map(({ name, type }) => [name, type])).toEqual([
      ['Ann', 'human'],
      ['Ann', 'human'],
      ['Zoe', 'human'],
      ['Planner', 'agent'],
    ])
  })

  it('have initials in any script', () => {
    expect(initialsOf('Ada Lovelace')).toBe('AL')
    expect(initialsOf('planner-bot')).toBe('PB')
    expect(initialsOf('李')).toBe('李')
    expect(initialsOf('😀 Smile')).toBe('😀S')
    expect(initialsOf('')).toBe('?')
  })

  it('can be read on any colour', () => {
    expect(inkOn('#ffffff')).toBe('#000000')
    expect(inkOn('#ffdd00')).toBe('#000000')
    expect(inkOn('#000000')).toBe('#ffffff')
    expect(inkOn('#6741d9')).toBe('#ffffff')
  })
})
