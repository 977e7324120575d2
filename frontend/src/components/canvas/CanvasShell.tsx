import { getAssetUrlsByImport } from '@tldraw/assets/imports.vite'
import { useCallback, useEffect } from 'react'
import { type Editor, react, type TLComponents, type TLUiOverrides, Tldraw, useValue } from 'tldraw'
import 'tldraw/tldraw.css'
import { OFFERED_TYPES } from '../../assets/pictures'
import { keepMeasured } from '../../binding/measure'
import { rememberBoard } from '../../boards/recentBoards'
import { useYjsSync } from '../../hooks/useYjsSync'
import { profile } from '../../presence/profile'
import { sharePresence } from '../../presence/sharePresence'
import type { BoardSession } from '../../sync/boardSession'
import { showScheme } from '../../theme'
import { BoardMenu } from './BoardMenu'
import { BoardPanel } from './BoardPanel'
import { BoardStatus } from './BoardStatus'
import { CanvasSkeleton } from './CanvasSkeleton'
import { ExternalContent } from './ExternalContent'
import { RefusedBoard } from './RefusedBoard'
import { SessionContext } from './sessionContext'
import './canvas.css'

interface CanvasShellProps {
  board: string
  apiKey: string
}

// Outside of the components, as a new identity of any of these builds the editor anew.
const ASSET_URLS = getAssetUrlsByImport()
const NO_TYPES: readonly string[] = []
const COMPONENTS: TLComponents = {
  MainMenu: BoardMenu,
  HelperButtons: BoardStatus,
  SharePanel: BoardPanel,
  TopPanel: null,
}
const OVERRIDES: TLUiOverrides = {
  actions(_editor, actions) {
    // Frames of other hosts are not loaded, so none can be put on a board.
    const { 'insert-embed': _embed, 'convert-to-embed': _convert, ...rest } = actions
    return rest
  },
}

/** One board, from the first connection to a refusal. */
export default function CanvasShell({ board, apiKey }: CanvasShellProps) {
  const session = useYjsSync(board, apiKey)
  useEffect(() => react('colour scheme', () => showScheme(profile.get().colorScheme ?? 'system')), [])
  return session === null ? <CanvasSkeleton label="Connecting…" /> : <Board session={session} />
}

function Board({ session }: { session: BoardSession }) {
  const loaded = useValue(session.loaded)
  const refusal = useValue(session.refusal)
  const { label } = useValue(session.connection)
  const { board, key } = session
  useEffect(() => {
    if (loaded) rememberBoard(board, key, Date.now())
  }, [loaded, board, key])
  return (
    <SessionContext value={session}>
      {loaded ? (
        <Canvas session={session} refused={refusal !== null} />
      ) : (
        refusal === null && <CanvasSkeleton label={label} />
      )}
      {refusal !== null && <RefusedBoard refusal={refusal} />}
    </SessionContext>
  )
}

function Canvas({ session, refused }: { session: BoardSession; refused: boolean }) {
  const onMount = useCallback(
    (editor: Editor) => {
      lookAtContent(editor)
      const stopPresence = sharePresence(editor, session.awareness, session.people)
      const stopMeasuring = keepMeasured(editor)
      return () => {
        stopMeasuring()
        stopPresence()
      }
    },
    [session],
  )
  return (
    <div className="canvas" inert={refused}>
      <Tldraw
        store={session.store}
        user={session.user}
        assetUrls={ASSET_URLS}
        components={COMPONENTS}
        overrides={OVERRIDES}
        onMount={onMount}
        acceptedImageMimeTypes={OFFERED_TYPES}
        acceptedVideoMimeTypes={NO_TYPES}
      >
        <ExternalContent />
      </Tldraw>
    </div>
  )
}

/** Nobody should meet an empty screen because the board's content is elsewhere. */
function lookAtContent(editor: Editor): void {
  const content = editor.getCurrentPageBounds()
  if (content !== undefined && !editor.getViewportPageBounds().collides(content)) {
    editor.zoomToFit({ immediate: true })
  }
}
