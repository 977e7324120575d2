import type { Editor } from 'tldraw'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { keepMeasured } from '../../src/binding/measure'
import { bytes, geo, type Loose, makeEditor, note, open, page, put, records, shape, type Tab } from './boards'

const LONG = 'long '.repeat(100)

let tab: Tab
let editor: Editor
let stop: () => void
let fontsLoaded: () => void
let measurements = 0

function started(...list: Loose[]): void {
  tab = open()
  put(tab.doc, page('page'), ...list)
  editor = makeEditor(tab.store)
  measurements = 0
  // jsdom has no layout: a text is as high as it is long.
  editor.textMeasure.measureHtml = (html: string) => {
    measurements++
    return { x: 0, y: 0, w: 100, h: html.length, scrollWidth: 100 }
  }
  const fonts = new Promise<void>(resolve => {
    fontsLoaded = resolve
  })
  editor.fonts.ensureFontIsLoaded = () => fonts
  stop = keepMeasured(editor)
}

async function settled(): Promise<void> {
  fontsLoaded()
  await vi.advanceTimersByTimeAsync(1000)
}

beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] }))
afterEach(() => {
  stop()
  editor.dispose()
  vi.useRealTimers()
})

test('long texts of others grow their shapes once the fonts are there, and nothing is written', async () => {
  started(note('n', LONG), geo('g', {}, { richText: note('x', LONG).props.richText }))
  const before = bytes(tab.doc)
  await vi.advanceTimersByTimeAsync(1000)
  expect(shape(tab, 'n').props.growY).toBe(0)
  await settled()
  expect(shape(tab, 'n').props.growY).toBeGreaterThan(100)
  expect(shape(tab, 'n').props.fontSizeAdjustment).toBeGreaterThan(0)
  expect(shape(tab, 'g').props.growY).toBeGreaterThan(100)
  expect(bytes(tab.doc)).toBe(before)
  expect(editor.getCanUndo()).toBe(false)
})

test('what comes later is measured too, and again when its text changes', async () => {
  started()
  put(tab.doc, note('n', LONG))
  await settled()
  const { growY } = shape(tab, 'n').props
  put(tab.doc, note('n', LONG, { x: 50 }))
  expect(shape(tab, 'n')).toMatchObject({ x: 50, props: { growY } })
  put(tab.doc, note('n', LONG + LONG))
  await settled()
  expect(shape(tab, 'n').props.growY).toBeGreaterThan(growY)
})

test('a person’s own edit of another property leaves the measures unwritten', async () => {
  started(note('n', LONG))
  await settled()
  editor.updateShape({ id: shape(tab, 'n').id, type: 'note', x: 9 })
  expect(records(tab.doc).get('shape:n')).toEqual(note('n', LONG, { x: 9 }))
})

test('undo of an edit on a measured shape keeps the edits of others', async () => {
  started(note('n', LONG))
  await settled()
  editor.markHistoryStoppingPoint()
  editor.updateShape({ id: shape(tab, 'n').id, type: 'note', props: { color: 'red' } })
  put(tab.doc, note('n', LONG, { x: 33 }, { color: 'red' }))
  editor.undo()
  tab.binding.flush()
  expect(records(tab.doc).get('shape:n')).toEqual(note('n', LONG, { x: 33 }, { color: 'black' }))
})

test('shapes without text, measured ones and those of other pages cost nothing', async () => {
  started(
    page('other', { index: 'a2' }),
    note('empty', ''),
    geo('plain'),
    note('measured', LONG, {}, { growY: 5, fontSizeAdjustment: 22 }),
    note('elsewhere', LONG, { parentId: 'page:other' }),
  )
  await settled()
  expect(measurements).toBe(0)
  editor.setCurrentPage('page:other' as Loose)
  await settled()
  expect(shape(tab, 'elsewhere').props.growY).toBeGreaterThan(100)
})

test('a text that fits is measured once', async () => {
  started(geo('g', {}, { h: 1e5, richText: note('x', 'short').props.richText }))
  await settled()
  const once = measurements
  put(tab.doc, geo('other', { x: 4 }))
  editor.updateShape({ id: shape(tab, 'g').id, type: 'geo', x: 9 })
  await settled()
  expect(measurements).toBe(once)
})

test('many are measured in slices', async () => {
  started(...Array.from({ length: 60 }, (_, n) => note(`${n}`, LONG)))
  const original = editor.textMeasure.measureHtml
  editor.textMeasure.measureHtml = (...args) => {
    vi.advanceTimersByTime(1)
    return original(...args)
  }
  let puts = 0
  editor.store.listen(() => puts++, { source: 'remote' })
  await settled()
  expect(puts).toBeGreaterThan(5)
  expect(shape(tab, '59').props.growY).toBeGreaterThan(100)
})

test('after stopping nothing is measured', async () => {
  started(note('n', LONG))
  stop()
  await settled()
  put(tab.doc, note('m', LONG))
  await settled()
  expect(measurements).toBe(0)
  expect(vi.getTimerCount()).toBe(0)
})

test('what was measured before the fonts were there is measured again', async () => {
  started(note('n', 'some text'))
  const measureHtml = editor.textMeasure.measureHtml
  editor.textMeasure.measureHtml = () => ({ x: 0, y: 0, w: 100, h: 5000, scrollWidth: 100 })
  editor.getShapeUtil('note').onBeforeCreate?.(shape(tab, 'n')) // as tldraw does to draw it
  editor.textMeasure.measureHtml = measureHtml
  await settled()
  expect(shape(tab, 'n').props.growY).toBe(0)
})
