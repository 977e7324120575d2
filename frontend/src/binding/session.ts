import type { TLInstancePageState, TLRecord, TLShapeId, TLStore } from 'tldraw'
import { PARENTS_MAX } from './standing'

type Keep = (id: TLShapeId) => boolean

function without(state: TLInstancePageState, keep: Keep): TLInstancePageState {
  const all = (ids: TLShapeId[]) => (ids.every(keep) ? ids : ids.filter(keep))
  const one = (id: TLShapeId | null) => (id !== null && keep(id) ? id : null)
  return {
    ...state,
    selectedShapeIds: all(state.selectedShapeIds),
    hintingShapeIds: all(state.hintingShapeIds),
    erasingShapeIds: all(state.erasingShapeIds),
    hoveredShapeId: one(state.hoveredShapeId),
    editingShapeId: one(state.editingShapeId),
    croppingShapeId: one(state.croppingShapeId),
    focusedGroupId: one(state.focusedGroupId),
  }
}

/** Let go, in this tab, of selected and edited shapes that are about to leave their page: tools may rely on them. */
export function letGo(store: TLStore, puts: readonly TLRecord[], removes: readonly TLRecord['id'][]): void {
  const gone = new Set<string>(removes)
  const next = new Map<string, TLRecord>(puts.map(record => [record.id, record]))
  const isMove = (record: TLRecord) => {
    const before = store.get(record.id)
    return record.typeName === 'shape' && before?.typeName === 'shape' && before.parentId !== record.parentId
  }
  if (gone.size === 0 && !puts.some(isMove)) return
  const staysOn = (page: string) => (id: TLShapeId) => {
    let at: string = id
    for (let i = 0; i <= PARENTS_MAX && at !== page; i++) {
      const record = gone.has(at) ? undefined : (next.get(at) ?? store.get(at as TLShapeId))
      if (record?.typeName !== 'shape') return false
      at = record.parentId
    }
    return at === page
  }
  const states = store.query.records('instance_page_state').get()
  const changed = states
    .map(state => [state, without(state, staysOn(state.pageId))] as const)
    .filter(([before, after]) =>
      Object.keys(before).some(
        key => before[key as keyof TLInstancePageState] !== after[key as keyof TLInstancePageState],
      ),
    )
  if (changed.length > 0) store.mergeRemoteChanges(() => store.put(changed.map(([, after]) => after)))
}
