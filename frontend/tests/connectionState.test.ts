import { describe, expect, it } from 'vitest'
import { type ConnectionFacts, connectionState, refusalOf } from '../src/sync/connectionState'

const OPEN: ConnectionFacts = {
  online: true,
  inSync: true,
  interrupted: false,
  refusal: null,
  outdated: false,
  unsaved: 0,
  changed: false,
  allSaved: false,
  acknowledges: true,
  canAppend: true,
  keepsCopy: true,
}

const shown = (facts: Partial<ConnectionFacts>) => {
  const { name, label } = connectionState({ ...OPEN, ...facts })
  return [name, label]
}

describe('the connection state', () => {
  it('is connected while nothing was changed here', () => {
    expect(shown({})).toEqual(['connected', 'Connected'])
  })

  it('is saved only when everything is acknowledged', () => {
    expect(shown({ changed: true, unsaved: 1 })).toEqual(['saving', 'Saving…'])
    expect(shown({ changed: true, unsaved: 0, allSaved: false })).toEqual(['saving', 'Saving…'])
    expect(shown({ changed: true, unsaved: 0, allSaved: true })).toEqual(['saved', 'Saved'])
  })

  it('does not promise to save what a key that may only view by now has left over', () => {
    expect(shown({ changed: true, unsaved: 2, canAppend: false })).toEqual(['saving', 'View only · 2 unsent changes'])
  })

  it('never claims to have saved where the server does not tell', () => {
    expect(shown({ changed: true, allSaved: true, acknowledges: false })).toEqual(['connected', 'Connected'])
  })

  it('says how much is unsent while there is no connection', () => {
    expect(shown({ inSync: false })).toEqual(['connecting', 'Connecting…'])
    expect(shown({ inSync: false, interrupted: true, unsaved: 1 })).toEqual([
      'reconnecting',
      'Reconnecting… · 1 unsent change',
    ])
    expect(shown({ inSync: false, interrupted: true, online: false, unsaved: 3 })).toEqual([
      'offline',
      'Offline · 3 unsent changes',
    ])
  })

  it('believes a connection that works rather than the browser', () => {
    expect(shown({ online: false })).toEqual(['connected', 'Connected'])
  })

  it('puts a refusal before all else, and an outdated canvas before what is saved', () => {
    const refusal = refusalOf(4401, '', false)
    expect(shown({ refusal, inSync: false, online: false })).toEqual(['denied', 'Refused'])
    expect(shown({ outdated: true, changed: true, unsaved: 1 })).toEqual(['outdated', 'Out of date'])
    expect(shown({ outdated: true, inSync: false, interrupted: true })[0]).toBe('reconnecting')
  })
})

describe('a final refusal', () => {
  it.each([4400, 4401, 4403, 4404, 4413])('says what %i means and what to do', code => {
    const refusal = refusalOf(code, 'internal words', false)
    expect(refusal.advice).not.toBe('')
    expect(refusal.advice).not.toContain('internal words')
  })

  it('tells a revoked key from a wrong one, and another board from rights that were taken', () => {
    expect(refusalOf(4401, '', true).title).not.toBe(refusalOf(4401, '', false).title)
    expect(refusalOf(4403, '', true).title).not.toBe(refusalOf(4403, '', false).title)
  })

  it('passes on the reason of a code that it does not know', () => {
    expect(refusalOf(4499, 'Out of paper.', false).advice).toBe('Out of paper.')
  })
})
