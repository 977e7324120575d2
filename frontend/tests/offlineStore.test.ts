import 'fake-indexeddb/auto'
import { IDBFactory } from 'fake-indexeddb'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import * as Y from 'yjs'
import { forgetOffline } from '../src/sync/forgetOffline'
import { offlineName } from '../src/sync/offlineName'
import { OfflineStore } from '../src/sync/offlineStore'

const NAME = offlineName('demo', 'dc_secret')

beforeEach(() => vi.stubGlobal('indexedDB', new IDBFactory()))
afterEach(() => vi.unstubAllGlobals())

async function visit(lost = () => {}) {
  const doc = new Y.Doc()
  const store = new OfflineStore(NAME, doc, lost)
  return { doc, store, kept: await store.load() }
}

describe("a board's copy in this browser", () => {
  it('is named after board and key, and does not tell the key', () => {
    expect(NAME).toMatch(/^board-relay\/demo\/[0-9a-f]{16}$/)
    expect(NAME).not.toContain('secret')
    expect(offlineName('demo', 'dc_other')).not.toBe(NAME)
    expect(offlineName('other', 'dc_secret')).not.toBe(NAME)
    // SHA-256 of "abc", as FIPS 180-2 has it.
    expect(offlineName('b', 'abc')).toBe('board-relay/b/ba7816bf8f01cfea')
  })

  it('is empty the first time', async () => {
    const { kept, store } = await visit()
    expect(kept).toEqual({ hasContent: false, unsaved: 0, canAppend: null })
    store.close()
  })

  it('has what was done in an earlier visit, how much of it was unsaved, and what the key allowed', async () => {
    const first = await visit()
    first.doc.getMap('tldraw').set('x', 1)
    first.store.keepUnsaved(3)
    first.store.keepRole(true)
    first.store.close()
    const second = await visit()
    expect(second.kept).toEqual({ hasContent: true, unsaved: 3, canAppend: true })
    expect(second.doc.getMap('tldraw').get('x')).toBe(1)
    second.store.keepUnsaved(0)
    second.store.close()
    const third = await visit()
    expect(third.kept.unsaved).toBe(0)
    third.store.close()
  })

  it('adds up what several tabs left', async () => {
    const a = await visit()
    const b = await visit()
    a.store.keepUnsaved(1)
    b.store.keepUnsaved(2)
    a.store.close()
    b.store.close()
    const c = await visit()
    expect(c.kept.unsaved).toBe(3)
    c.store.close()
  })

  it('is gone when it is forgotten, also under an open tab, which goes on', async () => {
    const lost = vi.fn()
    const { doc, store } = await visit(lost)
    expect(store.isOpen).toBe(true)
    doc.getMap('tldraw').set('x', 1)
    await forgetOffline('demo', 'dc_secret')
    expect([store.isOpen, lost.mock.calls.length]).toEqual([false, 1])
    expect(() => doc.getMap('tldraw').set('x', 2)).not.toThrow()
    store.keepUnsaved(1)
    const next = await visit()
    expect(next.kept).toEqual({ hasContent: false, unsaved: 0, canAppend: null })
    next.store.close()
  })

  it('keeps no change from going out when the database is suddenly unusable', async () => {
    const { doc, store } = await visit()
    const sent = vi.fn()
    doc.on('update', sent)
    const broken = vi.spyOn(IDBDatabase.prototype, 'transaction').mockImplementation(() => {
      throw new DOMException('The connection is closing.', 'InvalidStateError')
    })
    expect(() => doc.getMap('tldraw').set('x', 1)).not.toThrow()
    expect(() => doc.getMap('tldraw').set('x', 2)).not.toThrow()
    broken.mockRestore()
    expect(sent).toHaveBeenCalledTimes(2)
    store.close()
  })

  it('is done without where the browser has none, or refuses', async () => {
    vi.stubGlobal('indexedDB', undefined)
    expect((await visit()).kept.hasContent).toBe(false)
    vi.stubGlobal('indexedDB', {
      open() {
        throw new DOMException('Not in private windows.', 'SecurityError')
      },
    })
    const { kept, doc, store } = await visit()
    expect(kept).toEqual({ hasContent: false, unsaved: 0, canAppend: null })
    expect(store.isOpen).toBe(false)
    expect(() => doc.getMap('tldraw').set('x', 1)).not.toThrow()
    store.keepUnsaved(1)
    store.close()
  })
})
