// The stock server of @y/websocket-server on a free port, to try the clients against. Prints {"port": n} once it
// listens and ends when standard input does.
import { createServer } from 'node:http'
import { register } from 'node:module'
import { WebSocketServer } from 'ws'

// Its optional storage is native code which the tests have no use for and do not install, but it is imported always.
const storage = 'data:text/javascript,export class LeveldbPersistence {}'
const hook = `export const resolve = (name, context, next) =>
  name === 'y-leveldb' ? { url: ${JSON.stringify(storage)}, shortCircuit: true } : next(name, context)`
register('data:text/javascript,' + encodeURIComponent(hook))
const { setupWSConnection } = await import('@y/websocket-server/utils')

const http = createServer()
new WebSocketServer({ server: http }).on('connection', (socket, request) => setupWSConnection(socket, request))
http.listen(0, '127.0.0.1', () => process.stdout.write(JSON.stringify({ port: http.address().port }) + '\n'))
process.stdin.on('end', () => process.exit(0)).resume()
