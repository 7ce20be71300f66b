/** The forwarder alone, on links that only take down what is sent. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { encodeBlock } from '#src/codec/block.js'
import type { Message } from '#src/codec/messages.js'
import type { Block } from '#src/core/entry.js'
import { limits } from '#src/core/limits.js'
import type { Epoch, Position } from '#src/core/position.js'
import { UnderstudyError } from '#src/errors.js'
import type { Link } from '#src/link/link.js'
import { Forwarder } from '#src/runtime/forwarder.js'
import { testClock } from '../support/clock.js'
import { failureOf, put, until } from '../support/cluster.js'

const origin = { node: 'b', boot: '00112233445566aa' }
const first: Epoch = { number: 1, node: 'a' }
const second: Epoch = { number: 2, node: 'c' }
const patient = { timeoutMs: 60_000 }

class Bench {
  applied = 1
  private requests = 100
  private chain = '0'.repeat(32)
  readonly forwarder = new Forwarder({
    clock: testClock,
    origin,
    nextRequest: () => ++this.requests,
    applied: () => this.applied,
    obstacle: () => ({ code: 'UNAVAILABLE', message: 'nobody leads' }),
  })

  link(): { readonly link: Link; readonly sent: Array<Message<'forward'> & { readonly bytes: number }> } {
    const sent: Array<Message<'forward'> & { readonly bytes: number }> = []
    const send = (_name: string, message: Message<'forward'>, bytes: Uint8Array) =>
      sent.push({ ...message, bytes: bytes.length })
    return { link: { send, unsentBytes: 0 } as unknown as Link, sent }
  }

  /** A block with entries of these requests is applied. */
  apply(epoch: Epoch, ...requests: readonly number[]): Position {
    const block: Block = encodeBlock({
      epoch,
      firstSequence: this.applied + 1,
      timestampMs: 0,
      committed: 0,
      flushedBefore: 0,
      chainBefore: this.chain,
      epochStart: false,
      entries: [
        { origin: { node: 'a', boot: origin.boot }, request: 101, operations: [put('other', 'v')] },
        ...requests.map((request) => ({ origin, request, operations: [put('k', 'v')] })),
      ],
    })
    this.applied = block.end.sequence
    this.chain = block.end.chain
    this.forwarder.onApplied([block])
    return block.end
  }
}

async function settled(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve))
}

