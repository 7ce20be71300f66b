/** L6: what a read that asked for a position, or for an age, may show. */
import type { Epoch, Position } from '../core/position.js'
import { formatPosition } from '../core/position.js'
import type { FoldedBlock } from './fold.js'
import type { Oracle } from './oracle.js'

/** `lagMs` is rounded to whole milliseconds. */
const roundingMs = 0.5

export interface FreshRead {
  readonly node: string
  readonly family: number
  readonly key: string
  /** Undefined: nothing was found. */
  readonly value: Uint8Array | undefined
  /** What the node had applied when the value was read. */
  readonly applied: Position
  /** When the node found that this is fresh enough, by the time of the world. */
  readonly checkedMs: number
  readonly minPosition?: { readonly epoch: Epoch; readonly sequence: number } | undefined
  readonly maxLagMs?: number | undefined
}

export interface FreshnessTerms {
  /** Clocks run at 1 - x to 1 + x of the world's time. */
  readonly clockDrift: number
  /** With the static coordinator nobody vouches for an age on a standby. */
  readonly ageIsKnown: boolean
}

/** What is wrong with it; undefined if nothing is. */
export function judgeFreshRead(oracle: Oracle, terms: FreshnessTerms, read: FreshRead): string | undefined {
  const { fold } = oracle
  const { applied, minPosition, maxLagMs } = read
  const end = fold.at(applied)
  const where = `${read.node} at ${formatPosition(applied)}`
  if (end === undefined && applied.sequence > 0) return `I4: ${where}: nobody has applied this`
  const expected = fold.valueAt(end, read.family, Buffer.from(read.key))
  if (expected.type === 'no family') return `S8: ${where} answers for family ${read.family}, which is not there`
  if (!isSame(expected.value, read.value)) {
    return `I4: ${where} has ${nameOf(read.value)} as ${read.key} of family ${read.family}; by the entries up to there it is ${nameOf(expected.value)}`
  }
  if (minPosition !== undefined && !fold.holds(minPosition, end)) {
    return `L6: ${where} answers a read that asked for ${formatPosition(minPosition)}`
  }
  if (maxLagMs === undefined || !terms.ageIsKnown) return undefined
  if (oracle.isBeside(applied.epoch, read.checkedMs)) return undefined
  const allowedMs = (maxLagMs + roundingMs) / (1 - terms.clockDrift)
  const wanted = fold.newestBy(read.checkedMs - allowedMs)
  if (wanted === undefined || fold.holds(wanted, end)) return undefined
  return `L6: ${where} answers a read that allowed ${maxLagMs} ms; ${describeAge(wanted, read.checkedMs)}`
}

function describeAge(wanted: FoldedBlock, nowMs: number): string {
  return `${formatPosition(wanted)} was committed ${(nowMs - wanted.appliedMs).toFixed(0)} ms before`
}

function isSame(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  return a === undefined || b === undefined ? a === b : Buffer.compare(a, b) === 0
}

function nameOf(value: Uint8Array | undefined): string {
  return value === undefined ? 'nothing' : Buffer.from(value).toString().replace(/\.+$/, '')
}
