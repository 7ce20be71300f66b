import type { Clock } from '../ports/clock.js'
import type { CommitsStatus } from './handle.js'

const slotMs = 1_000
const slots = 5
/** Upper ends of the buckets: from 50 µs on, four to a doubling, so that a percentile is at most 19 % too high. */
const smallestMs = 0.05
const perDoubling = 4
const buckets = 84

/** How long commits took in the last seconds. Memory is fixed, whatever the load. */
export class CommitWindow {
  private readonly clock: Clock
  private readonly counts = Array.from({ length: slots }, () => new Uint32Array(buckets))
  /** Which second each slot holds. */
  private readonly seconds: number[] = Array(slots).fill(Number.NEGATIVE_INFINITY)

  constructor(clock: Clock) {
    this.clock = clock
  }

  add(seconds: number): void {
    const second = Math.floor(this.clock.nowMs() / slotMs)
    const slot = second % slots
    const counts = this.counts[slot]!
    if (this.seconds[slot] !== second) {
      counts.fill(0)
      this.seconds[slot] = second
    }
    counts[bucketOf(seconds * 1000)]! += 1
  }

  /** Undefined while nothing was committed. */
  get status(): CommitsStatus | undefined {
    const nowMs = this.clock.nowMs()
    const second = Math.floor(nowMs / slotMs)
    const sums = new Uint32Array(buckets)
    let count = 0
    for (let slot = 0; slot < slots; slot++) {
      if (this.seconds[slot]! <= second - slots) continue
      const counts = this.counts[slot]!
      for (let bucket = 0; bucket < buckets; bucket++) {
        const some = counts[bucket]!
        sums[bucket]! += some
        count += some
      }
    }
    if (count === 0) return undefined
    // The newest slot has only just begun.
    const spanMs = (slots - 1) * slotMs + (nowMs - second * slotMs)
    return {
      perSecond: Math.round((count * 10_000) / spanMs) / 10,
      p50Ms: percentile(sums, count, 0.5),
      p99Ms: percentile(sums, count, 0.99),
    }
  }
}

function bucketOf(ms: number): number {
  const bucket = Math.ceil(Math.log2(Math.max(ms, smallestMs) / smallestMs) * perDoubling)
  return Math.min(bucket, buckets - 1)
}

/** The upper end of the bucket that holds it. */
function percentile(sums: Uint32Array, count: number, share: number): number {
  let left = Math.ceil(count * share)
  let bucket = 0
  for (; bucket < buckets - 1; bucket++) {
    left -= sums[bucket]!
    if (left <= 0) break
  }
  return Number((smallestMs * 2 ** (bucket / perDoubling)).toPrecision(3))
}
