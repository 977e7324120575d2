import {
  type BoxModel,
  InstancePresenceRecordType,
  isShapeId,
  TL_CURSOR_TYPES,
  type TLCursorType,
  type TLInstancePresence,
  type TLPageId,
  type TLScribble,
  type TLShapeId,
} from 'tldraw'

/** Someone on the board, as the others see them. */
export interface Person {
  clientId: number
  /** What tldraw calls them: who is followed, and whom they follow. */
  userId: string
  name: string
  color: string
  type: 'human' | 'agent'
}

export const NAME_LENGTH_MAX = 64
const CHAT_LENGTH_MAX = 500
const SELECTION_MAX = 1000
const SCRIBBLES_MAX = 10
const SCRIBBLE_POINTS_MAX = 500
const COORDINATE_MAX = 1e9
const ZOOM_MIN = 0.001
const ZOOM_MAX = 1000
const PAGE_ID = /^page:.{1,200}$/
const COLOR = /^#[0-9a-f]{6}$/i
/** Control characters, and those that turn the writing direction of what stands around them. */
const UNSEEN = /[\p{Cc}\p{Cs}\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu
const FALLBACK_COLORS = ['#ec5e41', '#e34ba9', '#9d5bd2', '#02b1cc', '#39b178', '#ff802b']
/** Agents say nothing between two writes, and would be hidden as inactive: their activity lies this far ahead. */
const AGENT_ACTIVE_MS = 24 * 3600 * 1000
/** tldraw's name for the page that a new board has. */
const FIRST_PAGE = 'page:page' as TLPageId

/** The id under which tldraw knows the person at a Yjs client. */
export function userIdOf(clientId: number): string {
  return String(clientId)
}

/** Who is behind a remote state. Clients write what they want: anything at all is read, never raised about. */
export function readPerson(clientId: number, state: unknown): Person | null {
  if (!isObject(state)) return null
  const user = isObject(state.user) ? state.user : {}
  const name = cleanText(user.name, NAME_LENGTH_MAX).trim()
  const type = user.type === 'agent' ? 'agent' : 'human'
  return {
    clientId,
    userId: userIdOf(clientId),
    name: name === '' ? (type === 'agent' ? 'Agent' : 'Somebody') : name,
    color: readColor(user.color, clientId),
    type,
  }
}

/** A remote state as the record from which tldraw draws cursor, name and selection; `now` is the viewer's own time. */
export function readPresence(clientId: number, state: unknown, now: number): TLInstancePresence | null {
  const person = readPerson(clientId, state)
  if (person === null || !isObject(state)) return null
  const canvas = isObject(state.canvas) ? state.canvas : {}
  const cursor = readPoint(state.cursor)
  return InstancePresenceRecordType.create({
    id: InstancePresenceRecordType.createId(person.userId),
    userId: person.userId,
    userName: person.name,
    color: person.color,
    lastActivityTimestamp: person.type === 'agent' ? now + AGENT_ACTIVE_MS : now,
    currentPageId: readPage(canvas.page),
    cursor: cursor === null ? null : { ...cursor, type: readCursorType(canvas.cursorType), rotation: 0 },
    selectedShapeIds: readShapeIds(state.selection),
    camera: readCamera(canvas.camera),
    screenBounds: readBox(canvas.screen),
    brush: readBox(canvas.brush),
    scribbles: readScribbles(canvas.scribbles),
    followingUserId: typeof canvas.following === 'string' ? canvas.following.slice(0, 64) : null,
    chatMessage: cleanText(canvas.chat, CHAT_LENGTH_MAX),
  })
}

/** Keep what can be shown of a text that somebody else wrote. */
function cleanText(value: unknown, lengthMax: number): string {
  return typeof value === 'string' ? value.slice(0, lengthMax).replace(UNSEEN, '') : ''
}

function readColor(value: unknown, clientId: number): string {
  if (typeof value === 'string' && COLOR.test(value)) return value.toLowerCase()
  return FALLBACK_COLORS[clientId % FALLBACK_COLORS.length] ?? '#ec5e41'
}

function readPage(value: unknown): TLPageId {
  return typeof value === 'string' && PAGE_ID.test(value) ? (value as TLPageId) : FIRST_PAGE
}

function readCursorType(value: unknown): TLCursorType {
  return typeof value === 'string' && (TL_CURSOR_TYPES as ReadonlySet<string>).has(value)
    ? (value as TLCursorType)
    : 'default'
}

function readShapeIds(value: unknown): TLShapeId[] {
  if (!Array.isArray(value)) return []
  return value.slice(0, SELECTION_MAX).filter(id => typeof id === 'string' && id.length <= 200 && isShapeId(id))
}

function readPoint(value: unknown): { x: number; y: number } | null {
  if (!isObject(value) || !isCoordinate(value.x) || !isCoordinate(value.y)) return null
  return { x: value.x, y: value.y }
}

function readCamera(value: unknown): { x: number; y: number; z: number } | null {
  const point = readPoint(value)
  if (point === null || !isObject(value) || !isCoordinate(value.z)) return null
  return value.z >= ZOOM_MIN && value.z <= ZOOM_MAX ? { ...point, z: value.z } : null
}

function readBox(value: unknown): BoxModel | null {
  const point = readPoint(value)
  if (point === null || !isObject(value) || !isCoordinate(value.w) || !isCoordinate(value.h)) return null
  return value.w >= 0 && value.h >= 0 ? { ...point, w: value.w, h: value.h } : null
}

function readScribbles(value: unknown): TLScribble[] {
  if (!Array.isArray(value)) return []
  return value.slice(0, SCRIBBLES_MAX).flatMap((scribble, index) => {
    if (!isObject(scribble) || !Array.isArray(scribble.points)) return []
    const points = scribble.points.slice(-SCRIBBLE_POINTS_MAX).flatMap(point => readPoint(point) ?? [])
    if (points.length === 0) return []
    const laser = scribble.color === 'laser'
    return [
      {
        id: `scribble-${index}`,
        points: points.map(point => ({ ...point, z: 0.5 })),
        size: 8,
        color: laser ? 'laser' : 'accent',
        opacity: 0.8,
        state: 'active',
        delay: 0,
        shrink: 0.1,
        taper: true,
      } satisfies TLScribble,
    ]
  })
}

function isCoordinate(value: unknown): value is number {
  return typeof value === 'number' && Math.abs(value) <= COORDINATE_MAX
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
