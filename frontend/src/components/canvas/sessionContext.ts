import { createContext, useContext } from 'react'
import type { BoardSession } from '../../sync/boardSession'

/** tldraw's slots take components without properties: they find the board here. */
export const SessionContext = createContext<BoardSession | null>(null)

export function useSession(): BoardSession {
  const session = useContext(SessionContext)
  if (session === null) throw new Error('A part of the board is shown without its board.')
  return session
}
