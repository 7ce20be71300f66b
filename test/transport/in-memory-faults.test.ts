import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { frameTypes } from '#src/codec/messages.js'
import { isFailure } from '#src/errors.js'
import type { Connection, Transport } from '#src/ports/transport.js'
import { Recorder } from '#src/transport/conformance-kit.js'
import { createInMemoryNetwork, type InMemoryNetwork, type NetworkDelay } from '#src/transport/in-memory.js'

/** A clock that moves by hand. */
function manualClock() {
  let nowMs = 0
  const timers = new Set<{ readonly atMs: number; readonly fn: () => void }>()
  const deferred: Array<() => void> = []
  return {
    nowMs: () => nowMs,
    setTimer(delayMs: number, fn: () => void) {
      const timer = { atMs: nowMs + delayMs, fn }
      timers.add(timer)
      return { cancel: () => void timers.delete(timer) }
    },
    defer: (fn: () => void) => void deferred.push(fn),
    /** Runs everything that is due, until nothing is, promises included. */
    async settle() {
      for (let quiet = 0; quiet < 3; ) {
        const fn = deferred.shift()
        if (fn === undefined) quiet += 1
        else {
          quiet = 0
          fn()
        }
        await Promise.resolve()
      }
    },
    async advance(byMs: number) {
      nowMs += byMs
      for (const timer of [...timers].sort((a, b) => a.atMs - b.atMs)) {
        if (timer.atMs > nowMs || !timers.delete(timer)) continue
        timer.fn()
      }
      await this.settle()
    },
  }
}

interface Scene {
  readonly network: InMemoryNetwork
  readonly clock: ReturnType<typeof manualClock>
  readonly a: Transport
  readonly b: Transport
  readonly near: Connection
  readonly far: Connection
  readonly atNear: Recorder
  readonly atFar: Recorder
}

async function scene(delay?: NetworkDelay): Promise<Scene> {
  const clock = manualClock()
  const network = createInMemoryNetwork(clock, delay)
  const a = network.transport('a:1')
  const b = network.transport('b:1')
  const accepted: Connection[] = []
  b.accept((connection) => accepted.push(connection))
  const connecting = a.connect('b:1', { timeoutMs: 1000 })
  await clock.settle()
  // There and back.
  for (let way = 0; delay !== undefined && way < 2; way++) await clock.advance(delay('a:1', 'b:1', 0))
  const near = await connecting
  const far = accepted[0]
  assert.ok(far)
  const found = { network, clock, a, b, near, far, atNear: new Recorder(near), atFar: new Recorder(far) }
  await clock.settle()
  return found
}

const number = (value: number) => Uint8Array.of(value)
const numbers = (recorder: Recorder) => recorder.frames.map((frame) => frame.payload[0])

