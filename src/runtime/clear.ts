import type { Operation } from '../core/entry.js'
import { limits } from '../core/limits.js'
import type { Position } from '../core/position.js'
import { isFailure } from '../errors.js'
import type { Engine, KeyRange } from '../ports/engine.js'
import type { ClearRequest } from './handle.js'

/**
 * Turns a `clear` into entries that every node carries out alike: key by key where a limit decides which keys go,
 * as ranges otherwise, each piece bounded and atomic (B5). It is resolved on the node that was asked, and each piece is
 * an ordinary write of that node: carried out once, also when the primary changes between two of them.
 */
export async function resolveClear(
  request: ClearRequest,
  here: {
    readonly engine: Pick<Engine, 'scan'>
    /** Resolves when it is committed and applied here. */
    readonly write: (operations: readonly Operation[]) => Promise<Position>
    /** What was submitted before is seen by the clear. */
    readonly barrier: () => Promise<Position>
  },
): Promise<Position> {
  let position = await here.barrier()
  const limited = request.limit !== undefined && request.limit >= 0
  let left = limited ? request.limit! : Number.POSITIVE_INFINITY
  let range: KeyRange = request
  let pieces = 0
  while (left > 0) {
    const size = Math.min(limits.clearPieceKeysMax, left)
    const iterator = here.engine.scan(request.family, {
      ...rangeOf(range),
      reverse: request.reverse === true,
      limit: size,
      values: false,
    })
    let keys: Uint8Array[]
    try {
      keys = (await readAll(iterator, size)).map(([key]) => key)
    } finally {
      await iterator.close()
    }
    const first = keys[0]
    const last = keys.at(-1)
    if (first === undefined || last === undefined) break
    const [low, high] = request.reverse === true ? [last, first] : [first, last]
    const { family } = request
    const operations: Operation[] = limited
      ? keys.map((key) => ({ type: 'del', family, key }))
      : [
          { type: 'delRange', family, start: low, end: high },
          { type: 'del', family, key: high },
        ]
    try {
      position = await here.write(operations)
    } catch (error) {
      // Pieces before this one are committed: whatever became of this one, the clear has not "not happened".
      if (pieces > 0 && isFailure(error) && error.outcome === 'none') throw error.withOutcome('unknown')
      throw error
    }
    pieces += 1
    left -= keys.length
    if (keys.length < size) break
    range =
      request.reverse === true
        ? { ...rangeOf(range), end: low, endClosed: false }
        : { ...rangeOf(range), start: high, startOpen: true }
  }
  return position
}

function rangeOf(range: KeyRange): KeyRange {
  return {
    ...(range.start === undefined ? {} : { start: range.start, startOpen: range.startOpen === true }),
    ...(range.end === undefined ? {} : { end: range.end, endClosed: range.endClosed === true }),
  }
}

async function readAll(
  iterator: { next(size: number): Promise<Array<[Uint8Array, Uint8Array]>> },
  count: number,
): Promise<Array<[Uint8Array, Uint8Array]>> {
  const all: Array<[Uint8Array, Uint8Array]> = []
  while (all.length < count) {
    const some = await iterator.next(count - all.length)
    if (some.length === 0) break
    all.push(...some)
  }
  return all
}
