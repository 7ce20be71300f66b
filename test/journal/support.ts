import { createJournalFactory, type JournalOptions } from '#src/journal/journal-factory.js'
import type { Clock, Timer } from '#src/ports/clock.js'
import type { FileSystem } from '#src/ports/file-system.js'
import type { JournalFactory } from '#src/ports/journal.js'
import type { Random } from '#src/ports/random.js'

/** Stands still until it is moved. */
export class ManualClock implements Clock {
  private now = 1000
  private timers: Array<{ at: number; fn: () => void }> = []

  nowMs(): number {
    return this.now
  }

  wallMs(): number {
    return this.now
  }

  setTimer(delayMs: number, fn: () => void): Timer {
    const timer = { at: this.now + delayMs, fn }
    this.timers.push(timer)
    return {
      cancel: () => {
        this.timers = this.timers.filter((one) => one !== timer)
      },
    }
  }

  defer(fn: () => void): void {
    queueMicrotask(fn)
  }

  advance(byMs: number): void {
    this.now += byMs
    const due = this.timers.filter((timer) => timer.at <= this.now)
    this.timers = this.timers.filter((timer) => timer.at > this.now)
    for (const timer of due) timer.fn()
  }
}

/** The same numbers for the same seed. */
export class SeededRandom implements Random {
  private state: number

  constructor(seed: number) {
    this.state = seed >>> 0
  }

  next(): number {
    this.state = (this.state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(this.state ^ (this.state >>> 15), this.state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }

  below(bound: number): number {
    return Math.floor(this.next() * bound)
  }

  hex(count: number): string {
    return Array.from({ length: count }, () => this.below(256).toString(16).padStart(2, '0')).join('')
  }
}

export function simulatedFactory(fs: FileSystem, options: Partial<JournalOptions> = {}): JournalFactory {
  return createJournalFactory(fs, {
    clock: new ManualClock(),
    random: new SeededRandom(7),
    segmentBytes: 64 * 1024,
    ...options,
  })
}

/** Lets everything that can go on without time go on. */
export async function settle(turns = 200): Promise<void> {
  for (let turn = 0; turn < turns; turn++) await undefined
}
