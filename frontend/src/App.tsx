import { lazy, Suspense, useEffect, useSyncExternalStore } from 'react'
import { rememberedKey } from './boards/recentBoards'
import { boardOfPath, isBoardId, keyOfFragment } from './boards/shareLink'
import { CanvasSkeleton } from './components/canvas/CanvasSkeleton'
import { AskForKey } from './components/landing/AskForKey'
import { BoardError } from './components/landing/BoardError'
import { Landing } from './components/landing/Landing'

// The landing page needs nothing of tldraw.
const CanvasShell = lazy(() => import('./components/canvas/CanvasShell'))

/** One page for every address: `/` is the landing page, `/boards/{board}` a board. */
export function App() {
  const address = useSyncExternalStore(watchAddress, () => location.pathname + location.hash)
  const board = boardOfPath(location.pathname)
  useEffect(() => {
    document.title = board === null ? 'Boards' : `${board} · Boards`
  }, [board])
  if (board === null) return <Landing />
  if (!isBoardId(board)) return <BoardError title="There is no such board" advice="Check the name in the link." />
  const key = keyOfFragment(location.hash) ?? rememberedKey(board)
  if (key === null) return <AskForKey board={board} />
  return (
    <Suspense fallback={<CanvasSkeleton label="Loading…" />}>
      <CanvasShell key={address} board={board} apiKey={key} />
    </Suspense>
  )
}

function watchAddress(changed: () => void): () => void {
  window.addEventListener('hashchange', changed)
  window.addEventListener('popstate', changed)
  return () => {
    window.removeEventListener('hashchange', changed)
    window.removeEventListener('popstate', changed)
  }
}
