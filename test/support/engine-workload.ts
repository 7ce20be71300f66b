import type { Operation } from '#src/core/entry.js'
import { create, del, delRange, drop, generator, Journal, put } from '#src/engine/conformance/kit.js'

/** The same journal in every process, block by block. */
export class Workload {
  readonly journal = new Journal()
  private readonly random = generator(4711)
  private familyNext = 1

  nextBlock() {
    const entries = Array.from({ length: 1 + this.below(4) }, () =>
      Array.from({ length: 1 + this.below(6) }, () => this.operation()),
    )
    return this.journal.append(...entries)
  }

  private below(bound: number): number {
    return this.random() % bound
  }

  private operation(): Operation {
    const family = this.below(this.familyNext)
    const key = `k${this.below(400)}`
    const dice = this.below(100)
    if (dice < 70) return put(key, `${this.journal.end.sequence} ${'v'.repeat(this.below(300))}`, family)
    if (dice < 85) return del(key, family)
    if (dice < 97) return delRange(key, `${key}5`, family)
    if (dice < 99 && this.familyNext < 40) return create(this.familyNext++, `family ${this.familyNext}`)
    // Only families that were created: a primary accepts no other drop.
    return this.familyNext === 1 ? del(key) : drop(1 + this.below(this.familyNext - 1))
  }
}
