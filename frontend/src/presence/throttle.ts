export interface Throttled<T> {
  (value: T): void
  cancel(): void
}

/** Call `action` with the first value at once and then with the latest one, at most every `ms`. */
export function throttle<T>(ms: number, action: (value: T) => void): Throttled<T> {
  let timer: ReturnType<typeof setTimeout> | undefined
  let waiting: { value: T } | null = null
  const tick = () => {
    timer = undefined
    if (waiting === null) return
    const { value } = waiting
    waiting = null
    timer = setTimeout(tick, ms)
    action(value)
  }
  const throttled = (value: T) => {
    waiting = { value }
    if (timer === undefined) tick()
  }
  return Object.assign(throttled, {
    cancel() {
      clearTimeout(timer)
      timer = undefined
      waiting = null
    },
  })
}
