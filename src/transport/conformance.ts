/** What every transport must do. One suite for all of them: `testTransport(name, harness)` registers it. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { encodeFailure } from '../codec/failure.js'
import { frameTypes } from '../codec/messages.js'
import { limits } from '../core/limits.js'
import { isFailure, UnderstudyError } from '../errors.js'
import type { Connection } from '../ports/transport.js'
import { numbered, patient, Recorder, type TransportHarness, until, withNodes, withPair } from './conformance-kit.js'

export function testTransport(name: string, harness: TransportHarness): void {
  const options = { timeout: 60_000 }
  describe(`transport ${name}`, () => {
    test('frames arrive whole, once and in order, both ways', options, () =>
      withPair(harness, { secret: 'one secret for all nodes' }, async ({ near, far }) => {
        const [atNear, atFar] = [new Recorder(near), new Recorder(far)]
        const count = 2_000
        for (let index = 0; index < count; index++) {
          near.send(frameTypes.ack, numbered(index, 4 + (index % 50) * 40))
          far.send(frameTypes.committed, numbered(index, 4 + (index % 7)))
        }
        for (const [recorder, type] of [
          [atFar, frameTypes.ack],
          [atNear, frameTypes.committed],
        ] as const) {
          const frames = await recorder.reach(count)
          for (const [index, frame] of frames.entries()) {
            assert.equal(frame.type, type)
            assert.equal(Buffer.from(frame.payload).readUInt32LE(0), index)
          }
        }
      }),
    )

    test('a frame may be empty, or as large as its type allows, and may be sent in parts', options, () =>
      withPair(harness, {}, async ({ near, far }) => {
        const atFar = new Recorder(far)
        new Recorder(near)
        const large = Buffer.alloc(limits.frameBytesMax - 3, 7)
        near.send(frameTypes.leave)
        near.send(frameTypes.chunk, Buffer.from([1]), large, new Uint8Array(0), Buffer.from([2, 3]))
        near.send(frameTypes.query)
        const frames = await atFar.reach(3)
        assert.deepEqual(
          frames.map((frame) => [frame.type, frame.payload.length]),
          [
            [frameTypes.leave, 0],
            [frameTypes.chunk, limits.frameBytesMax],
            [frameTypes.query, 0],
          ],
        )
        const payload = frames[1]?.payload ?? new Uint8Array(0)
        assert.deepEqual([payload[0], payload[1], payload.at(-3), payload.at(-2), payload.at(-1)], [1, 7, 7, 2, 3])
        assert.ok(Buffer.from(payload.buffer, payload.byteOffset, payload.length).subarray(1, -2).equals(large))
      }),
    )

    test('frames that come before start are kept', options, () =>
      withPair(harness, { secret: 's' }, async ({ near, far }) => {
        const atNear = new Recorder(near)
        const count = 500
        for (let index = 0; index < count; index++) near.send(frameTypes.ack, numbered(index, 64))
        far.send(frameTypes.ack, numbered(0, 4))
        await atNear.reach(1)
        const frames = await new Recorder(far).reach(count)
        assert.deepEqual(
          frames.map((frame) => Buffer.from(frame.payload).readUInt32LE(0)),
          Array.from({ length: count }, (_, index) => index),
        )
      }),
    )

    test('unsent bytes grow while the other side does not read, and drain when it does', options, () =>
      withPair(harness, {}, async ({ near, far }) => {
        new Recorder(near)
        assert.equal(near.unsentBytes, 0)
        const blockBytes = 1024 * 1024
        for (let index = 0; index < 24; index++) near.send(frameTypes.block, numbered(index, blockBytes))
        await new Promise<void>((resolve) => setImmediate(resolve))
        assert.ok(near.unsentBytes > blockBytes, `${near.unsentBytes} bytes unsent`)
        await new Recorder(far).reach(24)
        await until(() => near.unsentBytes === 0)
      }),
    )

    test('I8: a peer that never reads is given up before memory is', options, () =>
      withPair(harness, { limits: { unsentBytesMax: 4 * 1024 * 1024 } }, async ({ near }) => {
        const atNear = new Recorder(near)
        for (let index = 0; index < 64; index++) near.send(frameTypes.block, numbered(index, 1024 * 1024))
        assert.ok(isFailure(await atNear.closed, 'LIMIT_EXCEEDED'))
        assert.equal(near.unsentBytes, 0)
      }),
    )

    for (const side of ['near', 'far'] as const) {
      test(`close from the ${side} side sends what was handed over, then ends both without an error`, options, () =>
        withPair(harness, {}, async (pair) => {
          const recorders = { near: new Recorder(pair.near), far: new Recorder(pair.far) }
          const other = side === 'near' ? 'far' : 'near'
          for (let index = 0; index < 100; index++) pair[side].send(frameTypes.block, numbered(index, 10_000))
          pair[side].close()
          pair[side].close(new Error('the first close counts'))
          pair[side].send(frameTypes.leave)
          assert.equal(await recorders[other].closed, undefined)
          assert.equal(await recorders[side].closed, undefined)
          assert.equal(recorders[other].frames.length, 100)
          assert.deepEqual([recorders.near.closeCount, recorders.far.closeCount], [1, 1])
        }),
      )

      test(`close from the ${side} side with an error tells both sides why`, options, () =>
        withPair(harness, {}, async (pair) => {
          const recorders = { near: new Recorder(pair.near), far: new Recorder(pair.far) }
          const other = side === 'near' ? 'far' : 'near'
          const error = new UnderstudyError('CLUSTER_MISMATCH', 'cluster shop is not bank', { hint: 'ask bank' })
          pair[side].close(error)
          assert.equal(await recorders[side].closed, error)
          const heard = await recorders[other].closed
          assert.ok(isFailure(heard, 'CLUSTER_MISMATCH'))
          assert.match(heard.message, /cluster shop is not bank/)
          assert.equal(heard.hint, 'ask bank')
        }),
      )
    }

    test('a failure frame that was sent by hand is not sent a second time by close', options, () =>
      withPair(harness, {}, async ({ near, far }) => {
        const atFar = new Recorder(far)
        new Recorder(near)
        const error = new UnderstudyError('HISTORY_MISMATCH', 'another history')
        near.send(frameTypes.failure, encodeFailure(error))
        near.close(error)
        assert.ok(isFailure(await atFar.closed, 'HISTORY_MISMATCH'))
        assert.equal(atFar.frames.length, 1)
      }),
    )

    test('closing both sides at once ends both once', options, () =>
      withPair(harness, {}, async ({ near, far }) => {
        const recorders = [new Recorder(near), new Recorder(far)]
        near.close()
        far.close()
        assert.deepEqual(await Promise.all(recorders.map((one) => one.closed)), [undefined, undefined])
        assert.deepEqual(
          recorders.map((one) => one.closeCount),
          [1, 1],
        )
      }),
    )

    test('a connection that ended before start still gives its frames and its end', options, () =>
      withPair(harness, {}, async ({ near, far }) => {
        const atNear = new Recorder(near)
        near.send(frameTypes.leave)
        near.close()
        const atFar = new Recorder(far)
        assert.equal(await atFar.closed, undefined)
        assert.deepEqual(
          atFar.frames.map((frame) => frame.type),
          [frameTypes.leave],
        )
        await atNear.closed
      }),
    )

    test('a handler that throws a coded error closes the connection with it', options, () =>
      withPair(harness, {}, async ({ near, far }) => {
        const atNear = new Recorder(near)
        const error = new UnderstudyError('PROTOCOL', 'a welcome without a hello')
        const closed = new Promise<Error | undefined>((resolve) => {
          far.start({
            onFrame() {
              throw error
            },
            onClose: resolve,
          })
        })
        near.send(frameTypes.welcome)
        assert.equal(await closed, error)
        assert.ok(isFailure(await atNear.closed, 'PROTOCOL'))
      }),
    )

    test('half-open: a closed connection whose other side never answers ends in bounded time', options, () =>
      withPair(harness, { limits: { closeTimeoutMs: 50 } }, async ({ near, far }) => {
        const atNear = new Recorder(near)
        for (let index = 0; index < 24; index++) near.send(frameTypes.block, numbered(index, 1024 * 1024))
        near.close()
        // The far side has not been started: it neither reads nor ends.
        assert.equal(await atNear.closed, undefined)
        assert.equal(near.unsentBytes, 0)
        await new Recorder(far).closed
      }),
    )

    test('sending what is no frame of the protocol is a bug of the caller', options, () =>
      withPair(harness, {}, async ({ near }) => {
        assert.throws(() => near.send(99), /invariant/)
        assert.throws(() => near.send(frameTypes.ack, new Uint8Array(limits.controlFrameBytesMax + 1)), /invariant/)
      }),
    )

    test('connecting to nobody is UNAVAILABLE', options, () =>
      withNodes(harness, {}, {}, async (a) => {
        await assert.rejects(a.transport.connect(await harness.deadAddress(), patient), (error) =>
          isFailure(error, 'UNAVAILABLE'),
        )
      }),
    )

    test('connecting to a node that does not accept is UNAVAILABLE', options, () =>
      withNodes(harness, {}, {}, async (a, b) => {
        await assert.rejects(a.transport.connect(b.address, patient), (error) => isFailure(error, 'UNAVAILABLE'))
      }),
    )

    test('an address that is none is CONFIG', options, () =>
      withNodes(harness, {}, {}, async (a) => {
        for (const address of ['', 'host', 'host:', ':1', 'a:b:1', 'host:70000', 'http://host:1', '[::1]', '[x]:1']) {
          await assert.rejects(a.transport.connect(address, patient), (error) => isFailure(error, 'CONFIG'), address)
        }
      }),
    )

    test('I8: connecting to somebody who never answers ends with TIMEOUT', options, () =>
      withNodes(harness, {}, {}, async (a) => {
        const silent = await harness.silentAddress()
        await assert.rejects(a.transport.connect(silent.address, { timeoutMs: 50 }), (error) =>
          isFailure(error, 'TIMEOUT'),
        )
        await silent.close()
      }),
    )

    test('connecting is aborted by its signal, before and while it waits', options, () =>
      withNodes(harness, {}, {}, async (a) => {
        const silent = await harness.silentAddress()
        const aborter = new AbortController()
        const connecting = a.transport.connect(silent.address, { ...patient, signal: aborter.signal })
        setImmediate(() => aborter.abort())
        await assert.rejects(connecting, (error) => isFailure(error, 'ABORTED'))
        await assert.rejects(a.transport.connect(silent.address, { ...patient, signal: aborter.signal }), (error) =>
          isFailure(error, 'ABORTED'),
        )
        await silent.close()
      }),
    )

    test('close ends connections and waits of both directions, and is idempotent', options, () =>
      withPair(harness, {}, async ({ near, far, nodes: [a, b] }) => {
        const recorders = [new Recorder(near), new Recorder(far)]
        const silent = await harness.silentAddress()
        const waiting = assert.rejects(a.transport.connect(silent.address, patient), (error) =>
          isFailure(error, 'CLOSED'),
        )
        await Promise.all([a.transport.close(), a.transport.close()])
        await waiting
        assert.deepEqual(await Promise.all(recorders.map((one) => one.closed)), [undefined, undefined])
        await assert.rejects(a.transport.connect(b.address, patient), (error) => isFailure(error, 'CLOSED'))
        await assert.rejects(b.transport.connect(a.address, patient), (error) => isFailure(error, 'UNAVAILABLE'))
        await a.transport.close()
        await silent.close()
      }),
    )

    test('connections beyond the bound are refused, and taken again when one has ended', options, () =>
      withNodes(harness, {}, { limits: { connectionsMax: 2 } }, async (a, b) => {
        const accepted: Connection[] = []
        b.transport.accept((connection) => {
          accepted.push(connection)
          new Recorder(connection)
        })
        const [first] = [await a.transport.connect(b.address, patient), await a.transport.connect(b.address, patient)]
        await until(() => accepted.length === 2)
        await assert.rejects(a.transport.connect(b.address, patient), (error) => isFailure(error, 'UNAVAILABLE'))
        const atFirst = new Recorder(first)
        accepted[0]?.close()
        await atFirst.closed
        let next: Connection | undefined
        while (next === undefined) {
          next = await a.transport.connect(b.address, patient).catch((error: unknown) => {
            assert.ok(isFailure(error, 'UNAVAILABLE'))
            return undefined
          })
        }
        new Recorder(next)
      }),
    )

    testSecrets(harness)
  })
}

function testSecrets(harness: TransportHarness): void {
  const cases = [
    { title: 'none on both sides', first: undefined, second: undefined, refused: undefined },
    { title: 'the same on both sides', first: 'correct horse', second: 'correct horse', refused: undefined },
    {
      title: 'different ones',
      first: 'correct horse',
      second: 'battery staple',
      refused: /secret of .* is not the one/,
    },
    { title: 'one that begins like the other', first: 'correct', second: 'correct horse', refused: /is not the one/ },
    { title: 'only where the connection comes from', first: 'correct horse', second: undefined, refused: / has none$/ },
    {
      title: 'only where the connection goes to',
      first: undefined,
      second: 'correct horse',
      refused: /this node has none$/,
    },
  ] as const
  for (const { title, first, second, refused } of cases) {
    const outcome = refused === undefined ? 'connects' : 'is refused on both sides (F33)'
    test(`secret, ${title}: ${outcome}`, { timeout: 20_000 }, () =>
      withNodes(
        harness,
        first === undefined ? {} : { secret: first },
        second === undefined ? {} : { secret: second },
        async (a, b) => {
          let accepted = 0
          b.transport.accept((connection) => {
            accepted += 1
            new Recorder(connection)
          })
          if (refused === undefined) {
            new Recorder(await a.transport.connect(b.address, patient))
            await until(() => accepted === 1)
            assert.deepEqual(b.refusals, [])
            return
          }
          await assert.rejects(a.transport.connect(b.address, patient), (error) => {
            assert.ok(isFailure(error, 'UNAUTHORIZED'), String(error))
            assert.match(error.message, refused)
            assert.ok(error.hint !== undefined)
            return true
          })
          await until(() => b.refusals.length > 0)
          assert.deepEqual(b.refusals, ['UNDERSTUDY_UNAUTHORIZED'])
          assert.equal(accepted, 0)
        },
      ),
    )
  }

  test('secret, empty: CONFIG, not a silent absence (F33)', async () => {
    await assert.rejects(harness.node({ secret: '' }), (error) => isFailure(error, 'CONFIG'))
  })
}
