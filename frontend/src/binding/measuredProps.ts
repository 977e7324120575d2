import { isEqual, type TLRecord } from 'tldraw'

/** What an editor measures in its own fonts and agents leave at 0. */
export const MEASURES = ['growY', 'fontSizeAdjustment'] as const
/** What they are measured from. */
const MEASURED_FROM = ['richText', 'font', 'size', 'scale', 'w', 'h']

function propsOf(record: TLRecord): Record<string, unknown> {
  return record.typeName === 'shape' ? (record.props as Record<string, unknown>) : {}
}

/**
 * The document had `before` and has `next` now; this tab shows `current`. Gives `next` with what this tab alone has
 * measured, where nothing changed that it depends on.
 */
export function keepMeasures(current: TLRecord, before: TLRecord, next: TLRecord): TLRecord {
  const [shown, old, props] = [propsOf(current), propsOf(before), propsOf(next)]
  const kept = MEASURES.filter(key => props[key] === 0 && old[key] === 0 && shown[key] !== 0 && key in shown)
  if (kept.length === 0 || MEASURED_FROM.some(key => !isEqual(shown[key], props[key]))) return next
  return { ...next, props: { ...props, ...Object.fromEntries(kept.map(key => [key, shown[key]])) } } as TLRecord
}
