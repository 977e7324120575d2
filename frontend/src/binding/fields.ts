import { defaultBindingUtils, defaultShapeUtils, T } from 'tldraw'
import { isPlainObject, type Plain } from './plain'

/** What a property must pass, and what stands in where it cannot be repaired (undefined: nothing can). */
export interface Field {
  validator: T.Validatable<unknown>
  fallback: Plain | undefined
}

export type Fields = ReadonlyMap<string, Field>

function fields(validators: Record<string, T.Validatable<unknown>>, defaults: object): Fields {
  return new Map(
    Object.entries(validators).map(([key, validator]) => {
      const fallback = (defaults as Record<string, Plain>)[key]
      return [key, { validator, fallback }]
    }),
  )
}

interface Util {
  type: string
  props?: object
  new (editor: never): { getDefaultProps(): object }
}

/** The defaults are the shape's own; none of tldraw's asks the editor for them. */
function ofUtils(utils: readonly Util[]): Map<string, Fields> {
  return new Map(
    utils.map(Util => {
      const validators = (Util.props ?? {}) as Record<string, T.Validatable<unknown>>
      return [Util.type, fields(validators, new Util(null as never).getDefaultProps())]
    }),
  )
}

export const SHAPE_PROPS = ofUtils(defaultShapeUtils).set('group', new Map())
export const BINDING_PROPS = ofUtils(defaultBindingUtils)

const FILE = {
  w: T.number,
  h: T.number,
  name: T.string,
  isAnimated: T.boolean,
  mimeType: T.string.nullable(),
  src: T.srcUrl.nullable(),
}
const FILE_DEFAULTS = { w: 100, h: 100, name: '', isAnimated: false, mimeType: null, src: null }

export const ASSET_PROPS = new Map<string, Fields>([
  ['image', fields({ ...FILE, fileSize: T.nonZeroNumber.optional() }, FILE_DEFAULTS)],
  ['video', fields({ ...FILE, fileSize: T.number.optional() }, FILE_DEFAULTS)],
  [
    'bookmark',
    fields(
      { title: T.string, description: T.string, image: T.srcUrl, favicon: T.srcUrl, src: T.srcUrl.nullable() },
      { title: '', description: '', image: '', favicon: '', src: null },
    ),
  ],
])

/** tldraw's own validator takes any JSON, but what uses it expects an object. */
const META: Field = {
  validator: T.jsonValue.check(value => {
    if (!isPlainObject(value)) throw new T.ValidationError('Expected an object')
  }),
  fallback: {},
}
const ID: Field = { validator: T.string, fallback: undefined }

export const SHAPE: Fields = new Map([
  ['x', { validator: T.number, fallback: 0 }],
  ['y', { validator: T.number, fallback: 0 }],
  ['rotation', { validator: T.number, fallback: 0 }],
  ['parentId', ID],
  ['isLocked', { validator: T.boolean, fallback: false }],
  ['opacity', { validator: T.number, fallback: 1 }],
  ['meta', META],
])
export const BINDING: Fields = new Map([
  ['fromId', ID],
  ['toId', ID],
  ['meta', META],
])
export const ASSET: Fields = new Map([['meta', META]])
export const PAGE: Fields = new Map([
  ['name', { validator: T.string, fallback: 'Page' }],
  ['meta', META],
])
export const DOCUMENT: Fields = new Map([
  ['gridSize', { validator: T.number, fallback: 10 }],
  ['name', { validator: T.string, fallback: '' }],
  ['meta', META],
])

/**
 * The validators take any finite number, but what draws a shape takes time and memory in proportion to its size: an arrow
 * of a length of 1e9 takes all memory there is. Only what is too much is brought in; what is too little falls back.
 */
export const RANGES: ReadonlyMap<string, readonly [number, number]> = new Map([
  ['x', [-1e6, 1e6]],
  ['y', [-1e6, 1e6]],
  ['rotation', [-1e6, 1e6]],
  ['opacity', [0, 1]],
  ['w', [-1, 1e5]],
  ['h', [-1, 1e5]],
  ['growY', [0, 1e5]],
  ['fontSizeAdjustment', [0, 1000]],
  ['scale', [-1, 1000]],
  ['bend', [-1e5, 1e5]],
  ['labelPosition', [0, 1]],
  ['elbowMidPoint', [0, 1]],
  ['gridSize', [1, 1000]],
])
