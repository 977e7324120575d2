import { useEffect } from 'react'
import { useEditor, useToasts } from 'tldraw'
import { handleExternalContent } from '../../assets/externalContent'

/** Takes over what is dropped and pasted; shows nothing but what becomes of it. */
export function ExternalContent() {
  const editor = useEditor()
  const { addToast, removeToast } = useToasts()
  useEffect(() => {
    handleExternalContent(editor, {
      busy(sentence) {
        const id = addToast({ title: sentence, severity: 'info', keepOpen: true })
        return () => removeToast(id)
      },
      failed: sentence => addToast({ title: sentence, severity: 'error' }),
    })
  }, [editor, addToast, removeToast])
  return null
}
