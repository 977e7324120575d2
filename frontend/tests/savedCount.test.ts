import { describe, expect, it } from 'vitest'
import { SavedCount } from '../src/sync/savedCount'

/** A socket on which the answer to the relay's SyncStep1 was counted. */
function synced(unsaved = 0): SavedCount {
  const saved = new SavedCount(unsaved)
  saved.reset()
  saved.send('SyncStep2')
  saved.settle(1)
  return saved
}

function edit(saved: SavedCount): void {
  saved.change()
  saved.send('Update')
}

describe('the saved count (L11)', () => {
  it('has nothing unsaved, and nothing known to be saved, before anything was exchanged', () => {
    const saved = new SavedCount()
    expect([saved.unsaved, saved.changed, saved.allSaved]).toEqual([0, false, false])
  })

  it('counts a change as saved when its frame is settled, and not before', () => {
    const saved = synced()
    edit(saved)
    edit(saved)
    expect([saved.unsaved, saved.allSaved]).toEqual([2, false])
    saved.settle(2)
    expect([saved.unsaved, saved.allSaved]).toEqual([1, false])
    saved.settle(3)
    expect([saved.unsaved, saved.allSaved]).toEqual([0, true])
  })

  it('counts nothing before the SyncStep2: an update behind a change that was never sent proves little', () => {
    const saved = new SavedCount()
    saved.change()
    saved.reset()
    edit(saved)
    saved.settle(1)
    expect([saved.unsaved, saved.allSaved]).toEqual([2, false])
    saved.send('SyncStep2')
    saved.settle(1)
    expect(saved.unsaved).toBe(2)
    saved.settle(2)
    expect([saved.unsaved, saved.allSaved]).toEqual([0, true])
  })

  it('takes what was on its way when the socket ended for unsent, until the next SyncStep2', () => {
    const saved = synced()
    edit(saved)
    saved.reset()
    expect([saved.unsaved, saved.allSaved]).toEqual([1, false])
    saved.change()
    saved.reset()
    expect(saved.unsaved).toBe(2)
    saved.send('SyncStep2')
    saved.settle(1)
    expect([saved.unsaved, saved.allSaved]).toEqual([0, true])
  })

  it('does not count a change that was made in a closing socket', () => {
    const saved = synced()
    edit(saved)
    saved.change()
    saved.settle(2)
    expect(saved.unsaved).toBe(1)
  })

  it('takes all back when the log lost history, and only a SyncStep2 after that gives it back', () => {
    const saved = synced()
    edit(saved)
    saved.settle(2)
    saved.lose()
    expect([saved.unsaved, saved.allSaved]).toEqual([1, false])
    edit(saved)
    saved.settle(3)
    expect([saved.unsaved, saved.allSaved]).toEqual([2, false])
    saved.send('SyncStep2')
    saved.settle(3)
    expect(saved.unsaved).toBe(2)
    saved.settle(4)
    expect([saved.unsaved, saved.allSaved]).toEqual([0, true])
  })

  it('is not all saved while an older answer is being waited for, though no change is open', () => {
    const saved = synced()
    saved.lose()
    expect([saved.unsaved, saved.allSaved]).toEqual([0, false])
  })

  it('goes on from what an earlier visit left unsaved', () => {
    const saved = new SavedCount()
    saved.inherit(3)
    expect([saved.unsaved, saved.changed]).toEqual([3, true])
    saved.reset()
    saved.send('SyncStep2')
    saved.settle(1)
    expect(saved.unsaved).toBe(0)
  })

  it('never calls a change saved too early when more frames are open than it tells apart', () => {
    const saved = synced()
    for (let i = 0; i < 3000; i += 1) edit(saved)
    for (let count = 1; count <= 3000; count += 1) {
      saved.settle(count)
      expect(saved.unsaved).toBeGreaterThanOrEqual(3001 - count)
    }
    saved.settle(3001)
    expect([saved.unsaved, saved.allSaved]).toEqual([0, true])
  })

  it('takes what was sent for saved where the server does not tell, until the socket ends', () => {
    const saved = new SavedCount()
    saved.change()
    saved.reset()
    saved.send('SyncStep2')
    saved.trust()
    expect(saved.unsaved).toBe(0)
    edit(saved)
    expect(saved.unsaved).toBe(0)
    saved.reset()
    saved.change()
    saved.send('SyncStep2')
    expect(saved.unsaved).toBe(1)
  })
})
