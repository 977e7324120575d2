import { beforeEach, describe, expect, it } from 'vitest'
import { forgetBoard, recentBoards, rememberBoard, rememberedKey } from '../src/boards/recentBoards'
import { boardOfPath, keyOfFragment, readPasted, shareLink } from '../src/boards/shareLink'

describe('a share link', () => {
  it('is read as it was written', () => {
    const link = shareLink('https://boards.example', 'my-board', 'dc_a&b=c')
    expect(link).toBe('https://boards.example/boards/my-board#key=dc_a%26b%3Dc')
    expect(readPasted(link)).toEqual({ board: 'my-board', key: 'dc_a&b=c' })
  })

  it.each([
    ['  https://h.example/boards/b#key=dc_1\n', { board: 'b', key: 'dc_1' }],
    ['https://h.example/boards/b?utm=1#x=2&key=dc_1', { board: 'b', key: 'dc_1' }],
    ['https://h.example/boards/b', { board: 'b', key: null }],
    ['/boards/b#key=', { board: 'b', key: null }],
    ['b#key=dc_1', { board: 'b', key: 'dc_1' }],
    ['demo', { board: 'demo', key: null }],
    ['dc_abc', { board: null, key: 'dc_abc' }],
    ['not a board', { board: null, key: null }],
    ['https://h.example/boards/a%2Fb#key=dc_1', { board: null, key: 'dc_1' }],
    ['https://h.example/boards/%E0%A4%A#key=dc_%E0%A4%A', { board: null, key: 'dc_%E0%A4%A' }],
    ['', { board: null, key: null }],
  ])('is made out in what was pasted: %j', (pasted, reference) => {
    expect(readPasted(pasted)).toEqual(reference)
  })

  it('is told from the landing page', () => {
    expect(boardOfPath('/')).toBeNull()
    expect(boardOfPath('/boards/demo')).toBe('demo')
    expect(boardOfPath('/boards/demo/')).toBe('demo')
    expect(boardOfPath('/boards/a/b')).toBeNull()
  })

  it('has no key that a header could not carry', () => {
    expect(keyOfFragment('#key=a%0D%0Ab')).toBeNull()
    expect(keyOfFragment('#monkey=1')).toBeNull()
    expect(keyOfFragment('#key=dc_1')).toBe('dc_1')
  })
})

describe('the boards opened before', () => {
  beforeEach(() => localStorage.clear())

  it('are remembered, the latest first, each once', () => {
    rememberBoard('a', 'dc_1', 1)
    rememberBoard('b', 'dc_2', 2)
    rememberBoard('a', 'dc_3', 3)
    expect(recentBoards().map(({ board, key }) => [board, key])).toEqual([
      ['a', 'dc_3'],
      ['b', 'dc_2'],
    ])
    expect(rememberedKey('b')).toBe('dc_2')
  })

  it('are forgotten with their keys', () => {
    rememberBoard('a', 'dc_secret', 1)
    forgetBoard('a')
    expect(rememberedKey('a')).toBeNull()
    expect(JSON.stringify({ ...localStorage })).not.toContain('dc_secret')
  })

  it('are as many as a page can list', () => {
    for (let i = 0; i < 100; i += 1) rememberBoard(`b${i}`, 'dc_1', i)
    expect(recentBoards()).toHaveLength(30)
    expect(recentBoards()[0]?.board).toBe('b99')
  })

  it.each(['', 'null', '{"a": 1}', '[null, 7, {"board": "../x", "key": "k", "openedAt": 1}, {"board": "a"}]'])(
    'are none where something else is stored: %s',
    stored => {
      localStorage.setItem('board-relay:boards', stored)
      expect(recentBoards()).toEqual([])
    },
  )
})
