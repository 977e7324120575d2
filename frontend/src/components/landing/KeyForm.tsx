import { type FormEvent, useId, useState } from 'react'
import { isKey, keyOfFragment } from '../../boards/shareLink'

/** Ask for the key of the board that the address names; a whole link is as good. */
export function KeyForm({ submit }: { submit: string }) {
  const [text, setText] = useState('')
  const [error, setError] = useState('')
  const id = useId()
  const open = (event: FormEvent) => {
    event.preventDefault()
    const pasted = text.trim()
    const key = pasted.includes('#') ? keyOfFragment(pasted.slice(pasted.indexOf('#'))) : pasted
    if (key === null || !isKey(key)) {
      setError('That is no key: it is one word, and mostly begins with dc_.')
      return
    }
    location.hash = `key=${encodeURIComponent(key)}`
    // The same key once more is a new attempt too.
    location.reload()
  }
  return (
    <form className="form" onSubmit={open}>
      <label htmlFor={id}>Key</label>
      <input
        id={id}
        data-testid="key-input"
        type="password"
        autoComplete="off"
        spellCheck={false}
        value={text}
        aria-describedby={error === '' ? undefined : `${id}-error`}
        aria-invalid={error !== ''}
        onChange={event => setText(event.target.value)}
      />
      {error !== '' && (
        <p className="form-error" id={`${id}-error`} role="alert">
          {error}
        </p>
      )}
      <button type="submit" className="button-primary" data-testid="open-button">
        {submit}
      </button>
    </form>
  )
}