describe('forwarder', () => {
  test('S9: nothing is sent in an epoch before its first block is applied here; what was in the tail is never sent again', async () => {
    const bench = new Bench()
    const { forwarder } = bench
    const old = bench.link()
    forwarder.attach(old.link, first, 1)
    const kept = forwarder.write([put('kept', 'v')], patient)
    const cut = forwarder.write([put('cut', 'v')], patient)
    assert.deepEqual(
      old.sent.map((message) => message.request),
      [101, 102],
    )
    forwarder.detach(old.link)
    const late = forwarder.write([put('late', 'v')], patient)
    const next = bench.link()
    forwarder.attach(next.link, second, 6)
    assert.equal(next.sent.length, 0)
    const position = bench.apply(first, 101)
    assert.deepEqual(await kept, position, 'done without an answer')
    assert.equal(next.sent.length, 0, 'the first block of the epoch is still to come')
    bench.apply(second, 55, 56)
    assert.deepEqual(
      next.sent.map(({ request, epoch }) => [request, epoch.number]),
      [
        [102, 2],
        [103, 2],
      ],
    )
    bench.apply(second, 102, 103)
    await Promise.all([cut, late])
  })

  test('S9: an answer that comes from a role that is over says nothing of what was sent since', async () => {
    const bench = new Bench()
    const { forwarder } = bench
    let refuse: ((error: Error) => void) | undefined
    const role = {
      epoch: first,
      isReady: true,
      inSync: { epochStart: 1 },
      write: () => new Promise((_resolve, reject) => (refuse = reject)),
    }
    forwarder.lead(role as never)
    const write = forwarder.write([put('k', 'v')], patient)
    forwarder.detach(role as never)
    const { link, sent } = bench.link()
    forwarder.attach(link, second, 2)
    bench.apply(second)
    assert.equal(sent.length, 1)
    refuse!(new UnderstudyError('FENCED', 'the role is over', { outcome: 'none' }))
    await settled()
    forwarder.detach(link)
    forwarder.attach(bench.link().link, second, 2)
    await settled()
    assert.equal(sent.length, 1, 'not sent once more')
    bench.apply(second, sent[0]!.request)
    await write
  })

  test('S9: a primary that is not ready is asked again, one that refuses the write is not', async () => {
    const bench = new Bench()
    const { forwarder } = bench
    const { link, sent } = bench.link()
    forwarder.attach(link, first, 1)
    const write = forwarder.write([put('k', 'v')], patient)
    const failure = { code: 'NOT_READY', message: 'not yet', hint: undefined, outcome: 'none' } as const
    forwarder.answered({ request: 101, position: undefined, failure })
    await until(() => sent.length === 2, 'sent again')
    assert.equal(sent[1]!.request, 101, 'under the same number')
    bench.apply(first, 101)
    await write
    const refused = failureOf(forwarder.write([put('k', 'v')], patient))
    forwarder.answered({ request: 102, position: undefined, failure: { ...failure, code: 'BACKPRESSURE' } })
    assert.equal((await refused).code, 'UNDERSTUDY_BACKPRESSURE')
    forwarder.close(new UnderstudyError('CLOSED', 'closed'))
  })

  test('S9: after an append the outcome is never none, and done once it is known to be committed', async () => {
    const bench = new Bench()
    const { forwarder } = bench
    const { link } = bench.link()
    const unsent = failureOf(forwarder.write([put('k', 'v')], { timeoutMs: 1 }))
    assert.equal((await unsent).outcome, 'none')
    assert.match((await unsent).message, /nobody leads/)
    forwarder.attach(link, first, 1)
    const unanswered = failureOf(forwarder.write([put('k', 'v')], { timeoutMs: 1 }))
    assert.equal((await unanswered).outcome, 'unknown')
    const told = failureOf(forwarder.write([put('k', 'v')], { timeoutMs: 1 }))
    forwarder.answered({
      request: 103,
      position: { epoch: first, sequence: 50, chain: '0'.repeat(32) },
      failure: undefined,
    })
    assert.equal((await told).outcome, 'done')
    const ended = [forwarder.write([put('k', 'v')], patient), forwarder.write([put('k', 'v')], patient)].map(failureOf)
    forwarder.answered({
      request: 105,
      position: { epoch: first, sequence: 50, chain: '0'.repeat(32) },
      failure: undefined,
    })
    forwarder.close(new UnderstudyError('CLOSED', 'closed'))
    assert.deepEqual(
      (await Promise.all(ended)).map((error) => [error.failure, error.outcome]),
      [
        ['CLOSED', 'unknown'],
        ['CLOSED', 'done'],
      ],
    )
    assert.equal((await failureOf(forwarder.write([], patient))).code, 'UNDERSTUDY_CLOSED')
  })

  test('S9: what may have been applied by a bootstrap unseen is given up, what was never sent goes on', async () => {
    const bench = new Bench()
    const { forwarder } = bench
    const { link } = bench.link()
    forwarder.attach(link, first, 1)
    const sent = failureOf(forwarder.write([put('k', 'v')], patient))
    forwarder.detach(link)
    const unsent = forwarder.write([put('k', 'v')], patient)
    forwarder.dataGone()
    assert.equal((await sent).outcome, 'unknown')
    const next = bench.link()
    bench.applied = 10
    forwarder.attach(next.link, second, 5)
    assert.deepEqual(
      next.sent.map(({ request }) => request),
      [102],
    )
    bench.apply(second, 102)
    await unsent
  })

  test('a node that must wait for an operator answers at once, and goes on when it follows again', async () => {
    const bench = new Bench()
    const { forwarder } = bench
    const waiting = failureOf(forwarder.write([put('k', 'v')], patient))
    forwarder.fence(new UnderstudyError('FENCED', 'b is fenced: diverged'))
    assert.equal((await waiting).outcome, 'none')
    assert.equal((await failureOf(forwarder.write([put('k', 'v')], patient))).code, 'UNDERSTUDY_FENCED')
    forwarder.attach(bench.link().link, second, 1)
    const write = forwarder.write([put('k', 'v')], patient)
    bench.apply(second, 102)
    await write
  })

  test('I8: what waits for a primary is bounded in number and bytes', async () => {
    const bench = new Bench()
    const { forwarder } = bench
    const large = put('k', 'v'.repeat(limits.valueBytesMax))
    const waits = Array.from({ length: 7 }, () => failureOf(forwarder.write([large], patient)))
    const refused = await failureOf(forwarder.write([large, large], patient))
    assert.equal(refused.code, 'UNDERSTUDY_BACKPRESSURE')
    assert.equal(refused.outcome, 'none')
    for (let index = waits.length; index < limits.forwardsInFlightMax; index++)
      waits.push(failureOf(forwarder.write([], patient)))
    assert.equal((await failureOf(forwarder.write([], patient))).code, 'UNDERSTUDY_BACKPRESSURE')
    const { link, sent } = bench.link()
    forwarder.attach(link, first, 1)
    assert.ok(sent.length <= 3, `${sent.length} of 16 MiB each are on their way before the first is answered`)
    forwarder.close(new UnderstudyError('CLOSED', 'closed'))
    assert.equal((await Promise.all(waits)).length, limits.forwardsInFlightMax)
  })
})
