import { T, type TLRichText, toRichText } from 'tldraw'
import { isPlainObject, type Plain, type PlainObject, Unreadable } from './plain'

/** Text beyond it would be measured for seconds in every open tab. */
export const TEXT_CHARACTERS_MAX = 100_000

const MARKS = new Set(['bold', 'italic', 'strike', 'code', 'link', 'highlight'])
const TEXT_BLOCKS = new Set(['paragraph', 'heading'])
const LISTS = new Set(['bulletList', 'orderedList'])
/** Deeper lists become paragraphs: with them the relay would refuse the whole update. */
const LISTS_DEEP_MAX = 5

function items(value: Plain | undefined): PlainObject[] {
  return Array.isArray(value) ? value.filter(isPlainObject) : []
}

/** A node with the attributes that have simple values; an editor ignores those that it does not know. */
function node(source: PlainObject, content?: PlainObject[]): PlainObject {
  const result: PlainObject = { type: source.type as string }
  if (isPlainObject(source.attrs)) {
    result.attrs = Object.fromEntries(
      Object.entries(source.attrs).filter(([, value]) => value === null || typeof value !== 'object'),
    )
  }
  if (content !== undefined && content.length > 0) result.content = content
  return result
}

function marks(source: PlainObject): PlainObject[] {
  const byType = new Map<string, PlainObject>()
  for (const mark of items(source.marks)) {
    if (typeof mark.type !== 'string' || !MARKS.has(mark.type)) continue
    if (mark.type === 'link' && !(isPlainObject(mark.attrs) && T.linkUrl.isValid(mark.attrs.href))) continue
    byType.set(mark.type, node(mark))
  }
  return [...byType.values()]
}

/** Text nodes and line breaks anywhere below; an empty text node would crash the whole editor. */
function inline(source: PlainObject): PlainObject[] {
  if (source.type === 'hardBreak') return [node(source)]
  if (source.type !== 'text') return items(source.content).flatMap(inline)
  if (typeof source.text !== 'string' || source.text === '') return []
  const own = marks(source)
  return [{ type: 'text', text: source.text, ...(own.length > 0 && { marks: own }) }]
}

function paragraph(content: PlainObject[]): PlainObject {
  return node({ type: 'paragraph' }, content)
}

function listItem(source: PlainObject, depth: number): PlainObject[] {
  const content = source.type === 'listItem' ? items(source.content) : [source]
  const [first = paragraph([]), ...rest] = content.flatMap(child => block(child, depth))
  // A list item must begin with a paragraph.
  const sound = first.type === 'paragraph' ? [first, ...rest] : [paragraph([]), first, ...rest]
  return [node({ ...source, type: 'listItem' }, sound)]
}

function block(source: PlainObject, lists = 0): PlainObject[] {
  const type = source.type
  if (typeof type === 'string' && TEXT_BLOCKS.has(type)) return [node(source, items(source.content).flatMap(inline))]
  if (typeof type === 'string' && LISTS.has(type) && lists < LISTS_DEEP_MAX) {
    const content = items(source.content).flatMap(item => listItem(item, lists + 1))
    return content.length > 0 ? [node(source, content)] : []
  }
  const inner = items(source.content)
  if (type === 'text' || type === 'hardBreak' || inner.every(child => child.type === 'text')) {
    const content = inline(source)
    return content.length > 0 ? [paragraph(content)] : []
  }
  return inner.flatMap(child => block(child, lists))
}

function characters(source: PlainObject): number {
  const own = typeof source.text === 'string' ? source.text.length : 0
  return items(source.content).reduce((sum, child) => sum + characters(child), own)
}

/** Rich text that tldraw's text editor takes, with all of the words; it renders nothing at all after one bad node. */
export function repairRichText(value: Plain | undefined): TLRichText {
  if (typeof value === 'string') {
    if (value.length > TEXT_CHARACTERS_MAX) throw new Unreadable('its text is too long')
    return toRichText(value)
  }
  if (!isPlainObject(value)) return toRichText('')
  if (characters(value) > TEXT_CHARACTERS_MAX) throw new Unreadable('its text is too long')
  const content = items(value.content).flatMap(child => block(child))
  return { type: 'doc', content: content.length > 0 ? content : [paragraph([])] }
}
