import type { Skipped } from '../../sync/boardSession'

/** Says quietly that something on the board cannot be shown, and on demand what and why. */
export function SkippedNotice({ skipped }: { skipped: Skipped }) {
  const { records, count } = skipped
  if (count === 0) return null
  return (
    <details className="chip skipped" data-testid="skipped-notice">
      <summary>{count === 1 ? '1 item is not shown' : `${count} items are not shown`}</summary>
      <p>What is not valid, or waits for something that it belongs to, is left out. Nothing was deleted.</p>
      <ul>
        {records.map(({ id, reason }) => (
          <li key={id}>
            <code>{id}</code> {reason}
          </li>
        ))}
      </ul>
      {records.length < count && <p>And {count - records.length} more.</p>}
    </details>
  )
}
