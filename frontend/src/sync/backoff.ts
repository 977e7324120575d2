/** y-websocket's first wait before it reconnects; each further one is twice as long. */
const FIRST_WAIT_MS = 200
const WAIT_MS_MAX = 5000

/**
 * Return the longest wait before the next attempt, for `maxBackoffTime`: y-websocket has no jitter, so that all clients of a
 * node that died would come back at the same moment, again and again. `random` is in [0, 1).
 */
export function backoffMs(failures: number, random: number): number {
  const wait = Math.min(FIRST_WAIT_MS * 2 ** failures, WAIT_MS_MAX)
  return wait * (0.5 + random / 2)
}
