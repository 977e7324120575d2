import { renderHtmlFromRichText, type TLShape } from 'tldraw'
import { describe, expect, test } from 'vitest'
import * as Y from 'yjs'
import {
  arrow,
  binding,
  bytes,
  contents,
  draw,
  frame,
  geo,
  group,
  image,
  imageAsset,
  type Loose,
  makeEditor,
  note,
  open,
  page,
  put,
  records,
  shape,
  shapeIds,
} from './boards'

function nested(levels: number): Loose {
  let value: Loose = 'x'
  for (let i = 0; i < levels; i++) value = { deeper: value }
  return value
}

const doc = (...content: Loose[]) => ({ type: 'doc', content })
const text = (value: Loose, marks?: Loose) => ({ type: 'text', text: value, ...(marks && { marks }) })

/** What cannot be shown at all: the key, and the value under it, or what makes the value. */
const SKIPPED: [string, string, Loose][] = [
  ['a number', 'shape:bad', 5],
  ['null', 'shape:bad', null],
  ['a number for the document', 'document:document', 7],
  ['a string', 'shape:bad', 'shape'],
  ['an array', 'shape:bad', [geo('bad')]],
  ['bytes', 'shape:bad', new Uint8Array(3)],
  ['a shared map', 'shape:bad', () => new Y.Map([['id', 'shape:bad']])],
  ['a shared text', 'shape:bad', () => new Y.Text('shape:bad')],
  ['another id', 'shape:bad', geo('other')],
  ['an id of another kind', 'page:bad', { ...geo('x'), id: 'page:bad' }],
  ['no kind', 'bad', { id: 'bad' }],
  ['an unknown kind', 'user:bad', { id: 'user:bad', typeName: 'user' }],
  ['a kind from the prototype', 'constructor:bad', { id: 'constructor:bad', typeName: 'constructor' }],
  ['__proto__ as key', '__proto__', geo('bad')],
  ['an endless id', `shape:${'x'.repeat(100_000)}`, { ...geo('bad'), id: undefined }],
  ['a shape of an unknown type', 'shape:bad', geo('bad', { type: 'nuke' })],
  ['a type from the prototype', 'shape:bad', geo('bad', { type: '__proto__' })],
  ['no parent', 'shape:bad', geo('bad', { parentId: 7 })],
  ['a parent of a wrong kind', 'shape:bad', geo('bad', { parentId: 'asset:i' })],
  ['an unknown parent', 'shape:bad', geo('bad', { parentId: 'shape:nobody' })],
  ['itself as parent', 'shape:bad', geo('bad', { parentId: 'shape:bad' })],
  ['deep nesting', 'shape:bad', geo('bad', { meta: nested(1000) })],
  ['endless text', 'shape:bad', note('bad', 'x'.repeat(200_000))],
  ['an endless name', 'shape:bad', frame('bad', { props: { name: 'x'.repeat(200_000) } })],
  ['too many values', 'shape:bad', geo('bad', { meta: { list: new Array(300_000).fill(1) } })],
  ['a stroke without points', 'shape:bad', draw('bad', 0, true)],
  ['an asset of an unknown type', 'asset:bad', { ...imageAsset('bad'), type: 'exe' }],
]

const SESSION: [string, Loose][] = [
  ['instance:instance', { id: 'instance:instance', typeName: 'instance', currentPageId: 'page:gone' }],
  ['camera:page:page', { id: 'camera:page:page', typeName: 'camera', x: 9, y: 9, z: 9, meta: {} }],
  ['pointer:pointer', { id: 'pointer:pointer', typeName: 'pointer', x: 9, y: 9, lastActivityTimestamp: 1, meta: {} }],
  ['instance_page_state:page:page', { id: 'instance_page_state:page:page', typeName: 'instance_page_state' }],
  ['instance_presence:x', { id: 'instance_presence:x', typeName: 'instance_presence' }],
]