describe('in-memory network', () => {
  test('nothing arrives before its time, and the sender keeps count', async () => {
    const { clock, near, atFar } = await scene()
    near.send(frameTypes.ack, number(1))
    assert.equal(atFar.frames.length, 0)
    assert.equal(near.unsentBytes, 6)
    await clock.settle()
    assert.deepEqual(numbers(atFar), [1])
    assert.equal(near.unsentBytes, 0)
  })

  test('where it takes time, what is sent at one moment arrives at one moment, and all of it in its order', async () => {
    let asked = 0
    const delays = [10, 10, 5, 7]
    const { network, clock, near, atFar } = await scene((_from, _to, bytes) =>
      bytes === 0 ? 10 : delays[asked++ % 4]!,
    )
    for (const value of [1, 2]) near.send(frameTypes.ack, number(value))
    assert.equal(asked, 1, 'one segment')
    await clock.advance(1)
    near.send(frameTypes.ack, number(3))
    assert.equal(asked, 2)
    await clock.advance(8)
    assert.deepEqual(numbers(atFar), [])
    await clock.advance(1)
    assert.deepEqual(numbers(atFar), [1, 2])
    await clock.advance(1)
    assert.deepEqual(numbers(atFar), [1, 2, 3])
    for (const value of [4, 5, 6]) near.send(frameTypes.ack, number(value))
    const receive = atFar.frames.push.bind(atFar.frames)
    atFar.frames.push = (...frames) => {
      network.dropConnections('a:1', 'b:1')
      return receive(...frames)
    }
    await clock.advance(20)
    assert.deepEqual(numbers(atFar), [1, 2, 3, 4], 'the connection broke under what came with it')
    assert.equal(near.unsentBytes, 0)
  })

  test('the receiver owns its payload: what the sender reuses does not change it', async () => {
    const { clock, near, atFar } = await scene()
    const payload = number(1)
    near.send(frameTypes.ack, payload)
    payload[0] = 2
    await clock.settle()
    assert.deepEqual(numbers(atFar), [1])
  })

  test('a partition holds what is sent, keeps its order, and gives it up when healed', async () => {
    const { network, clock, near, far, atNear, atFar } = await scene()
    network.partition('a:1', 'b:1')
    for (const value of [1, 2, 3]) near.send(frameTypes.ack, number(value))
    far.send(frameTypes.ack, number(9))
    await clock.settle()
    assert.deepEqual([numbers(atNear), numbers(atFar)], [[], []])
    assert.equal(near.unsentBytes, 18)
    network.heal('a:1', 'b:1')
    near.send(frameTypes.ack, number(4))
    await clock.settle()
    assert.deepEqual([numbers(atNear), numbers(atFar)], [[9], [1, 2, 3, 4]])
  })

  test('L3: a one-way partition lets the other direction through', async () => {
    const { network, clock, near, far, atNear, atFar } = await scene()
    network.partition('a:1', 'b:1', { oneWay: true })
    near.send(frameTypes.ack, number(1))
    far.send(frameTypes.ack, number(2))
    await clock.settle()
    assert.deepEqual([numbers(atNear), numbers(atFar)], [[2], []])
  })

  test('connecting across a partition runs into its time-out, and leaves nothing behind', async () => {
    const { network, clock, a, b } = await scene()
    network.partition('a:1', 'b:1')
    let accepted = 0
    b.accept(() => {
      accepted += 1
    })
    const refused = assert.rejects(a.connect('b:1', { timeoutMs: 500 }), (error) => isFailure(error, 'TIMEOUT'))
    await clock.advance(500)
    await refused
    network.heal()
    await clock.settle()
    assert.equal(accepted, 0)
  })

  test('a connection that was accepted after its initiator gave up is lost to the acceptor', async () => {
    const { network, clock, a, b } = await scene()
    let recorder: Recorder | undefined
    b.accept((connection) => {
      recorder = new Recorder(connection)
    })
    network.partition('b:1', 'a:1', { oneWay: true })
    const refused = assert.rejects(a.connect('b:1', { timeoutMs: 500 }), (error) => isFailure(error, 'TIMEOUT'))
    await clock.settle()
    await clock.advance(500)
    await refused
    assert.ok(recorder)
    assert.ok(isFailure(await recorder.closed, 'UNAVAILABLE'))
  })

  test('a closed connection ends by itself across a partition; the other side hears of it when healed', async () => {
    const { network, clock, near, atNear, atFar } = await scene()
    network.partition('a:1', 'b:1')
    near.close()
    await clock.advance(60_000)
    assert.equal(atNear.closeCount, 1)
    assert.equal(atFar.closeCount, 0)
    network.heal()
    await clock.settle()
    assert.ok(isFailure(await atFar.closed, 'UNAVAILABLE'))
  })

  test('paused delivery holds everything until it is resumed', async () => {
    const { network, clock, near, far, atNear, atFar } = await scene()
    network.pauseDelivery()
    near.send(frameTypes.ack, number(1))
    far.close()
    await clock.settle()
    assert.deepEqual([numbers(atFar), atNear.closeCount], [[], 0])
    network.resumeDelivery()
    await clock.settle()
    // The far side had closed before the frame came.
    assert.deepEqual([numbers(atFar), atNear.closeCount, atFar.closeCount], [[], 1, 1])
  })

  test('a dropped connection breaks on both sides, loses what was under way, and may be opened again', async () => {
    const { network, clock, a, near, far, atNear, atFar } = await scene()
    near.send(frameTypes.ack, number(1))
    network.dropConnections('a:1', 'b:1')
    await clock.settle()
    for (const recorder of [atNear, atFar]) assert.ok(isFailure(await recorder.closed, 'UNAVAILABLE'))
    assert.deepEqual(numbers(atFar), [])
    near.send(frameTypes.ack, number(2))
    far.close()
    const again = a.connect('b:1', { timeoutMs: 1000 })
    await clock.settle()
    assert.equal((await again).remote, 'b:1')
  })

  test('a crashed node leaves its address to its successor and breaks what it had', async () => {
    const { network, clock, a, atNear } = await scene()
    assert.throws(
      () => network.transport('b:1'),
      (error) => isFailure(error, 'ADDRESS_IN_USE'),
    )
    network.crash('b:1')
    await clock.settle()
    assert.ok(isFailure(await atNear.closed, 'UNAVAILABLE'))
    const refused = assert.rejects(a.connect('b:1', { timeoutMs: 1000 }), (error) => isFailure(error, 'UNAVAILABLE'))
    await clock.settle()
    await refused
    network.transport('b:1').accept((connection) => void new Recorder(connection))
    const again = a.connect('b:1', { timeoutMs: 1000 })
    await clock.settle()
    assert.equal((await again).remote, 'b:1')
  })

  test('the same calls give the same history', async () => {
    const histories = []
    for (let run = 0; run < 2; run++) {
      const { clock, near, far, atNear, atFar } = await scene()
      const history: string[] = []
      for (let index = 0; index < 20; index++) {
        near.send(frameTypes.ack, number(index))
        if (index % 3 === 0) far.send(frameTypes.ack, number(index))
        if (index % 5 === 0) await clock.settle()
        history.push(`${numbers(atNear)}|${numbers(atFar)}|${near.unsentBytes}`)
      }
      histories.push(history)
    }
    assert.deepEqual(histories[0], histories[1])
  })
})
