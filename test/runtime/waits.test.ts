import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Block, Operation } from '#src/core/entry.js'
import type { Position } from '#src/core/position.js'
import { Journal as JournalInMemory, put as putOperation } from '#src/engine/conformance/kit.js'
import { memoryEngine } from '#src/engine/memory.js'
import { UnderstudyError } from '#src/errors.js'
import type { Journal } from '#src/ports/journal.js'
import { Applier } from '#src/runtime/applier.js'
import { resolveClear } from '#src/runtime/clear.js'
import { Waiters } from '#src/runtime/waiters.js'
import { testClock } from '../support/clock.js'
import { failureOf } from '../support/cluster.js'

describe('applier', () => {
  test('I8: a target that comes in the moment in which the last block was applied is not forgotten', async () => {
    const source = new JournalInMemory()
    for (let index = 0; index < 40; index++) source.append([putOperation(`k${index}`, 'v')])
    const engine = await memoryEngine.open('', source.empty)
    const journal = {
      durable: source.end,
      readCached: (from: Position, options: { limitSequence: number }): Block[] =>
        source.blocks
          .filter(({ end }) => end.sequence > from.sequence && end.sequence <= options.limitSequence)
          .slice(0, 1),
    } as unknown as Journal
    let next = 1
    // Between the end of the loop and whatever else notices it lie a few turns of the microtask queue: try them all.
    const later = (turns: number, work: () => void): void => {
      if (turns === 0) work()
      else queueMicrotask(() => later(turns - 1, work))
    }
    const applier: Applier = new Applier({
      journal,
      engine,
      clock: testClock,
      from: source.empty,
      onApplied: () => {
        next += 1
        if (next <= 40) later(next % 8, () => applier.advance(next))
      },
      onFailed: (error) => assert.fail(String(error)),
    })
    applier.advance(1)
    for (let turn = 0; turn < 100; turn++) await new Promise((resolve) => setImmediate(resolve))
    assert.equal(applier.applied.sequence, 40)
  })
})

describe('waits', () => {
  test('I8: a wait ends by its condition, its time-out, an abort, a condition that throws, or the end of everything', async () => {
    const waiters = new Waiters(testClock)
    let holds = false
    const met = waiters.until(() => holds, { timeoutMs: 10_000, what: 'x' })
    holds = true
    waiters.check()
    await met
    assert.equal((await failureOf(waiters.until(() => false, { timeoutMs: 1, what: 'x' }))).code, 'UNDERSTUDY_TIMEOUT')
    const abort = new AbortController()
    const aborted = failureOf(waiters.until(() => false, { timeoutMs: 10_000, what: 'x', signal: abort.signal }))
    abort.abort()
    assert.equal((await aborted).code, 'UNDERSTUDY_ABORTED')
    const open = failureOf(waiters.until(() => false, { timeoutMs: 10_000, what: 'x' }))
    waiters.close(new UnderstudyError('CLOSED', 'closed'))
    assert.equal((await open).code, 'UNDERSTUDY_CLOSED')
  })

  test('I8: whoever begins to wait after the end is told at once', async () => {
    const waiters = new Waiters(testClock)
    waiters.close(new UnderstudyError('CLOSED', 'closed'))
    const late = failureOf(waiters.until(() => false, { timeoutMs: 60_000, what: 'x' }))
    const answer = await Promise.race([late, new Promise((resolve) => setTimeout(resolve, 500, 'nothing'))])
    assert.ok(answer instanceof UnderstudyError)
    assert.equal(answer.code, 'UNDERSTUDY_CLOSED')
  })
})

describe('clear', () => {
  test('B5: a limit names the keys that go: one that comes between them meanwhile stays', async () => {
    for (const reverse of [false, true]) {
      const source = new JournalInMemory()
      const engine = await memoryEngine.open('', source.empty)
      const apply = (operations: readonly Operation[]) => engine.apply([source.append(operations)])
      await apply(['a', 'c', 'e'].map((key) => putOperation(key, 'v')))
      await resolveClear(
        { family: 0, limit: 2, reverse },
        {
          engine,
          barrier: async () => source.end,
          write: async (operations) => {
            await apply([putOperation(reverse ? 'd' : 'b', 'v')])
            await apply(operations)
            return source.end
          },
        },
      )
      const left = await engine.scan(0, { values: false }).next(10)
      assert.equal(left.map(([key]) => Buffer.from(key).toString()).join(), reverse ? 'a,d' : 'b,e')
      await engine.close()
    }
  })

  test('S9: a clear that fails after its first piece has no outcome `none`', async () => {
    const source = new JournalInMemory()
    const engine = await memoryEngine.open('', source.empty)
    await engine.apply([source.append(Array.from({ length: 3000 }, (_, index) => putOperation(`k${index}`, 'v')))])
    for (const failing of [1, 2]) {
      let pieces = 0
      const error = await failureOf(
        resolveClear(
          { family: 0 },
          {
            engine,
            barrier: async () => source.end,
            write: async () => {
              pieces += 1
              if (pieces === failing) throw new UnderstudyError('BACKPRESSURE', 'not taken')
              return source.end
            },
          },
        ),
      )
      assert.equal(error.outcome, failing === 1 ? 'none' : 'unknown')
    }
  })
})
