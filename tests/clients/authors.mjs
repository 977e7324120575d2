// Real updates: three documents that edit every kind of content at once and hear of each other now and then.
import * as Y from 'yjs'

/** Numbers in [0, 1) from a seed (mulberry32). */
const numbersFrom = (seed) => () => {
  seed = (seed + 0x6D2B79F5) | 0
  let t = Math.imul(seed ^ (seed >>> 15), 1 | seed)
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
  return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
}

const TEXTS = ['a', 'hello world', 'é', '😀', 'x😀y😀z', '\ufeff', 'long '.repeat(40)]

const record = (chance, below) => ({
  id: `shape:${below(6)}`,
  typeName: 'shape',
  type: 'geo',
  x: Math.round(chance() * 1e6) / 1e3,
  y: below(2000) - 1000,
  rotation: 0,
  index: `a${below(9)}`,
  parentId: 'page:page',
  isLocked: chance() < 0.1,
  opacity: 1,
  props: { w: below(500), h: 1e21, richText: { type: 'doc', content: [{ type: 'text', text: '😀'.repeat(below(3)) }] } },
  meta: { nothing: null }
})

const values = (chance, below) => [
  () => below(100), () => -70000, () => 2.5, () => 2 ** 40, () => true, () => null, () => undefined, () => 12345678901234567890n,
  () => TEXTS[below(TEXTS.length)], () => ({ a: [1, { b: 'c' }], é: '' }), () => new Uint8Array([255, 0]), () => [],
  () => new Y.Map([['q', 1], ['t', new Y.Text('deep')]]), () => Y.Array.from([1, 'two']), () => new Y.Text('inner'),
  () => new Y.Doc({ guid: `sub-${below(9)}`, autoLoad: chance() < 0.5 }), () => new Y.XmlElement('p')
]

const edits = (doc, chance, below) => {
  const any = () => { const of = values(chance, below); return of[below(of.length)]() }
  const [records, map, array, text, xml] =
    [doc.getMap('tldraw'), doc.getMap('m'), doc.getArray('a'), doc.getText('t'), doc.getXmlFragment('x')]
  const nested = () => [...map.values()].find((value) => value instanceof Y.Map)
  return [
    () => records.set(`shape:${below(6)}`, record(chance, below)),
    () => records.delete(`shape:${below(6)}`),
    () => map.set(`k${below(5)}`, any()),
    () => map.delete(`k${below(5)}`),
    () => nested()?.set(`i${below(3)}`, any()),
    () => {
      const value = any()
      // An array takes neither undefined nor a bigint.
      array.insert(below(array.length + 1), [value === undefined || typeof value === 'bigint' ? null : value, below(9)])
    },
    () => array.length && array.delete(below(array.length), 1),
    () => text.insert(below(text.length + 1), TEXTS[below(TEXTS.length)]),
    () => text.length && text.delete(below(text.length), 1 + below(2)),
    () => text.length && text.format(below(text.length), 1, { bold: [true, null, { deep: '😀' }][below(3)] }),
    () => text.insertEmbed(below(text.length + 1), { image: 'x' }),
    () => {
      const element = new Y.XmlElement('p')
      element.setAttribute('class', 'c')
      element.insert(0, [new Y.XmlText('in 😀'), new Y.XmlElement('br')])
      xml.insert(below(xml.length + 1), [element])
    },
    () => xml.length && xml.delete(below(xml.length), 1)
  ]
}

/** Return the updates of a session, in the order in which they were made: each can be applied after those before it. */
export const session = (seed, steps) => {
  const chance = numbersFrom(seed)
  const below = (limit) => Math.floor(chance() * limit)
  const updates = []
  const docs = [0, 1, 2].map((number) => {
    const doc = new Y.Doc({ gc: number !== 1 })
    doc.clientID = [number + 10, 1 + below(2 ** 32), 1 + Math.floor(chance() * (2 ** 53 - 1))][below(3)]
    doc.on('update', (update, origin) => { if (origin !== 'heard') updates.push(update) })
    return { doc, heard: 0 }
  })
  for (let step = 0; step < steps; step++) {
    const author = docs[below(docs.length)]
    if (chance() < 0.6) {
      while (author.heard < updates.length) Y.applyUpdate(author.doc, updates[author.heard++], 'heard')
    }
    const possible = edits(author.doc, chance, below)
    author.doc.transact(() => {
      for (let count = 1 + below(3); count > 0; count--) possible[below(possible.length)]()
    })
  }
  return updates
}
