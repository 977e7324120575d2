/** What a page's address, or whatever a person pasted, says about a board. */
export interface BoardReference {
  board: string | null
  key: string | null
}

const BOARD_ID = /^[A-Za-z0-9_-]{1,64}$/
const KEY = /^[\x21-\x7e]{1,256}$/
const BOARD_PATH = /^\/boards\/([^/]*)\/?$/

export function isBoardId(text: string): boolean {
  return BOARD_ID.test(text)
}

/** What could be a key: it is sent as a header and as a parameter. */
export function isKey(text: string): boolean {
  return KEY.test(text)
}

/** The link that opens a board; the key is in the fragment, which browsers send to nobody. */
export function shareLink(origin: string, board: string, key: string): string {
  return `${origin}/boards/${board}#key=${encodeURIComponent(key)}`
}

/** The board that an address of ours shows; null is the landing page. `board` is as written, right or wrong. */
export function boardOfPath(path: string): string | null {
  const match = BOARD_PATH.exec(path)
  return match === null ? null : decode(match[1] ?? '')
}

export function keyOfFragment(fragment: string): string | null {
  const found = /(?:^#?|&)key=([^&]*)/.exec(fragment)
  const key = found === null ? '' : decode(found[1] ?? '').trim()
  return isKey(key) ? key : null
}

/** Read what a person pasted: a whole link, its end, a board's name, or a key. */
export function readPasted(pasted: string): BoardReference {
  const text = pasted.trim()
  const path = /\/boards\/([^/#?\s]*)/.exec(text)
  if (path !== null || text.includes('#')) {
    const board = path === null ? (text.split('#')[0] ?? '') : decode(path[1] ?? '')
    const hash = text.indexOf('#')
    return { board: isBoardId(board) ? board : null, key: hash < 0 ? null : keyOfFragment(text.slice(hash)) }
  }
  // Keys are made with this beginning; a board may be named so too, but hardly is.
  if (text.startsWith('dc_')) return { board: null, key: isKey(text) ? text : null }
  return { board: isBoardId(text) ? text : null, key: null }
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
