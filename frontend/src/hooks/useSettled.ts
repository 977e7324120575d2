import { useEffect, useState } from 'react'

/** Return the latest value that has stood for `ms`: what comes and goes within it is never seen. */
export function useSettled<T>(value: T, ms: number): T {
  const [settled, setSettled] = useState(value)
  useEffect(() => {
    const timer = setTimeout(() => setSettled(value), ms)
    return () => clearTimeout(timer)
  }, [value, ms])
  return settled
}
