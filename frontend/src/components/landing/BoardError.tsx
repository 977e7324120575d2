import type { ReactNode } from 'react'

interface BoardErrorProps {
  title: string
  advice: string
  /** Further things that can be done. */
  children?: ReactNode
}

/** A board that cannot be shown (any more), and what to do about it. */
export function BoardError({ title, advice, children }: BoardErrorProps) {
  return (
    <main className="sheet">
      <section className="card" data-testid="board-error" role="alert">
        <h1>{title}</h1>
        <p>{advice}</p>
        {children}
        <p className="card-foot">
          <a href="/">All boards</a>
        </p>
      </section>
    </main>
  )
}
