import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { CommitWindow } from '#src/runtime/commit-window.js'
import { testClock } from '../support/clock.js'

describe('the latency of commits', () => {
  let nowMs = 10_000
  const create = () => new CommitWindow({ ...testClock, nowMs: () => nowMs })

  test('percentiles are never too low and at most 19 % too high', () => {
    const window = create()
    const values = Array.from({ length: 1000 }, (_, index) => 0.1 + index * 0.05)
    for (const ms of values) window.add(ms / 1000)
    const { p50Ms, p99Ms, perSecond } = window.status!
    for (const [found, wanted] of [
      [p50Ms, values[499]!],
      [p99Ms, values[989]!],
    ] as const) {
      assert.ok(found >= wanted * 0.995 && found <= wanted * 1.2, `${found} for ${wanted}`)
    }
    assert.ok(perSecond > 0)
  })

  test('only the last five seconds count, and without commits there is no figure', () => {
    const window = create()
    assert.equal(window.status, undefined)
    window.add(1)
    nowMs += 4_000
    window.add(0.001)
    assert.ok(window.status!.p99Ms >= 1000)
    nowMs += 1_000
    assert.ok(window.status!.p99Ms < 1.3, 'the slow one is too old')
    nowMs += 5_000
    assert.equal(window.status, undefined)
  })

  test('the fastest and the slowest have a place', () => {
    const window = create()
    window.add(0)
    assert.ok(window.status!.p50Ms <= 0.05)
    window.add(1e6)
    assert.ok(window.status!.p99Ms > 60_000)
  })
})
