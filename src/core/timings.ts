import { invariant } from './invariant.js'
import type { ShardSettings } from './record.js'

/**
 * All times of failure detection, from one knob. A promise is good for `leaseMs` on the primary's clock, counted from
 * when the primary asked for it; whoever gave it keeps it for `promiseMs` on its own clock, counted from when it was
 * asked. The rates of any two clocks may differ by `clockRateMargin`; that they are monotonic is all that is assumed
 * besides.
 */
export interface Timings {
  readonly failoverMs: number
  /** A primary asks its followers for promises, and both sides of an idle session speak, this often. */
  readonly heartbeatMs: number
  /** Other members are asked for their state this often. */
  readonly pollMs: number
  /** How long a promise lets the primary answer reads. */
  readonly leaseMs: number
  /** How long a standby refuses to take over after a promise; also after its start, when it has forgotten (L1). */
  readonly promiseMs: number
  /** A follower or primary that has not echoed anything recent for this long is taken for gone. */
  readonly silenceMs: number
  /** How long the others are waited for when they are asked whether they hear the primary. */
  readonly preCheckMs: number
  /** What each place further behind the longest journal waits before it tries to take over. */
  readonly rankStepMs: number
  /** A primary that can neither hold its lease nor commit, or not write to its own disk, for this long gives up. */
  readonly giveUpMs: number
  /** Time to live of a member's registration with the coordinator. */
  readonly registrationMs: number
  readonly inSyncTimeoutMs: number
}

export const clockRateMargin = 0.1

export function timingsOf(settings: Pick<ShardSettings, 'failoverMs' | 'inSyncTimeoutMs'>): Timings {
  const { failoverMs, inSyncTimeoutMs } = settings
  const leaseMs = Math.floor(failoverMs * 0.3)
  const timings: Timings = {
    failoverMs,
    heartbeatMs: Math.max(10, Math.floor(failoverMs / 20)),
    pollMs: Math.max(20, Math.floor(failoverMs / 10)),
    leaseMs,
    promiseMs: Math.ceil(leaseMs * (1 + clockRateMargin)),
    silenceMs: Math.floor(failoverMs / 2),
    preCheckMs: Math.max(50, Math.floor(failoverMs * 0.15)),
    rankStepMs: Math.max(20, Math.floor(failoverMs / 10)),
    giveUpMs: failoverMs,
    registrationMs: Math.max(2_000, 3 * failoverMs),
    inSyncTimeoutMs,
  }
  checkTimings(timings)
  return timings
}

/** The relations that the rules rest on; a change of the figures above that breaks one is our bug. */
export function checkTimings(timings: Timings): void {
  const { heartbeatMs, leaseMs, promiseMs, silenceMs, giveUpMs, preCheckMs, failoverMs, registrationMs } = timings
  invariant(heartbeatMs * 4 <= leaseMs, 'a lease outlives the loss of a few heartbeats')
  invariant(promiseMs >= leaseMs * (1 + clockRateMargin), 'a promise outlives its lease, whatever the clocks')
  invariant(promiseMs < silenceMs, 'when a primary is found silent, what was promised to it is over')
  invariant(silenceMs + preCheckMs <= failoverMs, 'a silent primary is replaced within failoverMs')
  invariant(giveUpMs >= silenceMs, 'a primary does not give up before others could have noticed')
  invariant(registrationMs >= 2 * failoverMs, 'a registration outlives a slow coordinator')
}
