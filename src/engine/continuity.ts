import type { Block } from '../core/entry.js'
import { invariant } from '../core/invariant.js'
import { limits } from '../core/limits.js'
import type { Position } from '../core/position.js'
import { UnderstudyError } from '../errors.js'

/** Blocks may be applied again from the checkpoint on, but never after a gap or from another history. */
export function assertContinues(folded: Position, block: Block): void {
  const { firstSequence, chainBefore } = block.header
  invariant(firstSequence <= folded.sequence + 1, 'blocks are applied without a gap')
  invariant(
    firstSequence <= folded.sequence || chainBefore === folded.chain,
    'blocks that are applied continue the history of the engine',
  )
}

/** The size of a chunk is asked for by another node. */
export function assertChunkSize(bytesMax: number): void {
  if (bytesMax >= 1 && bytesMax <= limits.chunkBytesMax) return
  throw new UnderstudyError('LIMIT_EXCEEDED', `a chunk of ${bytesMax} bytes; 1 to ${limits.chunkBytesMax} are possible`)
}
