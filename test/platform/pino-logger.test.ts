import assert from 'node:assert/strict'
import { test } from 'node:test'
import { UnderstudyError } from '#src/errors.js'
import { nodeClock } from '#src/platform/node-clock.js'
import { nodeRandom } from '#src/platform/node-random.js'
import { createPinoLogger } from '#src/platform/pino-logger.js'

test('one JSON line per message from the level on, with the fields of every parent', () => {
  const lines: string[] = []
  const destination = { write: (line: string) => void lines.push(line) }
  const logger = createPinoLogger({ level: 'info', fields: { node: 'a' }, destination })
  logger.debug({}, 'not shown')
  logger.child({ shard: 'main' }).warn({ error: new UnderstudyError('IO', 'broken') }, 'something failed')
  assert.equal(lines.length, 1)
  const line = JSON.parse(lines[0] ?? '')
  assert.equal(line.level, 'warn')
  assert.equal(line.msg, 'something failed')
  assert.equal(line.node, 'a')
  assert.equal(line.shard, 'main')
  assert.equal(line.error.code, 'UNDERSTUDY_IO')
  assert.match(line.time, /^\d{4}-\d\d-\d\dT/)
})

test('the clock does not go backwards and its timers fire once unless cancelled', async () => {
  const earlier = nodeClock.nowMs()
  let cancelled = 0
  nodeClock.setTimer(1, () => cancelled++).cancel()
  // An unref'd timer alone would let the process end.
  const keep = setTimeout(() => {}, 5000)
  await new Promise<void>((resolve) => void nodeClock.setTimer(2, resolve))
  clearTimeout(keep)
  await new Promise<void>((resolve) => nodeClock.defer(resolve))
  assert.equal(cancelled, 0)
  assert.ok(nodeClock.nowMs() >= earlier)
  assert.ok(Math.abs(nodeClock.wallMs() - Date.now()) < 1000)
})

test('random numbers are in [0, 1) and hexadecimal digits are as many as asked', () => {
  for (let count = 0; count < 1000; count++) {
    const value = nodeRandom.next()
    assert.ok(value >= 0 && value < 1)
  }
  assert.match(nodeRandom.hex(16), /^[0-9a-f]{32}$/)
  assert.notEqual(nodeRandom.hex(16), nodeRandom.hex(16))
})
