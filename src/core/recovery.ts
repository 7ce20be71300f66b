import type { BlockHeader, EpochStart } from './entry.js'
import { limits } from './limits.js'
import { compareEpochs, formatEpoch, type Position } from './position.js'

/**
 * Tail: may never have been made durable, nobody was told that it was, and it is cut. Corruption: it was durable
 * once and is not what it was; it is never cut.
 */
export type DamageVerdict = 'tail' | 'corruption'

/**
 * J2: only this node's own flush marks (and what else it wrote after an fsync had returned: seals and headers of
 * later segments) tell whether the first bad sequence had been fsynced here. `flushedBefore` is the highest sequence
 * that any of them vouches for, wherever in the journal it stands.
 */
export function judgeDamage(facts: {
  readonly firstBadSequence: number
  readonly flushedBefore: number
}): DamageVerdict {
  return facts.flushedBefore >= facts.firstBadSequence ? 'corruption' : 'tail'
}

export interface Mismatch {
  readonly expected: string
  readonly found: string
}

/** What keeps an intact block from following `previous`; undefined if it does. */
export function continuationFault(previous: Position, header: BlockHeader): Mismatch | undefined {
  const next = previous.sequence + 1
  if (header.firstSequence !== next) {
    return { expected: `a block that begins with sequence ${next}`, found: `sequence ${header.firstSequence}` }
  }
  if (header.chainBefore !== previous.chain) {
    return { expected: `chain ${previous.chain} before sequence ${next}`, found: `chain ${header.chainBefore}` }
  }
  if (compareEpochs(header.epoch, previous.epoch) < 0) {
    return {
      expected: `epoch ${formatEpoch(previous.epoch)} or higher at sequence ${next}`,
      found: `epoch ${formatEpoch(header.epoch)}`,
    }
  }
  return undefined
}

/** What keeps a segment from following one that ends at `previous`; undefined if it does. */
export function segmentFault(previous: Position, base: Position): Mismatch | undefined {
  if (base.sequence !== previous.sequence) {
    return {
      expected: `a segment that begins with sequence ${previous.sequence + 1}`,
      found: `one that begins with sequence ${base.sequence + 1}`,
    }
  }
  if (base.chain !== previous.chain || compareEpochs(base.epoch, previous.epoch) !== 0) {
    return {
      expected: `epoch ${formatEpoch(previous.epoch)} and chain ${previous.chain} before it`,
      found: `epoch ${formatEpoch(base.epoch)} and chain ${base.chain}`,
    }
  }
  return undefined
}

/** The epoch history after a block; the oldest epochs go when it is full. */
export function epochsAfter(
  epochs: readonly EpochStart[],
  before: Position,
  header: BlockHeader,
): readonly EpochStart[] {
  if (compareEpochs(header.epoch, before.epoch) <= 0) return epochs
  const start = { epoch: header.epoch, firstSequence: header.firstSequence }
  return [...epochs, start].slice(-limits.epochHistoryMax)
}

/** The epoch history of a journal that ends at `sequence`. */
export function epochsUpTo(epochs: readonly EpochStart[], sequence: number): readonly EpochStart[] {
  return epochs.filter((start) => start.firstSequence <= sequence)
}
