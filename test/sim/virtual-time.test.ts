import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { SeededStreams } from '#src/sim/seeded-random.js'
import { SimulatedProcess } from '#src/sim/simulated-process.js'
import { VirtualTime } from '#src/sim/virtual-time.js'

function processOf(time: VirtualTime, rate = 1): SimulatedProcess {
  return new SimulatedProcess({ time, random: new SeededStreams(1).of('process'), rate, wallOffsetMs: 0 })
}

describe('virtual time', () => {
  test('events happen in the order of their times, those of one time in the order in which they were made', async () => {
    const time = new VirtualTime()
    const seen: string[] = []
    time.schedule(20, () => seen.push('c'))
    time.schedule(10, () => seen.push('a'))
    time.schedule(10, () => seen.push('b'))
    time.schedule(15, () => seen.push('never')).cancel()
    await time.run(() => false)
    assert.deepEqual(seen, ['a', 'b', 'c'])
    assert.equal(time.nowMs, 20)
  })

  test('all promises go on before the next event', async () => {
    const time = new VirtualTime()
    const seen: string[] = []
    time.schedule(1, () => {
      void (async () => {
        for (let turn = 0; turn < 50; turn++) await undefined
        seen.push('promise')
      })()
    })
    time.schedule(1, () => seen.push('event'))
    await time.run(() => false)
    assert.deepEqual(seen, ['promise', 'event'])
  })

  test('promises that are rejected and that nobody takes before the next event are told', async () => {
    const time = new VirtualTime()
    const told: unknown[] = []
    const others = process.listeners('unhandledRejection')
    process.removeAllListeners('unhandledRejection')
    process.on('unhandledRejection', (reason) => told.push(reason))
    try {
      let late: Promise<never> | undefined
      time.schedule(1, () => {
        late = Promise.reject(new Error('nobody waits'))
      })
      time.schedule(2, () => assert.equal(told.length, 1))
      time.schedule(3, () => void late?.catch(() => undefined))
      await time.run(() => false)
    } finally {
      process.removeAllListeners('unhandledRejection')
      for (const other of others) process.on('unhandledRejection', other)
    }
  })

  test('without a way to drain the queues it goes on in the same order, by turns of the event loop', async () => {
    const seen = await Promise.all(
      [new VirtualTime().drain, undefined].map(async (drain) => {
        const time = new VirtualTime()
        time.drain = drain
        const order: string[] = []
        const later = (name: string, delayMs: number) =>
          time.schedule(delayMs, () => {
            order.push(name)
            void (async () => {
              for (let turn = 0; turn < 5; turn++) await undefined
              order.push(`${name} goes on`)
              process.nextTick(() => order.push(`${name} ticks`))
            })()
          })
        for (const [name, delayMs] of [
          ['a', 2],
          ['b', 1],
          ['c', 2],
        ] as const)
          later(name, delayMs)
        await time.run(() => false)
        return order
      }),
    )
    assert.deepEqual(seen[0], seen[1])
    assert.deepEqual(seen[0]?.slice(0, 4), ['b', 'b goes on', 'b ticks', 'a'])
  })

  test('many events keep their order', async () => {
    const time = new VirtualTime()
    const random = new SeededStreams(2).of('delays')
    const seen: number[] = []
    for (let count = 0; count < 500; count++) {
      const delayMs = random.below(100)
      time.schedule(delayMs, () => seen.push(delayMs))
    }
    await time.run(() => false)
    assert.deepEqual(
      seen,
      [...seen].sort((a, b) => a - b),
    )
    assert.equal(seen.length, 500)
  })
})

describe('a simulated process', () => {
  test('what happens while it stands still happens afterwards, in order; its clock goes on', async () => {
    const time = new VirtualTime()
    const process = processOf(time)
    const seen: string[] = []
    const beganMs = process.nowMs()
    process.stand()
    process.after(10, () => seen.push('a'))
    process.after(20, () => seen.push('b'))
    const cancelled = process.after(5, () => seen.push('never'))
    time.schedule(50, () => {
      assert.deepEqual(seen, [])
      cancelled.cancel()
      process.goOn()
    })
    await time.run(() => false)
    assert.deepEqual(seen, ['a', 'b'])
    assert.equal(process.nowMs() - beganMs, 50)
  })

  test('nothing reaches one that is gone', async () => {
    const time = new VirtualTime()
    const process = processOf(time)
    const seen: string[] = []
    process.setTimer(10, () => seen.push('timer'))
    process.defer(() => seen.push('deferred'))
    process.kill()
    await time.run(() => false)
    assert.deepEqual(seen, [])
  })

  test('of many timers those that are cancelled never fire, and all others do in their order', async () => {
    const time = new VirtualTime()
    const fired: number[] = []
    const timers = Array.from({ length: 1_000 }, (_, index) =>
      time.schedule((index * 7_919) % 1_000, () => fired.push((index * 7_919) % 1_000)),
    )
    for (const [index, timer] of timers.entries()) if (index % 10 !== 0) timer.cancel()
    // A second time, and after it is over: nothing more happens.
    timers[1]!.cancel()
    await time.run(() => false)
    for (const timer of timers) timer.cancel()
    time.schedule(1, () => fired.push(1_000))
    await time.run(() => false)
    const expected = timers.flatMap((_, index) => (index % 10 === 0 ? [(index * 7_919) % 1_000] : []))
    assert.deepEqual(fired, [...expected.sort((a, b) => a - b), 1_000])
  })

  test('a clock that runs fast reaches its timers early', async () => {
    const time = new VirtualTime()
    const process = processOf(time, 2)
    const beganMs = process.nowMs()
    let firedMs = 0
    process.setTimer(1_000, () => {
      firedMs = time.nowMs
    })
    await time.run(() => false)
    assert.ok(firedMs >= 500 && firedMs < 501, String(firedMs))
    assert.ok(process.nowMs() - beganMs >= 1_000)
  })
})

describe('seeded chance', () => {
  test('a stream follows from seed and purpose, and from nothing else', () => {
    const numbers = (seed: number, purpose: string) => {
      const random = new SeededStreams(seed).of(purpose)
      return Array.from({ length: 20 }, () => random.next())
    }
    assert.deepEqual(numbers(1, 'a'), numbers(1, 'a'))
    assert.notDeepEqual(numbers(1, 'a'), numbers(1, 'b'))
    assert.notDeepEqual(numbers(1, 'a'), numbers(2, 'a'))
    assert.ok(numbers(1, 'a').every((one) => one >= 0 && one < 1))
    assert.match(new SeededStreams(1).of('x').hex(7), /^[0-9a-f]{14}$/)
  })
})
