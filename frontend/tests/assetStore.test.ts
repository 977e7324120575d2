import { AssetRecordType, type TLAsset, type TLImageAsset } from 'tldraw'
import { beforeEach, describe, expect, it, vi } from 'vitest'
import { pictureStore, UploadFailed } from '../src/assets/assetStore'
import { drawingSize, NoPicture, pictureFrom } from '../src/assets/pictures'

const KEY = 'dc_secret'
const PNG = new File(['bytes'], 'a.png', { type: 'image/png' })
const CONTEXT = {
  screenScale: 1,
  steppedScreenScale: 1,
  dpr: 1,
  networkEffectiveType: null,
  shouldResolveToOriginal: false,
}

function picture(src: string | null, id = 'one'): TLAsset {
  return AssetRecordType.create({
    id: AssetRecordType.createId(id),
    type: 'image',
    props: { src, w: 1, h: 1, name: '', mimeType: 'image/png', isAnimated: false },
  } as unknown as TLImageAsset)
}

function answering(status: number, body: BodyInit = '') {
  return vi.fn<typeof fetch>(async () => new Response(body, { status }))
}

let revoked: string[] = []
beforeEach(() => {
  revoked = []
  let made = 0
  URL.createObjectURL = () => `blob:${made++}`
  URL.revokeObjectURL = url => revoked.push(url)
})

describe('uploading', () => {
  it('puts the bytes where the contract has them, and only that address into the document', async () => {
    const request = answering(201)
    const uploaded = await pictureStore('demo', KEY, request).upload(picture(null), PNG)
    expect(uploaded).toEqual({ src: '/v1/boards/demo/assets/one' })
    expect(request).toHaveBeenCalledExactlyOnceWith('/v1/boards/demo/assets/one', {
      method: 'PUT',
      headers: { 'X-API-Key': KEY, 'Content-Type': 'image/png' },
      body: PNG,
    })
  })

  it.each([401, 403, 409, 413, 415, 500])('tells in a sentence why %i was the answer', async status => {
    const store = pictureStore('demo', KEY, answering(status, 'no json'))
    await expect(store.upload(picture(null), PNG)).rejects.toThrow(UploadFailed)
  })

  it("passes the server's own sentence on", async () => {
    const store = pictureStore('demo', KEY, answering(413, '{"error": "The board is full."}'))
    await expect(store.upload(picture(null), PNG)).rejects.toThrow('The board is full.')
  })

  it('blames the connection when there is none', async () => {
    const offline = vi.fn<typeof fetch>(async () => {
      throw new TypeError('Failed to fetch')
    })
    await expect(pictureStore('demo', KEY, offline).upload(picture(null), PNG)).rejects.toThrow(/connection/)
  })
})

describe('showing', () => {
  it('fetches a picture of ours with the key, once', async () => {
    const request = answering(200, 'bytes')
    const store = pictureStore('demo', KEY, request)
    const shown = await store.resolve?.(picture('/v1/boards/demo/assets/one'), CONTEXT)
    expect(shown).toBe('blob:0')
    expect(await store.resolve?.(picture('/v1/boards/demo/assets/one'), CONTEXT)).toBe('blob:0')
    expect(request).toHaveBeenCalledExactlyOnceWith('/v1/boards/demo/assets/one', { headers: { 'X-API-Key': KEY } })
  })

  it.each([
    'https://elsewhere.example/v1/boards/demo/assets/one',
    '//elsewhere.example/v1/boards/demo/assets/one',
    '/v1/boards/demo/assets/../../../secrets',
    '/v1/boards/demo/items',
    'data:image/png;base64,AAAA',
  ])('gives nobody else the key: %s', async src => {
    const request = answering(200)
    expect(await pictureStore('demo', KEY, request).resolve?.(picture(src), CONTEXT)).toBe(src)
    expect(request).not.toHaveBeenCalled()
  })

  it('shows nothing for a missing picture, and asks again the next time', async () => {
    const request = answering(404)
    const store = pictureStore('demo', KEY, request)
    expect(await store.resolve?.(picture('/v1/boards/demo/assets/one'), CONTEXT)).toBeNull()
    await store.resolve?.(picture('/v1/boards/demo/assets/one'), CONTEXT)
    expect(request).toHaveBeenCalledTimes(2)
  })

  it('holds so many pictures, and frees the one that was shown longest ago', async () => {
    const store = pictureStore('demo', KEY, answering(200, 'bytes'))
    for (let i = 0; i < 200; i += 1) await store.resolve?.(picture(`/v1/boards/demo/assets/p${i}`), CONTEXT)
    await store.resolve?.(picture('/v1/boards/demo/assets/p0'), CONTEXT)
    expect(revoked).toEqual([])
    await store.resolve?.(picture('/v1/boards/demo/assets/more'), CONTEXT)
    await vi.waitFor(() => expect(revoked).toEqual(['blob:1']))
  })

  it('frees all when the board is closed', async () => {
    const store = pictureStore('demo', KEY, answering(200, 'bytes'))
    await store.resolve?.(picture('/v1/boards/demo/assets/one'), CONTEXT)
    store.close()
    await vi.waitFor(() => expect(revoked).toEqual(['blob:0']))
  })
})

describe('what can become a picture', () => {
  const sized = (size: number) =>
    Object.defineProperty(new File([''], 'b.png', { type: 'image/png' }), 'size', { value: size })

  it('takes pictures as they are', async () => {
    expect(await pictureFrom(PNG)).toBe(PNG)
  })

  it.each([
    [new File([''], 'a.mp4', { type: 'video/mp4' }), /Videos/],
    [new File([''], 'a.pdf', { type: 'application/pdf' }), /a\.pdf/],
    [new File([''], 'a', { type: '' }), /not a picture/],
    [sized(11 * 1024 * 1024), /11 MB; a picture may have 10/],
  ])('refuses the rest in a sentence', async (file, sentence) => {
    await expect(pictureFrom(file)).rejects.toThrow(sentence)
    await expect(pictureFrom(file)).rejects.toThrow(NoPicture)
  })

  it('gives drawings pixels for sharp screens, within bounds', () => {
    expect(drawingSize(100, 50)).toEqual({ width: 200, height: 100 })
    expect(drawingSize(6000, 10)).toEqual({ width: 3000, height: 5 })
    expect(drawingSize(1e9, 1)).toEqual({ width: 3000, height: 1 })
  })
})
