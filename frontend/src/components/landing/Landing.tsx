import { type FormEvent, useId, useState } from 'react'
import { rememberedKey } from '../../boards/recentBoards'
import { type BoardReference, isKey, readPasted, shareLink } from '../../boards/shareLink'
import { RecentBoards } from './RecentBoards'

/** `/`: open a board by link, or by name and key, or one that was opened before. */
export function Landing() {
  return (
    <main className="sheet" data-testid="landing">
      <div className="landing">
        <header>
          <h1>Boards</h1>
          <p className="subtitle">Draw together, with people and agents on one canvas.</p>
        </header>
        <OpenBoard />
        <RecentBoards />
      </div>
    </main>
  )
}

function OpenBoard() {
  const [pasted, setPasted] = useState('')
  const [key, setKey] = useState('')
  const [error, setError] = useState('')
  const id = useId()
  const link = readPasted(pasted)
  const open = (event: FormEvent) => {
    event.preventDefault()
    const problem = problemOf(pasted, link, key)
    setError(problem ?? '')
    const opened = link.key ?? (key.trim() === '' && link.board !== null ? rememberedKey(link.board) : key.trim())
    if (problem === null && link.board !== null && opened !== null) {
      location.assign(shareLink(location.origin, link.board, opened))
    }
  }
  return (
    <section className="card" aria-labelledby={`${id}-title`}>
      <h2 id={`${id}-title`}>Open a board</h2>
      <form className="form" onSubmit={open} noValidate>
        <label htmlFor={`${id}-board`}>Link or name of the board</label>
        <input
          id={`${id}-board`}
          data-testid="board-input"
          autoComplete="off"
          autoCapitalize="none"
          spellCheck={false}
          placeholder="https://…/boards/…#key=…"
          value={pasted}
          aria-describedby={`${id}-error`}
          onChange={event => setPasted(event.target.value)}
        />
        <label htmlFor={`${id}-key`}>Key</label>
        <input
          id={`${id}-key`}
          data-testid="key-input"
          type="password"
          autoComplete="off"
          spellCheck={false}
          placeholder={link.key === null ? 'dc_…' : 'The link has it'}
          disabled={link.key !== null}
          value={link.key === null ? key : ''}
          onChange={event => setKey(event.target.value)}
        />
        <p className="form-error" id={`${id}-error`} role="alert">
          {error}
        </p>
        <button type="submit" className="button-primary" data-testid="open-button">
          Open
        </button>
      </form>
    </section>
  )
}

/** What is missing or wrong, in a sentence; null if the board can be opened. */
function problemOf(pasted: string, link: BoardReference, key: string): string | null {
  if (pasted.trim() === '') return 'Paste the link of a board, or type its name.'
  if (link.board === null) {
    return link.key === null
      ? 'That is neither a link nor a name: names have letters, digits, - and _, at most 64.'
      : 'That is a key: put it below, and the name of its board here.'
  }
  if (link.key !== null) return null
  if (key.trim() === '') {
    return rememberedKey(link.board) === null ? 'This board needs a key: paste it below.' : null
  }
  return isKey(key.trim()) ? null : 'That is no key: it is one word, and mostly begins with dc_.'
}
