import type { Operation } from '../core/entry.js'
import { limits } from '../core/limits.js'
import type { Position } from '../core/position.js'
import { UnderstudyError } from '../errors.js'
import type { Engine, KeyRange } from '../ports/engine.js'
import type { ClearRequest } from './handle.js'

/**
 * Turns a `clear` into entries that every node carries out alike: key by key where a limit decides which keys go,
 * as ranges otherwise, each piece bounded and atomic (B5).
 */
export async function resolveClear(
  request: ClearRequest,
  primary: {
    readonly engine: Engine
    readonly write: (operations: readonly Operation[]) => Promise<Position>
    readonly barrier: () => Promise<Position>
  },
): Promise<Position> {
  let position = await primary.barrier()
  let written = false
  const limited = request.limit !== undefined && request.limit >= 0
  let left = limited ? request.limit! : Number.POSITIVE_INFINITY
  let range: KeyRange = request
  while (left > 0) {
    const size = Math.min(limits.clearPieceKeysMax, left)
    const iterator = primary.engine.scan(request.family, {
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
    try {
      position = await primary.write(
        limited
          ? keys.map((key) => ({ type: 'del', family: request.family, key }))
          : [{ type: 'delRange', family: request.family, start: low, end: after(high) }],
      )
    } catch (error) {
      throw written ? partlyDone(error) : error
    }
    written = true
    left -= keys.length
    if (keys.length < size) break
    range =
      request.reverse === true
        ? { ...rangeOf(range), end: low, endClosed: false }
        : { ...rangeOf(range), start: high, startOpen: true }
  }
  return position
}

/** Earlier pieces are committed: whatever became of this one, the clear as a whole is not without effect (S9). */
function partlyDone(error: unknown): unknown {
  if (!(error instanceof UnderstudyError) || error.outcome !== 'none') return error
  return new UnderstudyError(error.failure, `${error.message} (a part of the keys is deleted already)`, {
    outcome: 'unknown',
    hint: 'clear again: what is gone stays gone',
    cause: error,
  })
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

/** The first key after `key`. */
function after(key: Uint8Array): Uint8Array {
  const next = new Uint8Array(key.length + 1)
  next.set(key)
  return next
}
