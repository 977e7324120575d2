import type { TLStore } from 'tldraw'

/**
 * Change the store as others did in the document: not undoable, not written, and without the editor's reactions. Those
 * are for the tab in which a person acts; here they would count as this person's own edits, be undoable and written
 * once more by every open tab, and throw over two shapes of equal index.
 */
export function quietly(store: TLStore, change: () => void): void {
  store.mergeRemoteChanges(() => {
    // Not in tldraw's public types, though it is how its own loading does it. Set back by the end of the merge.
    ;(store.sideEffects as unknown as { setIsEnabled(enabled: boolean): void }).setIsEnabled(false)
    change()
  })
}
