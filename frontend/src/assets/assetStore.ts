import type { TLAsset, TLAssetStore } from 'tldraw'

/** As the asset store of the server has it. */
export const PICTURE_BYTES_MAX = 10 * 1024 * 1024
export const PICTURE_TYPES: readonly string[] = ['image/png', 'image/jpeg', 'image/gif', 'image/webp', 'image/avif']

/** Pictures held for showing; beyond that those that were shown longest ago are fetched anew when they are needed. */
const PICTURES_HELD_MAX = 200
const ASSET_PATH = /^\/v1\/boards\/[A-Za-z0-9_-]{1,64}\/assets\/[A-Za-z0-9_-]{1,64}$/

/** An upload that failed, in a sentence for the person who tried. */
export class UploadFailed extends Error {}

/** A board's pictures: on the server, never in the document. */
export interface PictureStore extends TLAssetStore {
  /** Free what is held for showing. */
  close(): void
}

/** Where the picture of an asset with this id is. */
function assetUrl(board: string, assetId: string): string {
  return `/v1/boards/${board}/assets/${assetId.replace(/^asset:/, '')}`
}

/**
 * Keep a board's pictures on the server that served the page. Its addresses want the key in a header, so a picture is fetched
 * and shown from memory; no other address ever gets the key.
 */
export function pictureStore(board: string, key: string, request: typeof fetch = fetch): PictureStore {
  const held = new Map<string, Promise<string>>()

  const show = (path: string): Promise<string> => {
    const known = held.get(path)
    held.delete(path)
    const shown = known ?? load(path)
    held.set(path, shown)
    if (known === undefined) {
      shown.catch(() => held.delete(path))
      dropOldest(held)
    }
    return shown
  }

  const load = async (path: string): Promise<string> => {
    const response = await request(path, { headers: { 'X-API-Key': key } })
    if (!response.ok) throw new Error(`The picture is not to be had (${response.status}).`)
    return URL.createObjectURL(await response.blob())
  }

  return {
    async upload(asset: TLAsset, file: File, abortSignal?: AbortSignal) {
      const path = assetUrl(board, asset.id)
      await put(request, path, key, file, abortSignal)
      held.set(path, Promise.resolve(URL.createObjectURL(file)))
      dropOldest(held)
      return { src: path }
    },
    async resolve(asset: TLAsset) {
      const src = asset.props.src
      if (src === null || src === '' || !ASSET_PATH.test(src)) return src
      return await show(src).catch(() => null)
    },
    close() {
      for (const path of [...held.keys()]) drop(held, path)
    },
  }
}

async function put(request: typeof fetch, path: string, key: string, file: File, signal?: AbortSignal): Promise<void> {
  let response: Response
  try {
    response = await request(path, {
      method: 'PUT',
      headers: { 'X-API-Key': key, 'Content-Type': file.type },
      body: file,
      ...(signal && { signal }),
    })
  } catch {
    throw new UploadFailed('The picture could not be sent. Check the connection and try again.')
  }
  if (!response.ok) throw new UploadFailed(await reasonOf(response))
}

/** Say why, in the server's own words where it gave some. */
async function reasonOf(response: Response): Promise<string> {
  const body: unknown = await response.json().catch(() => null)
  const sentence = typeof body === 'object' && body !== null && 'error' in body ? body.error : null
  if (typeof sentence === 'string' && sentence !== '') return sentence
  switch (response.status) {
    case 401:
    case 403:
      return 'Your key may not add pictures to this board.'
    case 413:
      return 'The picture is too large, or the board has no room for more pictures.'
    case 415:
      return 'The server does not take pictures of this kind.'
    default:
      return `The server could not take the picture (${response.status}). Try again in a while.`
  }
}

function dropOldest(held: Map<string, Promise<string>>): void {
  for (const path of held.keys()) {
    if (held.size <= PICTURES_HELD_MAX) return
    drop(held, path)
  }
}

function drop(held: Map<string, Promise<string>>, path: string): void {
  held.get(path)?.then(URL.revokeObjectURL, () => {})
  held.delete(path)
}