/** What can be repaired: the value, and how it must look then. */
const REPAIRED: [string, Loose, Loose][] = [
  ['no properties', geo('bad', { props: undefined }), { props: geo('bad').props }],
  ['properties of a wrong kind', geo('bad', { props: 'none' }), { props: geo('bad').props }],
  ['a missing property', note('bad', 'a', {}, { labelColor: undefined }), { props: note('bad', 'a').props }],
  ['unknown keys', { ...geo('bad', { evil: 1 }, { evil: 1 }) }, geo('bad')],
  ['missing fields', { id: 'shape:bad', type: 'geo', parentId: 'page:page', x: 1, y: 2 }, geo('bad', { x: 1, y: 2 })],
  ['an unknown colour', geo('bad', {}, { color: '#ff0000' }), { props: geo('bad').props }],
  ['a negative width', geo('bad', {}, { w: -5 }), { props: { ...geo('bad').props, w: 100 } }],
  ['a huge width', geo('bad', {}, { w: 1e300 }), { props: { ...geo('bad').props, w: 1e5 } }],
  ['too much opacity', geo('bad', { opacity: 7 }), { opacity: 1 }],
  ['less than no opacity', geo('bad', { opacity: -7 }), { opacity: 0 }],
  ['NaN', geo('bad', { x: Number.NaN, rotation: Number.NaN }), { x: 0, rotation: 0 }],
  ['Infinity', geo('bad', { y: Infinity }), { y: 0 }],
  ['a huge coordinate', geo('bad', { x: 1e300 }), { x: 1e6 }],
  ['a number as text', geo('bad', { x: '5' }), { x: 0 }],
  ['meta of a wrong kind', geo('bad', { meta: 'm' }), { meta: {} }],
  ['bytes in meta', geo('bad', { meta: { a: new Uint8Array(2), b: 1 } }), { meta: { b: 1 } }],
  ['a script as address', geo('bad', {}, { url: 'javascript:alert(1)' }), { props: geo('bad').props }],
  ['a blob as address', geo('bad', {}, { url: 'blob:https://x/y' }), { props: geo('bad').props }],
  [
    'a script in an embed',
    { ...geo('bad'), type: 'embed', props: { w: 9, h: 9, url: ' JavaScript:alert(1)' } },
    { props: { w: 9, h: 9, url: '' } },
  ],
  ['plain text for rich text', note('bad', '', {}, { richText: 'one\ntwo' }), { props: note('bad', 'one\ntwo').props }],
  ['rich text without a type', note('bad', '', {}, { richText: {} }), { props: note('bad', '').props }],
  [
    'an empty text node',
    note('bad', '', {}, { richText: doc({ type: 'paragraph', content: [text('')] }) }),
    { props: note('bad', '').props },
  ],
  [
    'an image with no asset',
    image('bad', { assetId: 'asset:gone' }),
    { props: image('bad', { assetId: 'asset:gone' }).props },
  ],
  ['an image with a wrong asset', image('bad', { assetId: 'shape:x', crop: 7 }), { props: image('bad').props }],
  ['a bent crop', image('bad', { crop: { topLeft: { x: 0 }, bottomRight: null } }), { props: image('bad').props }],
  [
    'an empty binding of a vector',
    arrow('bad', {}, { start: null, end: { x: 'a', y: 3 } }),
    { props: arrow('bad', {}, { end: { x: 2, y: 3 } }).props },
  ],
  [
    'broken points in a stroke',
    {
      ...draw('bad', 3, true),
      props: { ...draw('bad', 3, true).props, segments: [null, { type: 'free', points: [{ x: 1 }, { x: 1, y: 2 }] }] },
    },
    { props: { ...draw('bad', 3, true).props, segments: [{ type: 'free', points: [{ x: 1, y: 2 }] }] } },
  ],
]

function healthy(tab: Loose): void {
  expect(shape(tab, 'good')).toMatchObject({ x: 42, props: { color: 'red' } })
}

const GOOD = geo('good', { x: 42 }, { color: 'red' })

