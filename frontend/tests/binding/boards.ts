import {
  createTLStore,
  defaultAddFontsFromNode,
  defaultBindingUtils,
  defaultShapeTools,
  defaultShapeUtils,
  defaultTools,
  Editor,
  type TLRecord,
  type TLShape,
  type TLShapeId,
  type TLStore,
  tipTapDefaultExtensions,
  toRichText,
} from 'tldraw'
import * as Y from 'yjs'
import { type Binding, bindStore, type SkippedRecord } from '../../src/binding/bindStore'
import { indexKeyFor } from '../../src/binding/indexKeys'

// biome-ignore lint/suspicious/noExplicitAny: tests change records in every wrong way
export type Loose = any

// tldraw's own types disagree about these under exactOptionalPropertyTypes.
const UTILS = { shapeUtils: defaultShapeUtils as Loose, bindingUtils: defaultBindingUtils as Loose }

export function makeStore(): TLStore {
  return createTLStore(UTILS)
}

export interface Tab {
  doc: Y.Doc
  store: TLStore
  binding: Binding
  skipped: readonly SkippedRecord[]
  skippedCount: number
  statuses: string[]
}

/** One open tab: a document, a store and the binding between them. */
export function open(doc = new Y.Doc(), { readOnly = false, store = makeStore() } = {}): Tab {
  const tab: Omit<Tab, 'binding'> = { doc, store, skipped: [], skippedCount: 0, statuses: [] }
  const binding = bindStore({
    doc,
    store,
    readOnly,
    onStatus: status => tab.statuses.push(status),
    onSkipped: (skipped, count) => Object.assign(tab, { skipped, skippedCount: count }),
  })
  return Object.assign(tab, { binding })
}

/** Keep documents equal, without a network in between. */
export function connect(...docs: Y.Doc[]): void {
  for (const from of docs) {
    from.on('update', (update: Uint8Array, origin: unknown) => {
      if (origin !== 'network') for (const to of docs) if (to !== from) Y.applyUpdate(to, update, 'network')
    })
  }
}

export function records(doc: Y.Doc): Y.Map<unknown> {
  return doc.getMap('tldraw')
}

export function put(doc: Y.Doc, ...list: { id: string }[]): void {
  doc.transact(() => {
    for (const record of list) records(doc).set(record.id, record)
  })
}

export function bytes(doc: Y.Doc): string {
  return Buffer.from(Y.encodeStateAsUpdate(doc)).toString('base64')
}

const BASE = {
  typeName: 'shape',
  rotation: 0,
  isLocked: false,
  opacity: 1,
  parentId: 'page:page',
  meta: {},
}

/** Siblings have keys of their own. */
function shapeId(id: string) {
  return { id: `shape:${id}`, index: indexKeyFor(`shape:${id}`) }
}

export function geo(id: string, changes: object = {}, props: object = {}): Loose {
  return {
    ...BASE,
    ...shapeId(id),
    type: 'geo',
    x: 0,
    y: 0,
    props: {
      geo: 'rectangle',
      dash: 'draw',
      url: '',
      w: 100,
      h: 100,
      growY: 0,
      scale: 1,
      labelColor: 'black',
      color: 'black',
      fill: 'none',
      size: 'm',
      font: 'draw',
      align: 'middle',
      verticalAlign: 'middle',
      richText: toRichText(''),
      ...props,
    },
    ...changes,
  }
}

export function note(id: string, text: string, changes: object = {}, props: object = {}): Loose {
  return {
    ...BASE,
    ...shapeId(id),
    type: 'note',
    x: 0,
    y: 0,
    props: {
      color: 'black',
      labelColor: 'black',
      size: 'm',
      font: 'draw',
      fontSizeAdjustment: 0,
      align: 'middle',
      verticalAlign: 'middle',
      growY: 0,
      url: '',
      richText: toRichText(text),
      scale: 1,
      ...props,
    },
    ...changes,
  }
}

export function frame(id: string, changes: object = {}): Loose {
  return {
    ...BASE,
    ...shapeId(id),
    type: 'frame',
    x: 0,
    y: 0,
    props: { w: 320, h: 180, name: '', color: 'black' },
    ...changes,
  }
}

