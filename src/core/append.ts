import type { BlockHeader } from './entry.js'
import type { Failure } from './failure.js'
import { compareEpochs, type Epoch, formatEpoch, type Position } from './position.js'

/**
 * May a standby append this block? Checked at every single append: the session's epoch against what was promised
 * since, the block's epoch against both, and that it continues the journal without a gap in the same history.
 */
export function refuseAppend(question: {
  readonly header: BlockHeader
  readonly end: Position
  readonly sessionEpoch: Epoch
  readonly promised: Epoch
}): Failure | undefined {
  const { header, end, sessionEpoch, promised } = question
  if (compareEpochs(sessionEpoch, promised) < 0) {
    return {
      code: 'STALE_EPOCH',
      message: `block from epoch ${formatEpoch(sessionEpoch)} refused: epoch ${formatEpoch(promised)} was promised`,
    }
  }
  if (compareEpochs(header.epoch, sessionEpoch) > 0 || compareEpochs(header.epoch, end.epoch) < 0) {
    return {
      code: 'STALE_EPOCH',
      message: `block of epoch ${formatEpoch(header.epoch)} between ${formatEpoch(end.epoch)} and the session's ${formatEpoch(sessionEpoch)}`,
    }
  }
  if (header.firstSequence !== end.sequence + 1) {
    return {
      code: 'PROTOCOL',
      message: `gap: expected sequence ${end.sequence + 1}, the block begins at ${header.firstSequence}`,
    }
  }
  if (header.chainBefore !== end.chain) {
    return {
      code: 'DIVERGED',
      message: `block ${header.firstSequence} continues another history: expected chain ${end.chain}, found ${header.chainBefore}`,
    }
  }
  if (compareEpochs(header.epoch, end.epoch) > 0 && !header.epochStart) {
    return { code: 'PROTOCOL', message: `epoch ${formatEpoch(header.epoch)} begins without its epoch-start block` }
  }
  return undefined
}
