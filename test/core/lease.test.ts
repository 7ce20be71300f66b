import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { LeasePromise, ReadLease, soleUntilMs } from '#src/core/lease.js'
import { limits } from '#src/core/limits.js'
import { clockRateMargin, timingsOf } from '#src/core/timings.js'
import { propertyRuns } from '../support/property-runs.js'
import { member } from './support.js'

const [a, b, c] = [member('a'), member('b'), member('c')]
const leaseMs = 300

describe('read lease', () => {
  test('L1: the lease is the minimum over all other members of the set, counted from when they were asked', () => {
    const lease = new ReadLease(leaseMs)
    const first = lease.request(1000)
    lease.onPromise(b, first)
    assert.equal(lease.validUntilMs([a, b], a), 1300)
    assert.equal(lease.validUntilMs([a, b, c], a), undefined, 'c has promised nothing')
    const second = lease.request(1100)
    lease.onPromise(c, second)
    assert.equal(lease.validUntilMs([a, b, c], a), 1300)
    lease.onPromise(b, second)
    assert.equal(lease.validUntilMs([a, b, c], a), 1400)
    lease.onPromise(b, first)
    assert.equal(lease.validUntilMs([a, b, c], a), 1400, 'a late answer takes nothing away')
  })

  test('S2, L1: a promise of another incarnation, or of nobody who was asked, counts for nothing', () => {
    const lease = new ReadLease(leaseMs)
    const id = lease.request(0)
    assert.equal(lease.onPromise(b, id + 1), 'stale')
    lease.onPromise(member('b', '2'), id)
    assert.equal(lease.validUntilMs([a, b], a), undefined)
    assert.equal(lease.hasPromise(b, 1), false)
    assert.equal(lease.hasPromise(member('b', '2'), 1), true)
  })

  test('L1: a member that is about to join has promised only while that promise lasts', () => {
    const lease = new ReadLease(leaseMs)
    lease.onPromise(c, lease.request(50))
    assert.equal(lease.hasPromise(c, 349), true)
    assert.equal(lease.hasPromise(c, 350), false)
  })

  test('L5: once the lease is given up, nothing that was promised or asked before counts', () => {
    const lease = new ReadLease(leaseMs)
    const before = lease.request(0)
    const under = lease.request(10)
    lease.onPromise(b, before)
    lease.revoke()
    assert.equal(lease.onPromise(b, under), 'stale')
    assert.equal(lease.validUntilMs([a, b], a), undefined)
    assert.equal(lease.confirmedRequest([a, b], a), 0)
    lease.onPromise(b, lease.request(20))
    assert.equal(lease.validUntilMs([a, b], a), 320)
  })

  test('L4: alone in its set, a primary needs its registration as soon as another node is known', () => {
    const lease = new ReadLease(leaseMs)
    assert.equal(lease.validUntilMs([a], a), Number.POSITIVE_INFINITY)
    assert.equal(soleUntilMs({ othersKnown: false, registeredUntilMs: 0 }), Number.POSITIVE_INFINITY)
    assert.equal(soleUntilMs({ othersKnown: true, registeredUntilMs: 77 }), 77)
  })

  test('requests that are too many or too old are forgotten', () => {
    const lease = new ReadLease(leaseMs)
    const first = lease.request(0)
    for (let index = 0; index < limits.leaseRequestsMax; index++) lease.request(1)
    assert.equal(lease.onPromise(b, first), 'stale')
    const old = lease.request(10)
    lease.request(10 + leaseMs)
    assert.equal(lease.onPromise(b, old), 'stale')
  })

  test('a read is confirmed by requests that follow it, of every member', () => {
    const lease = new ReadLease(leaseMs)
    const before = lease.request(5)
    lease.onPromise(b, before)
    lease.onPromise(c, before)
    // Both at one moment of a coarse clock: only the order counts.
    const after = lease.request(5)
    lease.onPromise(b, after)
    assert.equal(lease.confirmedRequest([a, b, c], a), before)
    lease.onPromise(c, after)
    assert.equal(lease.confirmedRequest([a, b, c], a), after)
    assert.equal(lease.confirmedRequest([a], a), Number.POSITIVE_INFINITY)
  })

  test('L1: a process that starts holds as if it had promised; nothing shortens it', () => {
    const promise = new LeasePromise(100, 330)
    assert.equal(promise.isOver(429), false)
    assert.equal(promise.isOver(430), true)
    promise.give(200)
    promise.give(150)
    assert.equal(promise.untilMs, 530)
  })
})

/** A clock that runs at its own rate and began at its own time. */
interface Drift {
  readonly rate: number
  readonly offsetMs: number
}
const at = (drift: Drift, realMs: number) => drift.offsetMs + realMs * drift.rate

