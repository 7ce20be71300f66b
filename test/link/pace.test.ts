import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { decodeMessage, encodeMessage, frameTypes, type Message } from '#src/codec/messages.js'
import { limits } from '#src/core/limits.js'
import { Link } from '#src/link/link.js'
import type { Clock } from '#src/ports/clock.js'
import type { Connection, ConnectionHandlers } from '#src/ports/transport.js'

/** Time that passes when a test says so; input that is ready comes before what was deferred. */
class ManualClock implements Clock {
  private atMs = 1000
  private timers: Array<{ readonly dueMs: number; readonly fn: () => void }> = []
  /** Arrives while the process stands still. */
  input: (() => void) | undefined

  nowMs(): number {
    return this.atMs
  }

  wallMs(): number {
    return 0
  }

  setTimer(delayMs: number, fn: () => void) {
    const timer = { dueMs: this.atMs + delayMs, fn }
    this.timers.push(timer)
    return {
      cancel: () => {
        this.timers = this.timers.filter((one) => one !== timer)
      },
    }
  }

  defer(fn: () => void): void {
    this.input?.()
    this.input = undefined
    fn()
  }

  pass(ms: number): void {
    const endMs = this.atMs + ms
    for (;;) {
      const next = this.timers.filter(({ dueMs }) => dueMs <= endMs).sort((a, b) => a.dueMs - b.dueMs)[0]
      if (next === undefined) break
      this.timers = this.timers.filter((one) => one !== next)
      this.atMs = Math.max(this.atMs, next.dueMs)
      next.fn()
    }
    this.atMs = endMs
  }

  /** No timer fires meanwhile. */
  standStill(ms: number): void {
    this.atMs += ms
  }
}

class FakeConnection implements Connection {
  readonly remote = 'b.test:7400'
  unsentBytes = 0
  closed = false
  readonly beats: Array<Message<'heartbeat'>> = []
  events!: ConnectionHandlers

  start(events: ConnectionHandlers): void {
    this.events = events
  }

  send(type: number, payload: Uint8Array): void {
    if (type === frameTypes.heartbeat) this.beats.push(decodeMessage('heartbeat', payload))
  }

  close(): void {
    this.closed = true
  }

  /** The peer's heartbeat; absent: it echoes our newest. */
  beat(stamp: number, echo = this.beats.at(-1)?.stamp ?? 0): void {
    this.events.onFrame({ type: frameTypes.heartbeat, payload: encodeMessage('heartbeat', { stamp, echo }) })
  }
}

const pace = { heartbeatMs: 50, silenceMs: 500, bufferBytesMax: 1024 }

function paced() {
  const clock = new ManualClock()
  const connection = new FakeConnection()
  const link = new Link(connection, clock)
  link.setPace(pace)
  return { clock, connection, link }
}

describe('a link whose pace is set', () => {
  test('L3: bytes that arrive show nothing: what we sent must come back', () => {
    const { clock, connection, link } = paced()
    for (let round = 0; round < 20 && !link.isClosed; round++) {
      clock.pass(50)
      connection.beat(round + 1, 0)
    }
    assert.equal(link.isClosed, true)
    assert.ok(clock.nowMs() - 1000 <= 600, `closed after ${clock.nowMs() - 1000} ms`)
  })

  test('an echo that stays the same is no sign of life either', () => {
    const { clock, connection, link } = paced()
    clock.pass(100)
    const { stamp } = connection.beats.at(-1)!
    for (let round = 0; round < 20 && !link.isClosed; round++) {
      clock.pass(50)
      connection.beat(round + 1, stamp)
    }
    assert.equal(link.isClosed, true)
    assert.equal(link.heardAtMs, stamp)
  })

  test('L3: heartbeats go out with their echo also while data is sent, and tell when we were heard', () => {
    const { clock, connection, link } = paced()
    for (let round = 0; round < 40; round++) {
      clock.pass(40)
      link.send('leave', {})
      clock.pass(10)
      connection.beat(7000 + round)
    }
    assert.equal(link.isClosed, false)
    assert.ok(connection.beats.length >= 40, `${connection.beats.length} heartbeats`)
    assert.equal(connection.beats.at(-1)!.echo, 7038)
    assert.ok(clock.nowMs() - link.heardAtMs! <= 50)
  })

  test('F36: who stood still itself takes in what arrived meanwhile before it judges', () => {
    const { clock, connection, link } = paced()
    clock.pass(100)
    clock.standStill(2000)
    clock.input = () => connection.beat(1)
    clock.pass(0)
    assert.equal(link.isClosed, false)
    clock.pass(400)
    assert.equal(link.isClosed, false, 'what was sent since has its own time')
    clock.pass(200)
    assert.equal(link.isClosed, true)
  })

  test('an echo of what was never sent ends the link', () => {
    const { clock, connection, link } = paced()
    connection.beat(1, clock.nowMs() + 1)
    assert.equal(link.isClosed, true)
  })

  test('the journal is held back behind fewer bytes, so that heartbeats are not late', () => {
    const { link } = paced()
    assert.equal(link.bufferBytesMax, 1024)
    assert.equal(new Link(new FakeConnection(), new ManualClock()).bufferBytesMax, limits.sendBufferBytesMax)
  })
})

test('without a pace any bytes are a sign of life, and data stands for heartbeats', () => {
  const clock = new ManualClock()
  const connection = new FakeConnection()
  const link = new Link(connection, clock)
  for (let round = 0; round < 100; round++) {
    clock.pass(40)
    connection.beat(1, 0)
    link.send('leave', {})
  }
  assert.equal(link.isClosed, false)
  assert.equal(connection.beats.length, 0)
  assert.equal(link.heardAtMs, undefined)
  clock.pass(limits.peerSilenceMs + limits.heartbeatMs + 1)
  assert.equal(link.isClosed, true)
})
