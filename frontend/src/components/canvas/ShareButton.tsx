import { TldrawUiButtonIcon, useToasts } from 'tldraw'
import { shareLink } from '../../boards/shareLink'

const WARNING = 'It has your key in it: whoever gets it can do on this board what you can.'

interface ShareButtonProps {
  board: string
  apiKey: string
}

/** Copies the link that opens this board with the same rights. */
export function ShareButton({ board, apiKey }: ShareButtonProps) {
  const { addToast } = useToasts()
  const share = async () => {
    const link = shareLink(location.origin, board, apiKey)
    if (await copy(link)) addToast({ title: 'Link copied', description: WARNING, severity: 'success' })
    else window.prompt(WARNING, link)
  }
  return (
    <button
      type="button"
      className="share"
      data-testid="share-button"
      title="Copy a link to this board, with your key in it"
      onClick={share}
    >
      <TldrawUiButtonIcon icon="link" small />
      <span className="share-label">Share</span>
    </button>
  )
}

async function copy(text: string): Promise<boolean> {
  // Pages without https have no clipboard.
  if (navigator.clipboard === undefined) return false
  return await navigator.clipboard.writeText(text).then(
    () => true,
    () => false,
  )
}
