import { useValue } from 'tldraw'
import type { Refusal } from '../../sync/connectionState'
import { BoardError } from '../landing/BoardError'
import { KeyForm } from '../landing/KeyForm'
import { useSession } from './sessionContext'

/** The relay said no for good: why, and what can be done. */
export function RefusedBoard({ refusal }: { refusal: Refusal }) {
  const { unsaved, keepsCopy } = useValue(useSession().connection)
  return (
    <BoardError title={refusal.title} advice={refusal.advice}>
      {unsaved > 0 && (
        <p>
          {unsaved === 1 ? 'One change of yours was' : `${unsaved} changes of yours were`} not sent.{' '}
          {keepsCopy
            ? 'This browser keeps what you did, and sends it when the board opens again with the same key.'
            : 'What you did is in this tab alone, and is lost when you close it.'}
        </p>
      )}
      {refusal.wantsKey ? (
        <KeyForm submit="Try this key" />
      ) : (
        <button type="button" className="button-primary" onClick={() => location.reload()}>
          Try again
        </button>
      )}
    </BoardError>
  )
}