export function group(id: string, changes: object = {}): Loose {
  return { ...BASE, id: `shape:${id}`, type: 'group', x: 0, y: 0, props: {}, ...changes }
}

export function arrow(id: string, changes: object = {}, props: object = {}): Loose {
  return {
    ...BASE,
    ...shapeId(id),
    type: 'arrow',
    x: 0,
    y: 0,
    props: {
      kind: 'arc',
      elbowMidPoint: 0.5,
      dash: 'draw',
      size: 'm',
      fill: 'none',
      color: 'black',
      labelColor: 'black',
      bend: 0,
      start: { x: 0, y: 0 },
      end: { x: 200, y: 0 },
      arrowheadStart: 'none',
      arrowheadEnd: 'arrow',
      text: '',
      labelPosition: 0.5,
      font: 'draw',
      scale: 1,
      ...props,
    },
    ...changes,
  }
}

export function binding(id: string, fromId: string, toId: string, terminal = 'end'): Loose {
  return {
    id: `binding:${id}`,
    typeName: 'binding',
    type: 'arrow',
    fromId: `shape:${fromId}`,
    toId: `shape:${toId}`,
    meta: {},
    props: { terminal, normalizedAnchor: { x: 0.5, y: 0.5 }, isExact: false, isPrecise: false, snap: 'none' },
  }
}

export function draw(id: string, points: number, isComplete: boolean): Loose {
  return {
    ...BASE,
    ...shapeId(id),
    type: 'draw',
    x: 0,
    y: 0,
    props: {
      segments: [{ type: 'free', points: Array.from({ length: points }, (_, n) => ({ x: n, y: n % 7, z: 0.5 })) }],
      color: 'black',
      fill: 'none',
      dash: 'draw',
      size: 'm',
      isComplete,
      isClosed: false,
      isPen: false,
      scale: 1,
    },
  }
}

export function page(id: string, changes: object = {}): Loose {
  return { id: `page:${id}`, typeName: 'page', name: 'Page', index: 'a1', meta: {}, ...changes }
}

export function imageAsset(id: string, props: object = {}): Loose {
  return {
    id: `asset:${id}`,
    typeName: 'asset',
    type: 'image',
    meta: {},
    props: { w: 64, h: 64, name: 'i.png', isAnimated: false, mimeType: 'image/png', src: '/v1/i.png', ...props },
  }
}

export function image(id: string, props: object = {}): Loose {
  return {
    ...BASE,
    ...shapeId(id),
    type: 'image',
    x: 0,
    y: 0,
    props: {
      w: 64,
      h: 64,
      playing: true,
      url: '',
      assetId: null,
      crop: null,
      flipX: false,
      flipY: false,
      altText: '',
      ...props,
    },
  }
}

export function shape(tab: { store: TLStore }, id: string): Loose {
  return tab.store.get(`shape:${id}` as TLShapeId)
}

export function shapeIds(tab: { store: TLStore }): string[] {
  return tab.store
    .allRecords()
    .filter((record): record is TLShape => record.typeName === 'shape')
    .map(record => record.id)
    .sort()
}

/** The store's part of the board, by id. */
export function contents(tab: { store: TLStore }): Record<string, TLRecord> {
  return tab.store.serialize('document')
}

export function makeEditor(store: TLStore): Editor {
  window.matchMedia ??= () => ({ matches: false, addEventListener() {}, removeEventListener() {} }) as Loose
  globalThis.ResizeObserver ??= class {
    observe() {}
    unobserve() {}
    disconnect() {}
  }
  Object.defineProperty(document, 'fonts', {
    value: { add() {}, delete() {}, [Symbol.iterator]: () => [][Symbol.iterator]() },
    configurable: true,
  })
  const container = document.createElement('div')
  document.body.append(container)
  return new Editor({
    store,
    ...UTILS,
    tools: [...defaultTools, ...defaultShapeTools],
    getContainer: () => container,
    textOptions: {
      tipTapConfig: { extensions: tipTapDefaultExtensions },
      addFontsFromNode: defaultAddFontsFromNode,
    },
  })
}
