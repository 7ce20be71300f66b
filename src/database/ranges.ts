import type { KeyRange } from '../ports/engine.js'

/** A range as abstract-level hands it over: encoded. Where both are given, gte and lte win, as in other databases. */
export interface RangeCall {
  readonly gte?: Uint8Array
  readonly gt?: Uint8Array
  readonly lte?: Uint8Array
  readonly lt?: Uint8Array
}

/** Bounds are copied: they are read again after the call, when the caller's memory may hold something else. */
export function keyRangeOf(call: RangeCall): KeyRange {
  const start = call.gte ?? call.gt
  const end = call.lte ?? call.lt
  return {
    ...(start === undefined ? {} : { start: Buffer.from(start), startOpen: call.gte === undefined }),
    ...(end === undefined ? {} : { end: Buffer.from(end), endClosed: call.lte !== undefined }),
  }
}
