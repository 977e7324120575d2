import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { throttle } from '../src/presence/throttle'

beforeEach(() => vi.useFakeTimers())
afterEach(() => vi.useRealTimers())

it('lets the first value through at once and the latest one later', () => {
  const seen: number[] = []
  const throttled = throttle<number>(50, value => seen.push(value))
  for (const value of [1, 2, 3]) throttled(value)
  expect(seen).toEqual([1])
  vi.advanceTimersByTime(50)
  expect(seen).toEqual([1, 3])
  throttled(4)
  expect(seen).toEqual([1, 3])
  vi.advanceTimersByTime(200)
  expect(seen).toEqual([1, 3, 4])
  throttled(5)
  expect(seen).toEqual([1, 3, 4, 5])
})

it('forgets what waits when it is cancelled', () => {
  const seen: number[] = []
  const throttled = throttle<number>(50, value => seen.push(value))
  throttled(1)
  throttled(2)
  throttled.cancel()
  vi.advanceTimersByTime(200)
  expect(seen).toEqual([1])
})