describe('a record that cannot be shown', () => {
  test.each(SKIPPED)('%s is skipped and told, its neighbour stays: when it comes', (_name, id, value) => {
    const tab = open()
    tab.doc.transact(() => {
      records(tab.doc).set(id, typeof value === 'function' ? value() : value)
      put(tab.doc, page('page'), GOOD)
    })
    healthy(tab)
    expect(Object.keys(contents(tab)).sort()).toEqual(['document:document', 'page:page', 'shape:good'])
    expect(tab.skipped).toEqual([{ id: id.slice(0, 100), reason: expect.any(String) }])
  })

  test.each(SKIPPED)('%s is skipped and told, its neighbour stays: when the board is opened', (_name, id, value) => {
    const board = new Y.Doc()
    board.transact(() => {
      put(board, page('page'), GOOD)
      records(board).set(id, typeof value === 'function' ? value() : value)
    })
    const before = bytes(board)
    const tab = open(board)
    healthy(tab)
    expect(Object.keys(contents(tab)).sort()).toEqual(['document:document', 'page:page', 'shape:good'])
    expect(tab.skipped).toHaveLength(1)
    expect(bytes(board)).toBe(before)
  })

  test.each(SESSION)('%s is never taken from the document', (id, value) => {
    const tab = open()
    const before = tab.store.get(id as Loose)
    tab.doc.transact(() => {
      records(tab.doc).set(id, value)
      put(tab.doc, page('page'), GOOD)
    })
    expect(tab.store.get(id as Loose)).toEqual(before)
    healthy(tab)
    expect(tab.skipped).toHaveLength(1)
  })

  test('is removed from the screen when a good record becomes one, and comes back when it is good again', () => {
    const tab = open()
    put(tab.doc, page('page'), GOOD, geo('a'))
    records(tab.doc).set('shape:a', 'broken')
    expect(shapeIds(tab)).toEqual(['shape:good'])
    put(tab.doc, geo('a'))
    expect(shapeIds(tab)).toEqual(['shape:a', 'shape:good'])
    expect(tab.skipped).toEqual([])
  })

  test('is counted, and only the first hundred are named', () => {
    const tab = open()
    tab.doc.transact(() => {
      for (let n = 0; n < 250; n++) records(tab.doc).set(`shape:${n}`, n)
    })
    expect(tab.skipped).toHaveLength(100)
    expect(tab.skippedCount).toBe(250)
  })

  test('is told only when something about it changes', () => {
    const tab = open()
    records(tab.doc).set('shape:bad', 1)
    const told = tab.skipped
    put(tab.doc, page('page'), GOOD)
    records(tab.doc).set('shape:bad', 2)
    expect(tab.skipped).toBe(told)
  })
})

describe('a record that can be repaired', () => {
  test.each(REPAIRED)('%s', (_name, value, expected) => {
    const board = new Y.Doc()
    put(board, page('page'), GOOD)
    const live = open(board)
    records(board).set('shape:bad', value)
    const before = bytes(board)
    const rejoined = open(board)
    for (const tab of [live, rejoined]) {
      expect(shape(tab, 'bad')).toMatchObject(expected)
      healthy(tab)
      expect(tab.skipped).toEqual([])
    }
    expect(bytes(board)).toBe(before)
  })

  test('is written in its repaired form only when a person changes it', () => {
    const tab = open()
    put(tab.doc, page('page'), geo('bad', { evil: 1 }, { color: '#f00' }), GOOD)
    tab.store.update('shape:good' as Loose, record => ({ ...record, x: 43 }) as Loose)
    expect(records(tab.doc).get('shape:bad')).toMatchObject({ evil: 1, props: { color: '#f00' } })
    tab.store.update('shape:bad' as Loose, record => ({ ...record, x: 7 }) as Loose)
    expect(records(tab.doc).get('shape:bad')).toEqual(geo('bad', { x: 7 }))
  })

  test('an invalid index becomes the same valid one in every tab', () => {
    const board = new Y.Doc()
    put(board, page('page'), geo('a', { index: 'nonsense!' }), geo('b', { index: 3 }))
    const [one, two] = [open(board), open(board)]
    expect(shape(one, 'a').index).toBe(shape(two, 'a').index)
    expect(shape(one, 'a').index).not.toBe(shape(one, 'b').index)
  })

  test('equal indexes become different ones, the same in every tab, so that shapes can be reordered', () => {
    const board = new Y.Doc()
    const live = open(board)
    const equal = ['a', 'b', 'c', 'd'].map(name => geo(name, { index: 'a1' }))
    put(board, page('page'), page('other', { index: 'a1' }), ...equal)
    const before = bytes(board)
    const rejoined = open(board)
    expect(contents(live)).toEqual(contents(rejoined))
    const indexes = ['a', 'b', 'c', 'd'].map(name => shape(live, name).index)
    expect(indexes[0]).toBe('a1')
    expect(new Set(indexes).size).toBe(4)
    expect(bytes(board)).toBe(before)
    const editor = makeEditor(live.store)
    expect(() => editor.sendBackward(['shape:d' as Loose])).not.toThrow()
    editor.dispose()
    records(board).delete('shape:a')
    expect(shape(live, 'b').index).toBe('a1')
    expect(contents(live)).toEqual(contents(open(board)))
  })

  test('a line with equal or wrong indexes gets points that can be moved', () => {
    const board = new Y.Doc()
    const point = (id: string, index: string, x: number) => ({ id, index, x, y: 0 })
    const props = { dash: 'draw', size: 'm', color: 'black', spline: 'line', scale: 1 }
    const points = { a: point('a', 'a1', 0), b: point('x', 'a1', 5), c: point('c', '!', 9), d: 'nothing' }
    put(board, page('page'), { ...geo('line'), type: 'line', props: { ...props, points } })
    const tab = open(board)
    const editor = makeEditor(tab.store)
    expect(Object.keys(shape(tab, 'line').props.points).sort()).toEqual(['a', 'b', 'c'])
    expect(() => editor.getShapeHandles(shape(tab, 'line'))).not.toThrow()
    editor.dispose()
  })
})

