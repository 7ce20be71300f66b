import type { EpochStart } from '#src/core/entry.js'
import { type Epoch, type Position, sameEpoch } from '#src/core/position.js'

/** One entry of a model's journal; each one is a block of its own. */
export interface Entry {
  readonly epoch: Epoch
  readonly id: string
}

export function positionAt(log: readonly Entry[], sequence: number): Position | undefined {
  if (sequence > log.length) return undefined
  const chain = log
    .slice(0, sequence)
    .map((entry) => entry.id)
    .join()
  return { epoch: log[sequence - 1]?.epoch ?? { number: 0, node: '' }, sequence, chain }
}

export function epochsOf(log: readonly Entry[]): EpochStart[] {
  const starts: EpochStart[] = []
  for (const [index, entry] of log.entries()) {
    const before = starts.at(-1)?.epoch
    if (before === undefined || !sameEpoch(before, entry.epoch)) {
      starts.push({ epoch: entry.epoch, firstSequence: index + 1 })
    }
  }
  return starts
}
