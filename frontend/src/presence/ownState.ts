import { type Editor, getDefaultUserPresence, type TLInstancePresence, type TLUserPreferences } from 'tldraw'
import { COLORS } from './profile'

/** Selecting all of a large board would otherwise be sent with every move of the cursor. */
const SELECTION_SENT_MAX = 100
const SCRIBBLE_POINTS_SENT_MAX = 30

/** What this tab tells of itself: the contract that bridges and stock clients share. */
export interface OwnState {
  user: { name: string; color: string; type: 'human' }
  cursor: { x: number; y: number } | null
  selection: string[]
  canvas: Record<string, unknown>
}

/**
 * What a tab says of itself before its editor is there. It has to say something as soon as its socket opens: stock clients
 * repeat whatever they hear, and a relay takes the first that one speaks of for itself.
 */
export function arriving({ name, color }: Pick<TLUserPreferences, 'name' | 'color'>): OwnState {
  return {
    user: { name: name ?? '', color: color ?? COLORS[0], type: 'human' },
    cursor: null,
    selection: [],
    canvas: {},
  }
}

/** Describe where the person at this editor is and what they do; null before the editor knows itself. */
export function ownState(editor: Editor): OwnState | null {
  const user = editor.user.getUserPreferences()
  const presence = getDefaultUserPresence(editor.store, { id: user.id, name: user.name, color: user.color })
  return presence === null ? null : describe(presence as TLInstancePresence)
}

function describe(presence: TLInstancePresence): OwnState {
  const { cursor, camera, screenBounds, brush } = presence
  return {
    user: { name: presence.userName, color: presence.color, type: 'human' },
    cursor: cursor === null ? null : { x: round(cursor.x), y: round(cursor.y) },
    selection: presence.selectedShapeIds.slice(0, SELECTION_SENT_MAX),
    canvas: {
      page: presence.currentPageId,
      camera: camera && { x: round(camera.x), y: round(camera.y), z: camera.z },
      screen: screenBounds,
      cursorType: cursor?.type ?? 'default',
      brush,
      scribbles: presence.scribbles.map(({ color, points }) => ({
        color,
        points: points.slice(-SCRIBBLE_POINTS_SENT_MAX).map(({ x, y }) => ({ x: round(x), y: round(y) })),
      })),
      following: presence.followingUserId,
      chat: presence.chatMessage,
    },
  }
}

/** A tenth of a page unit cannot be seen, and a float's digits are most of a cursor's bytes. */
function round(coordinate: number): number {
  return Math.round(coordinate * 10) / 10
}
