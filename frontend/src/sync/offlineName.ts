import * as sha256 from 'lib0/hash/sha256'

const KEY_DIGEST_BYTES = 8

/** Name a board's database. The key is in it as a digest alone, so that each key has its own copy and none can be read back. */
export function offlineName(board: string, key: string): string {
  const digest = sha256.digest(new TextEncoder().encode(key)).slice(0, KEY_DIGEST_BYTES)
  const hex = Array.from(digest, byte => byte.toString(16).padStart(2, '0')).join('')
  return `board-relay/${board}/${hex}`
}
