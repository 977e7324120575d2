import { useEffect, useState } from 'react'
import { BoardSession } from '../sync/boardSession'

/**
 * Open a board for as long as the component stands; null until it is begun. In React's strict mode the first session is
 * closed again and a second one stays.
 */
export function useYjsSync(board: string, key: string): BoardSession | null {
  const [session, setSession] = useState<BoardSession | null>(null)
  useEffect(() => {
    const opened = new BoardSession(board, key)
    setSession(opened)
    return () => {
      setSession(null)
      opened.close()
    }
  }, [board, key])
  return session
}
