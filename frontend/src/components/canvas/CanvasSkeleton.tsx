/** What is seen until a board is there; index.html shows the same before any code has come. */
export function CanvasSkeleton({ label }: { label: string }) {
  return (
    <div className="skeleton" role="status">
      <span className="skeleton-dot" aria-hidden="true" />
      {label}
    </div>
  )
}
