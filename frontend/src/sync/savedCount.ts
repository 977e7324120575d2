/** The sync frames that the relay counts (L11). */
export type CountedFrame = 'SyncStep2' | 'Update'

/** Every change up to the `changes`th is in frames up to this one. */
interface Checkpoint {
  frame: number
  changes: number
}

/** More frames on their way than this are told apart no longer: a change may then show as saved a little late. */
const CHECKPOINTS_MAX = 1000

/**
 * How many changes made here are not known to be in the board's log (L11; ARCHITECTURE.md, "Saved"). No effects.
 *
 * The relay tells how many of a socket's frames are settled. That says nothing of what was made while there was no socket,
 * or before the log lost something; but a SyncStep2 has all of it, so it is the barrier: nothing counts before it is settled.
 */
export class SavedCount {
  #made: number
  #saved = 0
  #sent = 0
  #settled = 0
  #barrier: number | null = null
  #checkpoints: Checkpoint[] = []
  #trusting = false

  /** `unsaved`: changes of an earlier visit that are kept in this browser alone. */
  constructor(unsaved = 0) {
    this.#made = unsaved
  }

  /** Changes that could be lost with this browser. */
  get unsaved(): number {
    return this.#made - this.#saved
  }

  /** Whether anything was ever changed here. */
  get changed(): boolean {
    return this.#made > 0
  }

  /** Whether all that this document holds is known to be in the log. */
  get allSaved(): boolean {
    return this.#barrier !== null && this.#settled >= this.#sent
  }

  /** A change was made here; to be told before the frame that carries it. */
  change(): void {
    this.#made += 1
  }

  /** Changes that an earlier visit left unsaved turned up in this browser's store. */
  inherit(unsaved: number): void {
    this.#made += unsaved
  }

  /** A socket opened, or the one there was is gone: what was on its way may never have arrived. */
  reset(): void {
    this.#sent = 0
    this.#settled = 0
    this.#trusting = false
    this.#forgetFrames()
  }

  send(frame: CountedFrame): void {
    this.#sent += 1
    if (this.#barrier === null && frame === 'SyncStep2') this.#barrier = this.#sent
    if (this.#barrier !== null) this.#remember({ frame: this.#sent, changes: this.#made })
    if (this.#trusting) this.settle(this.#sent)
  }

  /** The relay says that the first `count` frames of this socket are settled; those before the barrier carry no checkpoint. */
  settle(count: number): void {
    this.#settled = count
    for (let next = this.#checkpoints[0]; next !== undefined && next.frame <= count; next = this.#checkpoints[0]) {
      this.#saved = next.changes
      this.#checkpoints.shift()
    }
  }

  /** The log lost history: whatever was saved may be what it lost. */
  lose(): void {
    this.#saved = 0
    this.#forgetFrames()
  }

  /** This server does not tell what is saved: until the socket ends, take what was sent for saved. */
  trust(): void {
    this.#trusting = true
    this.settle(this.#sent)
  }

  #forgetFrames(): void {
    this.#barrier = null
    this.#checkpoints = []
  }

  #remember(checkpoint: Checkpoint): void {
    if (this.#checkpoints.length >= CHECKPOINTS_MAX) this.#checkpoints.pop()
    this.#checkpoints.push(checkpoint)
  }
}
