import { type Editor, react, type TLRecord, type TLShape, type TLShapeId, unsafe__withoutCapture } from 'tldraw'
import { MEASURES } from './measuredProps'
import { quietly } from './quietly'

/** To measure a text takes the layout of a page: so many milliseconds at a time, then the editor has its turn. */
export const SLICE_MS = 6

interface Measured {
  growY?: number
  fontSizeAdjustment?: number
  richText?: { content: { content?: unknown }[] }
}

/** Whether nobody has measured a text yet: agents cannot, and tldraw does so only for its own person's edits. */
function isUnmeasured(shape: TLShape): boolean {
  const props = shape.props as Measured
  const hasText = props.richText?.content.some(block => block.content !== undefined) ?? false
  return hasText && props.growY === 0 && (props.fontSizeAdjustment ?? 0) === 0
}

function measured(editor: Editor, shape: TLShape): TLShape | undefined {
  // A copy: for this very object tldraw remembers what it measured, maybe before the fonts were there.
  const fitted = editor.getShapeUtil(shape).onBeforeCreate?.({ ...shape })
  if (!fitted) return undefined
  const props = fitted.props as Record<string, unknown>
  const measures = Object.fromEntries(MEASURES.filter(key => key in props).map(key => [key, props[key]]))
  return { ...shape, props: { ...shape.props, ...measures } }
}

/**
 * Lets shapes of the open page grow with texts that came unmeasured, as soon as their fonts are there. What this tab
 * measures stays in it: others have other fonts. Returns how to stop.
 */
export function keepMeasured(editor: Editor): () => void {
  const waiting = new Set<TLShapeId>()
  const looked = new WeakSet<object>()
  let timer: ReturnType<typeof setTimeout> | undefined
  let busy = false
  let stopped = false

  function add(record: TLRecord): void {
    if (record.typeName !== 'shape' || looked.has(record.props) || !isUnmeasured(record)) return
    waiting.add(record.id)
    if (!busy) void begin()
  }

  async function begin(): Promise<void> {
    busy = true
    // Whatever comes in this turn comes along.
    await Promise.resolve()
    const faces = new Set([...waiting].flatMap(id => (stopped ? [] : editor.fonts.getShapeFontFaces(id))))
    await Promise.all([...faces].map(face => editor.fonts.ensureFontIsLoaded(face)))
    if (!stopped) slice()
  }

  function slice(): void {
    const until = performance.now() + SLICE_MS
    const onPage = editor.getCurrentPageShapeIds()
    const fitted: TLShape[] = []
    for (const id of waiting) {
      waiting.delete(id)
      const shape = onPage.has(id) ? editor.getShape(id) : undefined
      if (shape === undefined || !isUnmeasured(shape)) continue
      const result = measured(editor, shape)
      looked.add((result ?? shape).props)
      if (result !== undefined) fitted.push(result)
      if (performance.now() > until) break
    }
    if (fitted.length > 0) quietly(editor.store, () => editor.store.put(fitted))
    busy = waiting.size > 0
    if (busy) timer = setTimeout(slice)
  }

  const stopListening = editor.store.listen(
    ({ changes }) => {
      for (const record of Object.values(changes.added)) add(record)
      for (const [, record] of Object.values(changes.updated)) add(record)
    },
    { scope: 'document' },
  )
  const stopPages = react('measure the open page', () => {
    editor.getCurrentPageId()
    unsafe__withoutCapture(() => {
      for (const shape of editor.getCurrentPageShapes()) add(shape)
    })
  })

  return () => {
    stopped = true
    clearTimeout(timer)
    stopListening()
    stopPages()
  }
}
