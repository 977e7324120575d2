// Reads records as JSON, one a line, and answers each with a line: {"ok": true} or {"ok": false, "error": "…"}.
import { createInterface } from 'node:readline'
import { createTLSchema } from '@tldraw/tlschema'

const types = createTLSchema().types

const problem = (line) => {
  try {
    const record = JSON.parse(line)
    const type = types[record?.typeName]
    if (!type) return `no such kind of record: ${record?.typeName}`
    type.validate(record)
    return null
  } catch (error) {
    return String(error?.message ?? error)
  }
}

for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
  const error = problem(line)
  process.stdout.write(`${JSON.stringify(error === null ? { ok: true } : { ok: false, error })}\n`)
}
