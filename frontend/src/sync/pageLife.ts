export interface PageListener {
  /** The browser says that the network came or went. */
  network(online: boolean): void
  /** The page is looked at again, or was taken out of the back/forward cache. */
  shown(): void
  /** The page goes, perhaps for good: the last call in which anything can be done. */
  hidden(): void
  /** Whether closing now could lose something. */
  wouldLose(): boolean
}

/** Tell of what happens to the page until stopped. */
export function watchPage(listener: PageListener): () => void {
  const stop = new AbortController()
  const options = { signal: stop.signal }
  window.addEventListener('online', () => listener.network(true), options)
  window.addEventListener('offline', () => listener.network(false), options)
  window.addEventListener('pageshow', event => event.persisted && listener.shown(), options)
  window.addEventListener('pagehide', () => listener.hidden(), options)
  document.addEventListener(
    'visibilitychange',
    () => document.visibilityState === 'visible' && listener.shown(),
    options,
  )
  window.addEventListener('beforeunload', event => listener.wouldLose() && event.preventDefault(), options)
  return () => stop.abort()
}
