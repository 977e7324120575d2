/** A record of the board that this canvas cannot show, and why. */
export interface SkippedRecord {
  id: string
  reason: string
}

export const SKIPPED_SHOWN_MAX = 100

/** The records that cannot be shown, told only when the telling changes. */
export class Skipped {
  readonly #reasons = new Map<string, string>()
  readonly #tell: (skipped: readonly SkippedRecord[], count: number) => void
  #changed = false

  constructor(tell: (skipped: readonly SkippedRecord[], count: number) => void) {
    this.#tell = tell
  }

  set(id: string, reason: string | undefined): void {
    if (this.#reasons.get(id) === reason) return
    this.#changed = true
    if (reason === undefined) this.#reasons.delete(id)
    else this.#reasons.set(id, reason)
  }

  tell(): void {
    if (!this.#changed) return
    this.#changed = false
    const shown: SkippedRecord[] = []
    for (const [id, reason] of this.#reasons) {
      if (shown.length === SKIPPED_SHOWN_MAX) break
      shown.push({ id: id.slice(0, 100), reason: reason.slice(0, 300) })
    }
    this.#tell(shown, this.#reasons.size)
  }
}