const drift = fc.record({
  rate: fc.oneof(fc.constantFrom(1, 1 + clockRateMargin), fc.double({ min: 1, max: 1 + clockRateMargin, noNaN: true })),
  offsetMs: fc.double({ min: 0, max: 1e6, noNaN: true }),
})

interface Step {
  readonly waitMs: number
  /** By member: how long the request and the promise are under way; undefined: lost. */
  readonly ways: ReadonlyArray<readonly [number, number] | undefined>
  readonly what: 'ask' | 'revoke' | 'restart' | 'look'
  readonly who: number
}

describe('L1, F35: with clocks that drift and messages that are late', () => {
  const { leaseMs, promiseMs } = timingsOf({ failoverMs: 1000, inSyncTimeoutMs: 1000 })
  const way = fc.oneof(
    fc.constant(0),
    fc.double({ min: 0, max: 5, noNaN: true }),
    fc.double({ min: 0, max: 600, noNaN: true }),
  )
  const step: fc.Arbitrary<Step> = fc.record({
    waitMs: fc.oneof(fc.double({ min: 0, max: 60, noNaN: true }), fc.double({ min: 0, max: 500, noNaN: true })),
    ways: fc.array(fc.option(fc.tuple(way, way), { nil: undefined, freq: 6 }), { minLength: 3, maxLength: 3 }),
    what: fc.constantFrom('ask', 'ask', 'ask', 'look', 'look', 'revoke', 'restart'),
    who: fc.integer({ min: 0, max: 2 }),
  })

  test('a lease is never valid while a promise of a member of the set is over', () => {
    let held = 0
    fc.assert(
      fc.property(
        drift,
        fc.array(drift, { minLength: 3, maxLength: 3 }),
        fc.array(step, { maxLength: 60 }),
        (...all) => {
          held += run(...all)
        },
      ),
      { numRuns: propertyRuns(400) },
    )
    assert.ok(held > propertyRuns(1000), `the lease was held ${held} times when it was looked at`)
  })

  /** Returns how often the lease was found to be held. */
  function run(primary: Drift, standbys: readonly Drift[], steps: readonly Step[]): number {
    const members = [a, b, c, member('d')]
    const lease = new ReadLease(leaseMs)
    // Their processes are old: what they hold at the beginning is over.
    const promises = standbys.map((clock) => new LeasePromise(at(clock, -10_000), promiseMs))
    const events: Array<{ readonly realMs: number; readonly run: () => void }> = []
    let held = 0
    const look = (realMs: number) => {
      const untilMs = lease.validUntilMs(members, a)
      if (untilMs === undefined || at(primary, realMs) >= untilMs) return
      held += 1
      for (const [index, promise] of promises.entries()) {
        assert.equal(promise.isOver(at(standbys[index]!, realMs)), false, `${index} may take over at ${realMs}`)
      }
    }
    let nowMs = 0
    for (const one of steps) {
      nowMs += one.waitMs
      const askedMs = nowMs
      if (one.what === 'look') events.push({ realMs: askedMs, run: () => look(askedMs) })
      if (one.what === 'revoke') events.push({ realMs: askedMs, run: () => lease.revoke() })
      if (one.what === 'restart') {
        const clock = standbys[one.who]!
        const restart = () => {
          promises[one.who] = new LeasePromise(at(clock, askedMs), promiseMs)
        }
        events.push({ realMs: askedMs, run: restart })
      }
      if (one.what !== 'ask') continue
      const ask = () => {
        const id = lease.request(at(primary, askedMs))
        for (const [index, ways] of one.ways.entries()) {
          if (ways === undefined) continue
          const givenMs = askedMs + ways[0]
          const heardMs = givenMs + ways[1]
          const hear = () => {
            lease.onPromise(members[index + 1]!, id)
            look(heardMs)
          }
          const give = () => {
            promises[index]!.give(at(standbys[index]!, givenMs))
            insert({ realMs: heardMs, run: hear })
          }
          insert({ realMs: givenMs, run: give })
          // Just before the lease would end is when it matters most.
          for (const lastMs of [leaseMs - 0.001, leaseMs * 1.05].map((leftMs) => askedMs + leftMs / primary.rate)) {
            insert({ realMs: lastMs, run: () => look(lastMs) })
          }
        }
      }
      events.push({ realMs: askedMs, run: ask })
    }
    const insert = (event: (typeof events)[number]) => {
      const place = events.findIndex((other) => other.realMs > event.realMs)
      events.splice(place === -1 ? events.length : place, 0, event)
    }
    for (let event = events.shift(); event !== undefined; event = events.shift()) event.run()
    return held
  }
})
