/** Single conditions of the small nouns of the core that no other test would miss: mutation testing found them. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { formatAddress, parseAddress } from '#src/core/address.js'
import { backoffMs } from '#src/core/backoff.js'
import { defaultFamily } from '#src/core/entry.js'
import { failureCodes } from '#src/core/failure.js'
import { InvariantViolation, invariant } from '#src/core/invariant.js'
import { checkTimings, clockRateMargin, timingsOf } from '#src/core/timings.js'

describe('timings', () => {
  const timings = timingsOf({ failoverMs: 1000, inSyncTimeoutMs: 700 })

  test('all come from one knob', () => {
    assert.deepEqual(timings, {
      failoverMs: 1000,
      heartbeatMs: 50,
      pollMs: 100,
      leaseMs: 300,
      promiseMs: 330,
      silenceMs: 500,
      preCheckMs: 150,
      rankStepMs: 100,
      giveUpMs: 1000,
      registrationMs: 3000,
      inSyncTimeoutMs: 700,
    })
    assert.equal(clockRateMargin, 0.1)
    assert.deepEqual(timingsOf({ failoverMs: 999, inSyncTimeoutMs: 1 }), {
      failoverMs: 999,
      heartbeatMs: 49,
      pollMs: 99,
      leaseMs: 299,
      promiseMs: 329,
      silenceMs: 499,
      preCheckMs: 149,
      rankStepMs: 99,
      giveUpMs: 999,
      registrationMs: 2997,
      inSyncTimeoutMs: 1,
    })
    const short = timingsOf({ failoverMs: 199, inSyncTimeoutMs: 1 })
    assert.deepEqual(
      [short.heartbeatMs, short.pollMs, short.preCheckMs, short.rankStepMs, short.registrationMs],
      [10, 20, 50, 20, 2000],
    )
  })

  test('L1: each relation that the rules rest on is checked, to the millisecond', () => {
    const { leaseMs, silenceMs, failoverMs } = timings
    for (const [fits, breaks, message] of [
      [{ heartbeatMs: leaseMs / 4 }, { heartbeatMs: leaseMs / 4 + 1 }, /loss of a few heartbeats/],
      [{ promiseMs: leaseMs * (1 + clockRateMargin) }, { promiseMs: leaseMs * 1.1 - 1 }, /promise outlives its lease/],
      [{ promiseMs: silenceMs - 1 }, { promiseMs: silenceMs }, /what was promised to it is over/],
      [{ preCheckMs: failoverMs - silenceMs }, { preCheckMs: failoverMs - silenceMs + 1 }, /within failoverMs/],
      [{ giveUpMs: silenceMs }, { giveUpMs: silenceMs - 1 }, /others could have noticed/],
      [{ registrationMs: 2 * failoverMs }, { registrationMs: 2 * failoverMs - 1 }, /slow coordinator/],
    ] as const) {
      checkTimings({ ...timings, ...fits })
      assert.throws(() => checkTimings({ ...timings, ...breaks }), message)
    }
  })
})

test('addresses', () => {
  for (const [text, host, port] of [
    ['a:1', 'a', 1],
    ['db-1.example_x:7100', 'db-1.example_x', 7100],
    ['127.0.0.1:65535', '127.0.0.1', 65_535],
    ['[::1]:0', '::1', 0],
    ['[fe80::1%eth0]:12345', 'fe80::1%eth0', 12_345],
    ['[::ffff:10.0.0.1]:80', '::ffff:10.0.0.1', 80],
  ] as const) {
    assert.deepEqual(parseAddress(text), { host, port })
    assert.equal(formatAddress({ host, port }), text)
  }
  for (const text of [
    '',
    'a',
    'a:',
    ':1',
    'a:65536',
    'a:123456',
    'a:x',
    'a b:1',
    'x/a:1',
    'a:1/x',
    '::1:80',
    '[::1]',
    '[]:1',
    '[10.0.0.1]:1',
    '[abc]:1',
    '[xyz::]:1',
    '[fe80::1%]:1',
    '[fe80::1%/]:1',
    ' a:1',
    'a:1 ',
  ]) {
    assert.equal(parseAddress(text), undefined, text)
  }
})

test('the wait before another attempt doubles up to its bound, between half and all of the step', () => {
  for (const [attempt, random, expected] of [
    [0, 0, 50],
    [0, 0.5, 75],
    [0, 1, 100],
    [1, 1, 200],
    [3, 0, 400],
    [10, 0, 500],
    [10, 1, 1000],
    [5000, 1, 1000],
  ] as const) {
    assert.equal(backoffMs(attempt, 100, 1000, random), expected)
  }
  assert.equal(backoffMs(31, 1, Number.MAX_SAFE_INTEGER, 1), 2 ** 30, 'and grows no more')
})

test('an invariant that does not hold stops everything and says what must hold', () => {
  invariant(true, 'all is well')
  assert.throws(
    () => invariant(false, 'one is two'),
    (error) => {
      assert.ok(error instanceof InvariantViolation)
      assert.equal(error.name, 'InvariantViolation')
      assert.equal(error.message, 'invariant violated: one is two')
      return true
    },
  )
})

test('names that everybody knows', () => {
  assert.deepEqual(defaultFamily, { id: 0, name: 'default' })
  assert.ok(Object.isFrozen(defaultFamily))
  assert.equal(new Set(failureCodes).size, failureCodes.length)
  for (const code of failureCodes) assert.match(code, /^[A-Z][A-Z_]+$/)
})
