import * as idb from 'lib0/indexeddb'
import { offlineName } from './offlineName'

/** Delete a board's copy in this browser, with the changes that were never sent. */
export async function forgetOffline(board: string, key: string): Promise<void> {
  if (typeof indexedDB !== 'undefined') await idb.deleteDB(offlineName(board, key)).catch(() => {})
}
