import { readJson, writeJson } from './browserStorage'
import { isBoardId, isKey } from './shareLink'

const STORED_AS = 'board-relay:boards'
const BOARDS_MAX = 30

/** A board that was opened in this browser, with the key that opens it again. */
export interface RecentBoard {
  board: string
  key: string
  openedAt: number
}

/** The latest first. */
export function recentBoards(): RecentBoard[] {
  const value = readJson(STORED_AS)
  return Array.isArray(value) ? value.filter(isRecent).slice(0, BOARDS_MAX) : []
}

export function rememberBoard(board: string, key: string, openedAt: number): void {
  const others = recentBoards().filter(recent => recent.board !== board)
  writeJson(STORED_AS, [{ board, key, openedAt }, ...others].slice(0, BOARDS_MAX))
}

export function forgetBoard(board: string): void {
  writeJson(
    STORED_AS,
    recentBoards().filter(recent => recent.board !== board),
  )
}

export function rememberedKey(board: string): string | null {
  return recentBoards().find(recent => recent.board === board)?.key ?? null
}

function isRecent(value: unknown): value is RecentBoard {
  if (typeof value !== 'object' || value === null) return false
  const { board, key, openedAt } = value as Partial<RecentBoard>
  return (
    typeof board === 'string' && isBoardId(board) && typeof key === 'string' && isKey(key) && Number.isFinite(openedAt)
  )
}