describe('rich text', () => {
  const RICH: [string, Loose][] = [
    ['an empty text node', doc({ type: 'paragraph', content: [text(''), text('word')] })],
    ['a node of an unknown type', doc({ type: 'script', content: [text('word')] })],
    ['text right in the document', doc(text('word'))],
    ['a mark of an unknown type', doc({ type: 'paragraph', content: [text('word', [{ type: 'blink' }, null, 3])] })],
    [
      'a link to a script',
      doc({ type: 'paragraph', content: [text('word', [{ type: 'link', attrs: { href: 'javascript:alert(1)' } }])] }),
    ],
    ['a list without items', doc({ type: 'bulletList' }, { type: 'paragraph', content: [text('word')] })],
    ['a list of text', doc({ type: 'bulletList', content: [text('word')] })],
    [
      'a list of headings',
      doc({
        type: 'orderedList',
        attrs: { start: {} },
        content: [{ type: 'listItem', content: [{ type: 'heading', attrs: { level: 9 }, content: [text('word')] }] }],
      }),
    ],
    [
      'wrong kinds everywhere',
      doc(null, 7, [], { type: 'paragraph', content: [null, { type: 'hardBreak' }, text('word'), text(7)] }),
    ],
    ['another root', { type: 'paragraph', content: [{ type: 'paragraph', content: [text('word')] }] }],
  ]

  test.each(RICH)('with %s renders, and keeps its words', (_name, richText) => {
    const tab = open()
    const editor = makeEditor(tab.store)
    put(tab.doc, page('page'), note('n', '', {}, { richText }))
    const html = renderHtmlFromRichText(editor, shape(tab, 'n').props.richText)
    expect(html).toContain('word')
    expect(html).not.toMatch(/javascript|script|blink/)
    editor.dispose()
  })
})

