import { invariant } from '../core/invariant.js'

/** What a write turned out to be. `refused`: it has not happened and will not. */
export type WriteOutcome = 'acknowledged' | 'refused' | 'unknown'

/** One request of the load: new keys `from` to `to` (not included), and possibly the next version of a counter. */
export interface LoadWrite {
  readonly from: number
  readonly to: number
  readonly counter: number | undefined
  readonly version: number
}

/** What is known of a key that is written once. */
export const keyStates = { open: 0, acknowledged: 1, refused: 2, unknown: 3 } as const
type KeyState = (typeof keyStates)[keyof typeof keyStates]

export interface CounterState {
  /** Highest version that was acknowledged. */
  readonly acknowledged: number
  /** Highest version that was ever sent. */
  readonly sent: number
  /** Versions that were refused for good: they must not be there. */
  readonly refused: ReadonlySet<number>
}

interface Counter extends CounterState {
  acknowledged: number
  sent: number
  readonly refused: Set<number>
  busy: boolean
}

/**
 * What became of every write of a load. Keys that are written once take one byte each; counters are keys that are
 * overwritten with growing versions, each by one writer at a time, so that an update that was lost is seen.
 */
export class LoadLedger {
  readonly counts = { acknowledged: 0, refused: 0, unknown: 0 }
  /** Batches of unknown outcome: all of their keys are there or none. */
  readonly unknownBatches: LoadWrite[] = []
  private states = new Uint8Array(1024)
  private keyCount = 0
  private readonly counterList: Counter[]

  constructor(counterCount: number) {
    this.counterList = Array.from({ length: counterCount }, () => ({
      acknowledged: 0,
      sent: 0,
      refused: new Set<number>(),
      busy: false,
    }))
  }

  /** How many keys were begun; they are numbered from 0. */
  get keys(): number {
    return this.keyCount
  }

  get counters(): readonly CounterState[] {
    return this.counterList
  }

  stateOf(key: number): KeyState {
    return this.states[key] as KeyState
  }

  /** Takes the next keys; with `counter` also the next version of that counter, if nobody is writing it now. */
  begin(keyCount: number, counter?: number): LoadWrite {
    const from = this.keyCount
    this.keyCount += keyCount
    if (this.keyCount > this.states.length) {
      const grown = new Uint8Array(2 * this.keyCount)
      grown.set(this.states)
      this.states = grown
    }
    const chosen = counter === undefined ? undefined : this.counterList[counter]
    if (chosen === undefined || chosen.busy) return { from, to: this.keyCount, counter: undefined, version: 0 }
    chosen.busy = true
    chosen.sent += 1
    return { from, to: this.keyCount, counter, version: chosen.sent }
  }

  end(write: LoadWrite, outcome: WriteOutcome): void {
    this.states.fill(keyStates[outcome], write.from, write.to)
    const keys = write.to - write.from
    this.counts[outcome] += keys + (write.counter === undefined ? 0 : 1)
    if (outcome === 'unknown' && keys + (write.counter === undefined ? 0 : 1) > 1) this.unknownBatches.push(write)
    if (write.counter === undefined) return
    const counter = this.counterList[write.counter]!
    invariant(counter.busy && counter.sent === write.version, 'a counter has one writer at a time')
    counter.busy = false
    if (outcome === 'acknowledged') counter.acknowledged = write.version
    if (outcome === 'refused') counter.refused.add(write.version)
  }
}
