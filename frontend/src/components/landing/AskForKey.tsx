import { KeyForm } from './KeyForm'

/** A board's address without a key, in a browser that remembers none. */
export function AskForKey({ board }: { board: string }) {
  return (
    <main className="sheet">
      <section className="card">
        <h1>Open “{board}”</h1>
        <p>This link has no key in it. Paste the key, or the whole link that you were given.</p>
        <KeyForm submit="Open the board" />
        <p className="card-foot">
          <a href="/">All boards</a>
        </p>
      </section>
    </main>
  )
}