describe('records that wait for others', () => {
  test('children appear with their parent and go with it', () => {
    const tab = open()
    put(
      tab.doc,
      page('page'),
      GOOD,
      geo('child', { parentId: 'shape:f' }),
      geo('grandchild', { parentId: 'shape:child' }),
    )
    expect(shapeIds(tab)).toEqual(['shape:good'])
    expect(tab.skipped.map(({ id }) => id).sort()).toEqual(['shape:child', 'shape:grandchild'])
    put(tab.doc, frame('f'))
    expect(shapeIds(tab)).toEqual(['shape:child', 'shape:f', 'shape:good', 'shape:grandchild'])
    expect(tab.skipped).toEqual([])
    records(tab.doc).delete('shape:f')
    expect(shapeIds(tab)).toEqual(['shape:good'])
    expect(records(tab.doc).has('shape:child')).toBe(true)
  })

  test('cycles of parents stay away until they are broken', () => {
    const tab = open()
    put(
      tab.doc,
      page('page'),
      GOOD,
      frame('a', { parentId: 'shape:c' }),
      frame('b', { parentId: 'shape:a' }),
      frame('c', { parentId: 'shape:b' }),
    )
    expect(shapeIds(tab)).toEqual(['shape:good'])
    expect(shapeIds(open(tab.doc))).toEqual(['shape:good'])
    put(tab.doc, frame('a'))
    expect(shapeIds(tab)).toEqual(['shape:a', 'shape:b', 'shape:c', 'shape:good'])
    put(tab.doc, frame('a', { parentId: 'shape:c' }))
    expect(shapeIds(tab)).toEqual(['shape:good'])
  })

  test('endless nesting ends, so that nothing recurses without end', () => {
    const tab = open()
    const chain = Array.from({ length: 5000 }, (_, n) =>
      frame(`${n}`, { parentId: n === 0 ? 'page:page' : `shape:${n - 1}` }),
    )
    put(tab.doc, page('page'), GOOD, ...chain)
    healthy(tab)
    expect(shapeIds(tab).length).toBeLessThan(200)
  })

  test('bindings wait for both of their shapes', () => {
    const tab = open()
    put(tab.doc, page('page'), arrow('arrow'), binding('b', 'arrow', 'target'))
    expect(contents(tab)).not.toHaveProperty('binding:b')
    put(tab.doc, geo('target'))
    expect(contents(tab)).toHaveProperty('binding:b')
    records(tab.doc).delete('shape:target')
    expect(contents(tab)).not.toHaveProperty('binding:b')
    expect(records(tab.doc).has('binding:b')).toBe(true)
    expect(tab.skipped).toEqual([])
  })

  test.each([
    ['arrows that hang on each other', [arrow('a'), arrow('b'), binding('ab', 'a', 'b'), binding('ba', 'b', 'a')]],
    [
      'an arrow that hangs on its own group',
      [group('g'), arrow('a', { parentId: 'shape:g' }), geo('c', { parentId: 'shape:g' }), binding('ag', 'a', 'g')],
    ],
    [
      'arrows in two groups that hang on the other one',
      [
        group('g'),
        group('h'),
        arrow('a', { parentId: 'shape:g' }),
        arrow('b', { parentId: 'shape:h' }),
        binding('ah', 'a', 'h'),
        binding('bg', 'b', 'g'),
      ],
    ],
    ['a binding from what is no arrow', [geo('a'), geo('b'), binding('ab', 'a', 'b')]],
  ])('%s do not bind', (_name, hostile) => {
    const tab = open()
    const editor = makeEditor(tab.store)
    put(tab.doc, page('page'), GOOD, ...hostile)
    expect(Object.keys(contents(tab)).filter(id => id.startsWith('binding:'))).toEqual([])
    for (const record of editor.getCurrentPageShapes()) expect(() => editor.getShapePageBounds(record)).not.toThrow()
    editor.dispose()
  })

  test('an arrow still hangs on a group beside it', () => {
    const tab = open()
    put(tab.doc, page('page'), group('g'), geo('c', { parentId: 'shape:g' }), arrow('a'), binding('ag', 'a', 'g'))
    expect(contents(tab)).toHaveProperty('binding:ag')
  })
})

test('everything that is shown has a geometry in an open editor', () => {
  const tab = open()
  const editor = makeEditor(tab.store)
  put(tab.doc, page('page'), ...REPAIRED.map(([, value], n) => ({ ...value, id: `shape:${n}` })))
  put(
    tab.doc,
    geo('cloud', {}, { geo: 'cloud', w: 1e300, h: 1e-300 }),
    arrow('long', {}, { bend: 1e300, end: { x: 1e300, y: 1 } }),
  )
  const shapes = tab.store.allRecords().filter((record): record is TLShape => record.typeName === 'shape')
  expect(shapes).toHaveLength(REPAIRED.length + 2)
  for (const record of shapes) {
    const { width, height } = editor.getShapeGeometry(record).bounds
    expect(Number.isFinite(width + height)).toBe(true)
  }
  editor.dispose()
})

test("a board cannot take a tab's own records away", () => {
  const tab = open()
  put(tab.doc, page('page'), geo('good'))
  const editor = makeEditor(tab.store)
  editor.setCamera({ x: 40, y: 30, z: 2 })
  editor.select('shape:good' as TLShape['id'])
  editor.updateInstanceState({ isGridMode: true })
  for (const id of ['instance:instance', 'pointer:pointer', 'camera:page:page', 'instance_page_state:page:page']) {
    put(tab.doc, { id, typeName: id.slice(0, id.indexOf(':')), meta: {} } as { id: string })
  }
  expect(editor.getCamera()).toMatchObject({ x: 40, y: 30, z: 2 })
  expect(editor.getSelectedShapeIds()).toEqual(['shape:good'])
  expect(editor.getInstanceState().isGridMode).toBe(true)
  editor.dispose()
})
