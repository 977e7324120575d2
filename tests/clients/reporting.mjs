// Whatever goes wrong in this process reaches the test. Imported first, so that even a warning given while another
// module loads (yjs loaded twice, for instance) is reported; standard output carries nothing but JSON lines.
import { AsyncLocalStorage } from 'node:async_hooks'
import { format } from 'node:util'

/** The client on whose behalf code runs; sockets and timers that a client made keep it. */
export const acting = new AsyncLocalStorage()

// Numbers above 2^53 and bytes are no JSON: shown as what they are instead of failing or passing for something else.
const plain = (_key, value) => {
  if (typeof value === 'bigint') return `${value}n`
  if (value instanceof Uint8Array) return `bytes ${Buffer.from(value).toString('base64')}`
  return value
}

export const report = (message) => process.stdout.write(JSON.stringify(message, plain) + '\n')

const fault = (kind) => (...parts) =>
  report({ fault: { client: acting.getStore()?.name ?? null, kind, text: format(...parts) } })

console.error = fault('console.error')
console.warn = fault('console.warn')
console.log = console.info = console.debug = (...parts) => process.stderr.write(format(...parts) + '\n')
process.on('uncaughtException', (error) => fault('uncaught')(error))
