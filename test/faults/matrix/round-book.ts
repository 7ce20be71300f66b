/** What clients did in one round and what became of it. */
import type { Epoch } from '#src/core/position.js'
import type { RegisterOperation, RegisterOutcome } from '#src/sim/register-history.js'

export interface Acknowledged {
  readonly calledMs: number
  readonly returnedMs: number
  /** Where the write is. */
  readonly epoch: Epoch
  readonly sequence: number
  readonly client: string
  readonly key: string
}

/** A key that is written once. */
export interface UniqueWrite {
  readonly number: number
  readonly outcome: RegisterOutcome
}

export class RoundBook {
  readonly round: number
  readonly prefix: string
  readonly operations: RegisterOperation[] = []
  readonly unique: UniqueWrite[] = []
  readonly acknowledged: Acknowledged[] = []
  /** Answers that were no success, by code and outcome. */
  readonly failures = new Map<string, { count: number; message: string }>()
  uniqueBegun = 0
  valuesBegun = 0
  unknown = 0
  refused = 0
  /** Reads that were answered by a node that may not have been primary. */
  unconfirmed = 0
  private waiters: Array<() => void> = []

  constructor(round: number) {
    this.round = round
    this.prefix = `round/${String(round).padStart(5, '0')}/`
  }

  registerKey(index: number): string {
    return `${this.prefix}register/${String(index).padStart(4, '0')}`
  }

  uniqueKey(number: number): string {
    return `${this.prefix}unique/${String(number).padStart(7, '0')}`
  }

  acknowledge(write: Acknowledged): void {
    this.acknowledged.push(write)
    const { waiters } = this
    this.waiters = []
    for (const wake of waiters) wake()
  }

  fail(name: string, message: string): void {
    const known = this.failures.get(name)
    if (known === undefined) this.failures.set(name, { count: 1, message })
    else {
      known.count += 1
      known.message = message
    }
  }

  describeFailures(): string {
    return [...this.failures].map(([name, { count, message }]) => `${count}x ${name}: ${message}`).join('\n')
  }

  /** The first acknowledged write, by its call, for which this holds. */
  async untilAcknowledged(
    what: string,
    holds: (write: Acknowledged) => boolean,
    timeoutMs: number,
    count = 1,
  ): Promise<Acknowledged> {
    const endMs = performance.now() + timeoutMs
    let looked = 0
    let found = 0
    for (;;) {
      for (; looked < this.acknowledged.length; looked++) {
        const write = this.acknowledged[looked]!
        if (holds(write)) {
          found += 1
          if (found === count) return write
        }
      }
      const leftMs = endMs - performance.now()
      if (leftMs <= 0) throw new Error(`not within ${timeoutMs} ms: ${what}\n${this.describeFailures()}`)
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, leftMs)
        this.waiters.push(() => {
          clearTimeout(timer)
          resolve()
        })
      })
    }
  }
}
