// Many stock y-websocket clients in one process, commanded by JSON lines: {id, command, client, …} on standard input,
// {id, result} or {id, error} on standard output, {fault: {client, kind, text}} for whatever went wrong unasked.
// Ends when standard input does. The other side is tests/stockclient.py.
import { report } from './reporting.mjs'
import { createInterface } from 'node:readline'
import { isDeepStrictEqual } from 'node:util'
import { Client, sharedDigest, until } from './client.mjs'
import { Load } from './load.mjs'

const clients = new Map()
const loads = new Map()

const named = (name) => {
  const client = clients.get(name)
  if (client === undefined) throw new Error(`There is no client "${name}": it was never opened or is destroyed.`)
  return client
}

const commands = {
  open: (arg) => {
    if (clients.has(arg.client)) throw new Error(`There is a client "${arg.client}" already.`)
    const client = new Client(arg)
    clients.set(arg.client, client)
    return client.doc.clientID
  },
  connect: ({ client }) => named(client).connect(),
  disconnect: ({ client }) => named(client).disconnect(),
  cut: ({ client }) => named(client).cut(),
  moveTo: ({ client, url }) => named(client).moveTo(url),
  setParams: ({ client, params }) => { named(client).provider.params = params },
  destroy: ({ client }) => {
    named(client).destroy()
    clients.delete(client)
  },

  set: ({ client, key, value }) => { named(client).map.set(key, value) },
  setMany: ({ client, count, prefix, perTurn }) => named(client).setMany(count, prefix, perTurn),
  delete: ({ client, key }) => named(client).map.delete(key),
  get: ({ client, key }) => named(client).get(key),
  dump: ({ client }) => named(client).map.toJSON(),
  doubled: ({ client }) => named(client).doubled,
  state: ({ client }) => {
    const one = named(client)
    return { ...one.summary(), stateVector: Buffer.from(one.stateVector).toString('hex'), digest: one.digest }
  },

  setAwareness: ({ client, state }) => named(client).provider.awareness.setLocalState(state),
  setAwarenessField: ({ client, field, value }) => named(client).provider.awareness.setLocalStateField(field, value),
  awareness: ({ client }) => named(client).states(),

  watch: ({ client, key }) => {
    const { map, watched } = named(client)
    if (map.has(key)) throw new Error(`The key "${key}" is there already: watch it before it is written.`)
    watched.set(key, null)
  },
  waitSeen: ({ client, key, timeout }) => {
    if (!named(client).watched.has(key)) throw new Error(`Client "${client}" does not watch the key "${key}".`)
    return waiting(client, `the watched key "${key}"`, timeout, (one) => one.watched.get(key) ?? undefined)
  },
  waitSynced: ({ client, times, timeout }) => waiting(client, `sync number ${times}`, timeout, (one) =>
    (one.provider.synced && one.syncs >= times) || undefined),
  waitStatus: ({ client, status, timeout }) => waiting(client, `the status ${status}`, timeout, (one) =>
    one.status === status || undefined),
  waitClosed: ({ client, code, times, timeout }) => waiting(
    client, `close number ${times} with ${code === null ? 'any code' : code}`, timeout, (one) =>
      one.closes.filter((close) => code === null || close.code === code)[times - 1]),
  waitKey: ({ client, key, timeout, ...rest }) => waiting(
    client, `the key "${key}"${'value' in rest ? ` with ${JSON.stringify(rest.value)}` : ''}`, timeout, (one) =>
      (one.map.has(key) && (!('value' in rest) || isDeepStrictEqual(one.get(key), rest.value))) || undefined),
  waitAbsent: ({ client, key, timeout }) => waiting(client, `the key "${key}" to be gone`, timeout, (one) =>
    !one.map.has(key) || undefined),
  waitCount: ({ client, count, timeout }) => waiting(client, `${count} keys`, timeout, (one) =>
    one.map.size === count || undefined),
  waitAwareness: ({ client, count, match, timeout }) => waiting(
    client, `awareness of ${count ?? 'any number of'} clients, another showing ${JSON.stringify(match)}`, timeout,
    (one) => ((count === null || one.provider.awareness.getStates().size === count) &&
      (match === null || one.sees(match))) || undefined),
  waitConverged: ({ clients: names, count, timeout }) => {
    const all = names.map(named)
    return until(all, `${names.join(', ')} to converge${count === null ? '' : ` at ${count} keys`}`, timeout, () =>
      count === null || all.every((one) => one.map.size === count) ? sharedDigest(all) : undefined)
  },

  loadOpen: ({ load, clients: names, editors }) => { loads.set(load, new Load(names.map(named), editors.map(named))) },
  loadStart: ({ load, everyMs, editsMax }) => loads.get(load).start(everyMs, editsMax),
  loadStop: ({ load }) => loads.get(load).stop(),
  loadGrow: ({ load, edits, timeout }) => loads.get(load).grow(edits, timeout),
  loadFault: ({ load }) => loads.get(load).fault(),
  loadBack: ({ load, timeout }) => loads.get(load).back(timeout),
  loadSettled: ({ load, keys, timeout }) => loads.get(load).settled(keys, timeout),
  loadHeld: ({ load }) => loads.get(load).held(),
  loadEdits: ({ load }) => loads.get(load).edits
}

const waiting = (name, what, timeout, test) => {
  const client = named(name)
  return until([client], `${what} at client "${name}"`, timeout, () => test(client))
}

const answer = async (line) => {
  const { id, command, ...rest } = JSON.parse(line)
  try {
    report({ id, result: (await commands[command](rest)) ?? null })
  } catch (error) {
    report({ id, error: error.message })
  }
}

// Each client takes a listener of the process for its exit; a hundred of them are no leak.
process.setMaxListeners(0)
createInterface({ input: process.stdin }).on('line', answer).on('close', () => {
  for (const client of clients.values()) client.destroy()
  setImmediate(() => process.exit(0))
})
