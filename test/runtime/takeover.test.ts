import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { decodeBlock } from '#src/codec/block.js'
import { chainZero } from '#src/codec/digest.js'
import { decodeMessage } from '#src/codec/messages.js'
import { limits } from '#src/core/limits.js'
import { epochZero, type Position } from '#src/core/position.js'
import { Link } from '#src/link/link.js'
import { nodeClock } from '#src/platform/node-clock.js'
import { nodeFileSystem } from '#src/platform/node-file-system.js'
import { ShardStore } from '#src/runtime/shard-store.js'
import {
  contentOf,
  failureOf,
  journalBytes,
  put,
  read,
  type TestCluster,
  until,
  untilApplied,
  untilInSync,
  withCluster,
} from '../support/cluster.js'

const simulated = { storage: 'simulated', timeFactor: 5 } as const

async function started(cluster: TestCluster): Promise<void> {
  await cluster.startAll()
  await untilInSync(cluster, 'a', cluster.names)
}

describe('takeover', { timeout: 60_000 }, () => {
  test('C6: after a takeover a standby outside of the set takes the place of the dead primary', async () => {
    await withCluster(simulated, async (cluster) => {
      await started(cluster)
      await cluster.shard('a').removeFromInSync('c')
      await untilInSync(cluster, 'a', ['a', 'b'])
      // c would join again at once: it is held off.
      cluster.kill('c')
      await until(() => cluster.shard('a').status().inSync.length === 2, 'set of a and b')
      await cluster.start('c', { addresses: { a: 'nowhere.test:1' } })
      cluster.kill('a')
      await cluster.shard('b').promote()
      await untilInSync(cluster, 'b', ['b', 'c'])
      const position = await cluster.shard('b').write([put('k', 'v')])
      await untilApplied(cluster, ['c'], position)
    })
  })

  test('I1, C3: a primary that is cut off during a promotion acknowledges nothing any more and cuts only what was uncommitted', async () => {
    await withCluster(simulated, async (cluster) => {
      await started(cluster)
      for (let index = 0; index < 5; index++) await cluster.shard('a').write([put(`k${index}`, 'old')])
      cluster.isolate('a')
      const inFlight = Array.from({ length: 3 }, (_, index) =>
        failureOf(cluster.shard('a').write([put(`k${index}`, 'lost')], { timeoutMs: 20_000, forward: false })),
      )
      await cluster.shard('b').promote()
      const position = await cluster.shard('b').write([put('k0', 'new')])
      await untilApplied(cluster, ['c'], position)
      assert.equal(cluster.shard('a').status().state, 'primary', 'a does not know yet')
      assert.ok(cluster.shard('a').status().sequence.committed < position.sequence)
      cluster.network.heal()
      for (const error of await Promise.all(inFlight)) {
        assert.equal(error.code, 'UNDERSTUDY_FENCED')
        assert.equal(error.outcome, 'unknown', 'S9: it was appended')
      }
      await untilInSync(cluster, 'b', ['a', 'b', 'c'])
      await untilApplied(cluster, ['a'], position)
      assert.equal(await read(cluster, 'a', 'k0'), 'new')
      assert.deepEqual(await contentOf(cluster, 'a'), await contentOf(cluster, 'b'))
      const { divergentFiles, warnings } = cluster.shard('a').status()
      assert.deepEqual(
        divergentFiles.map(({ epoch, entries, missingEntries }) => ({ epoch, entries, missingEntries })),
        [{ epoch: '1@a', entries: 3, missingEntries: 0 }],
        'B3: what was cut is kept in a side file',
      )
      assert.ok(warnings.some((warning) => warning.includes(divergentFiles[0]!.name)))
      for (const name of cluster.names) await cluster.stop(name)
      const bytes = await journalBytes(cluster, 'b')
      for (const name of ['a', 'c']) assert.deepEqual(await journalBytes(cluster, name), bytes, 'I3: byte-identical')
    })
  })

  test('F36: a primary that was paused during a promotion acknowledges nothing when it wakes', async () => {
    await withCluster(simulated, async (cluster) => {
      await started(cluster)
      // Its disk stands still and its messages wait, as if the process had been stopped.
      let paused: Array<() => void> | undefined = []
      cluster.disk('a').latency = () =>
        paused === undefined ? undefined : new Promise((resolve) => paused!.push(resolve))
      const lost = failureOf(cluster.shard('a').write([put('k', 'paused')], { timeoutMs: 20_000, forward: false }))
      cluster.isolate('a')
      await cluster.shard('b').promote()
      await cluster.shard('b').write([put('k', 'new')])
      const resume = paused
      paused = undefined
      for (const one of resume) one()
      cluster.network.heal()
      const error = await lost
      assert.equal(error.code, 'UNDERSTUDY_FENCED')
      await untilInSync(cluster, 'b', ['a', 'b', 'c'])
      await untilApplied(cluster, ['a'], cluster.shard('b').applied!)
      assert.equal(await read(cluster, 'a', 'k'), 'new')
    })
  })

  test('I2: a standby that promised a higher epoch acknowledges nothing to the old primary', async () => {
    await withCluster(simulated, async (cluster) => {
      await started(cluster)
      // a and b are parted; c hears both. What a writes needs b, which has promised epoch 2.
      cluster.network.partition(cluster.address('a'), cluster.address('b'))
      await cluster.shard('b').promote()
      const error = await failureOf(cluster.shard('a').write([put('k', 'v')], { timeoutMs: 5_000, forward: false }))
      assert.ok(['UNDERSTUDY_FENCED', 'UNDERSTUDY_ACK_TIMEOUT'].includes(error.code), error.code)
      await cluster.shard('b').write([put('k', 'new')])
      await until(() => cluster.shard('a').status().state !== 'primary', 'a hears of it through c')
      assert.notEqual(await read(cluster, 'b', 'k'), 'v')
    })
  })

  test('C1: an old tail that hears a higher committed position applies nothing of its own', async () => {
    await withCluster(simulated, async (cluster) => {
      await started(cluster)
      const before = await cluster.shard('a').write([put('k', 'before')])
      await untilApplied(cluster, ['b', 'c'], before)
      // Only c gets what a writes now; then b takes over without it and commits further than the tail reaches.
      cluster.network.partition(cluster.address('a'), cluster.address('b'))
      await failureOf(cluster.shard('a').write([put('k', 'tail'), put('tail', 'x')], { timeoutMs: 300 }))
      assert.ok(cluster.shard('c').status().sequence.durable > before.sequence, 'c has the tail')
      cluster.isolate('c')
      cluster.kill('a')
      cluster.network.heal(cluster.address('a'), cluster.address('b'))
      await cluster.start('a')
      await until(
        () =>
          cluster
            .node('b')
            .status()
            .members.some((one) => one.node === 'a' && one.reachable),
        'a answers',
      )
      await cluster.shard('b').promote()
      for (let index = 0; index < 5; index++)
        await cluster.shard('b').write([put('k', `new ${index}`)], { timeoutMs: 20_000 })
      const applied: Array<string | undefined> = []
      const watch = setInterval(() => {
        read(cluster, 'c', 'tail').then(
          (found) => applied.push(found),
          () => undefined,
        )
      }, 1)
      cluster.network.heal()
      await untilInSync(cluster, 'b', ['a', 'b', 'c'])
      await untilApplied(cluster, ['c'], cluster.shard('b').applied!)
      clearInterval(watch)
      assert.ok(applied.every((found) => found === undefined))
      assert.equal(await read(cluster, 'c', 'k'), 'new 4')
      assert.deepEqual(await contentOf(cluster, 'c'), await contentOf(cluster, 'b'))
    })
  })

  test('C1: whoever asks a node as a source is shown its committed prefix and nothing beyond', async () => {
    await withCluster(simulated, async (cluster) => {
      await started(cluster)
      const position = await cluster.shard('a').write([put('k', 'committed')])
      cluster.kill('c')
      await failureOf(cluster.shard('a').write([put('k', 'uncommitted')], { timeoutMs: 300 }))
      const { sequence, historyId, settings } = cluster.shard('a').status()
      assert.ok(sequence.durable > sequence.committed)
      const transport = cluster.network.transport('x.test:1')
      const options = { timeoutMs: 1000 }
      const link = new Link(await transport.connect(cluster.address('a'), options), nodeClock)
      link.send('hello', {
        protocolMin: limits.protocolVersion,
        protocolMax: limits.protocolVersion,
        cluster: 'test',
        node: 'x',
        incarnation: '0'.repeat(32),
        boot: '0'.repeat(16),
        shard: 'main',
        purpose: 'source',
        historyId,
        coordinatorId: undefined,
        settings,
        promised: { number: 0, node: '' },
        advertise: '',
      })
      await link.expect('welcome', 1000)
      const from = { epoch: { number: 0, node: '' }, sequence: 0, chain: chainZero(historyId!, 'main') }
      link.send('subscribe', { position: from, epochs: [], creditBytes: limits.creditBytes })
      await link.expect('stream', 1000)
      let end = 0
      let announced = 0
      link.handle((name, payload) => {
        if (name === 'block') end = decodeBlock(payload).end.sequence
        if (name === 'committed') announced = decodeMessage('committed', payload).sequence
      })
      await until(() => end >= position.sequence && announced > 0, 'the committed prefix and a heartbeat after it')
      assert.equal(end, position.sequence)
      assert.equal(announced, position.sequence)
      link.close()
      await transport.close()
    })
  })

  test('C5, C6: promotion is refused outside of the set and with too few answers; force says what it may lose', async () => {
    await withCluster(simulated, async (cluster) => {
      await started(cluster)
      await cluster.stop('c')
      await until(() => cluster.shard('a').status().inSync.length === 2, 'c has left')
      await cluster.start('c', { addresses: { a: 'nowhere.test:1' } })
      await cluster.shard('a').write([put('k', 'without c')])
      const outside = await failureOf(cluster.shard('c').promote())
      assert.equal(outside.code, 'UNDERSTUDY_PROMOTION_REFUSED')
      assert.match(outside.message, /not in the in-sync set/)
      assert.equal(cluster.shard('a').status().state, 'primary', 'a refused promotion disturbs nobody')
      for (const name of ['a', 'b']) cluster.kill(name)
      const alone = await failureOf(cluster.shard('c').promote())
      assert.equal(alone.code, 'UNDERSTUDY_PROMOTION_REFUSED')
      const forced = await cluster.shard('c').promote({ force: true })
      assert.ok(forced.mayLose !== undefined, 'it says that something may be lost')
      await until(() => cluster.shard('c').status().epoch?.node === 'c', 'it leads')
      assert.deepEqual((await cluster.shard('c').promote({ force: true })).mayLose, forced.mayLose, 'asked again')
      assert.ok(
        cluster
          .shard('c')
          .status()
          .warnings.some((warning) => warning.includes('forced')),
      )
    })
  })

  /** b leads by force, and c after it, in a history that lacks what a and c have committed; a is down. */
  async function afterForce(cluster: TestCluster): Promise<Position> {
    await started(cluster)
    await cluster.stop('b')
    await until(() => cluster.shard('a').status().inSync.length === 2, 'b has left')
    const position = await cluster.shard('a').write([put('k', 'committed without b')])
    for (const name of ['c', 'a']) await cluster.stop(name)
    await cluster.start('b')
    const forced = await cluster.shard('b').promote({ force: true })
    assert.ok(forced.mayLose !== undefined)
    await cluster.start('c')
    await untilInSync(cluster, 'b', ['b', 'c'])
    assert.equal(cluster.shard('c').status().divergentFiles.length, 1, 'the forced promotion lets c give it up')
    await cluster.shard('b').write([put('k', 'by b')])
    await cluster.shard('c').promote()
    await untilInSync(cluster, 'c', ['b', 'c'])
    return position
  }

  test('C5: a node that missed a forced promotion gives up what that gave up, in a later epoch too', async () => {
    await withCluster({ storage: 'disk' }, async (cluster) => {
      await afterForce(cluster)
      await cluster.start('a')
      await untilInSync(cluster, 'c', ['a', 'b', 'c'])
      assert.equal(cluster.shard('a').status().divergentFiles.length, 1)
      assert.equal(await read(cluster, 'a', 'k'), 'by b')
    })
  })

  test('C5: a node whose committed entries the new history lacks fences; it cuts nothing', async () => {
    await withCluster({ storage: 'disk' }, async (cluster) => {
      const position = await afterForce(cluster)
      for (const name of ['b', 'c']) await cluster.stop(name)
      for (const name of ['b', 'c']) {
        // As if nobody had used force: nothing excuses what is missing.
        const store = new ShardStore(nodeFileSystem, cluster.directory(name), 'main')
        await store.open()
        await store.update((now) => ({ ...now, record: { ...now.record, lossySince: epochZero } }))
      }
      await Promise.all(['a', 'b', 'c'].map((name) => cluster.start(name)))
      await until(
        () => /are committed here/.test(cluster.shard('a').status().reason),
        () => `a fences: ${cluster.shard('a').status().reason}`,
      )
      assert.equal(cluster.shard('a').status().state, 'fenced')
      assert.ok(cluster.shard('a').status().sequence.durable >= position.sequence, 'nothing was cut')
      assert.throws(() => cluster.shard('a').reader(), /fenced/)
    })
  })

  test('C8: a clean stop of a standby leaves the set, so that writes go on without it', async () => {
    await withCluster(simulated, async (cluster) => {
      await started(cluster)
      await cluster.stop('c')
      assert.deepEqual(cluster.shard('a').status().inSync, ['a', 'b'])
      await cluster.shard('a').write([put('k', 'v')], { timeoutMs: 2_000 })
      await cluster.start('c')
      await untilInSync(cluster, 'a', ['a', 'b', 'c'])
      await untilApplied(cluster, ['c'], cluster.shard('a').applied!)
      assert.equal(await read(cluster, 'c', 'k'), 'v')
    })
  })

  test('C8: who left the set is not taken back in the same session', async () => {
    await withCluster(simulated, async (cluster) => {
      await started(cluster)
      const { version } = await cluster.shard('a').removeFromInSync('c')
      for (let index = 0; index < 20; index++) {
        const position = await cluster.shard('a').write([put(`k${index}`, 'v')])
        await untilApplied(cluster, ['c'], position)
      }
      assert.deepEqual(cluster.shard('a').status().inSync, ['a', 'b'])
      assert.equal(cluster.shard('a').status().recordVersion, version, 'no further change')
      cluster.network.dropConnections(cluster.address('a'), cluster.address('c'))
      await untilInSync(cluster, 'a', ['a', 'b', 'c'])
      const before = cluster.shard('a').status().recordVersion!
      await cluster.stop('c')
      await until(
        () =>
          !cluster
            .shard('a')
            .status()
            .followers.some((one) => one.node === 'c'),
        'c is gone',
      )
      assert.equal(cluster.shard('a').status().recordVersion, before + 1, 'a clean stop is one change')
    })
  })

  test('C8: a killed standby stays in the set until it is removed by hand', async () => {
    await withCluster(simulated, async (cluster) => {
      await started(cluster)
      cluster.kill('c')
      const error = await failureOf(cluster.shard('a').write([put('k', 'v')], { timeoutMs: 500 }))
      assert.equal(error.code, 'UNDERSTUDY_ACK_TIMEOUT')
      assert.match(error.message, /waiting for c/)
      assert.ok(
        cluster
          .shard('a')
          .status()
          .warnings.some((warning) => warning.includes('c')),
      )
      const record = await cluster.shard('a').removeFromInSync('c')
      assert.deepEqual(
        record.inSync.map((one) => one.node),
        ['a', 'b'],
      )
      await cluster.shard('a').write([put('k', 'v2')])
      const refused = await failureOf(cluster.shard('a').removeFromInSync('b'))
      assert.equal(refused.code, 'UNDERSTUDY_BAD_REQUEST', 'never below inSyncMin')
      assert.equal((await failureOf(cluster.shard('b').removeFromInSync('c'))).code, 'UNDERSTUDY_NOT_PRIMARY')
    })
  })

  test('two promotions at the same time: at most one of them leads, and the cluster converges', async () => {
    await withCluster(simulated, async (cluster) => {
      await started(cluster)
      await cluster.shard('a').write([put('k', 'v')])
      cluster.kill('a')
      await Promise.allSettled([cluster.shard('b').promote(), cluster.shard('c').promote()])
      const stateOf = (name: string) => cluster.shard(name).status().state
      const leads = () => ['b', 'c'].filter((name) => stateOf(name) === 'primary')
      const settled = () => leads().length === 1 && ['b', 'c'].some((name) => stateOf(name) === 'streaming')
      // Both may have been refused, each by the other's promise; and the second may depose the first a moment after it
      // began, so the write waits until one leads and the other follows.
      for (let attempt = 0; attempt < 5 && leads().length === 0; attempt++) {
        await until(() => leads().length > 0, 'somebody leads', 2000).catch(() =>
          cluster
            .shard('b')
            .promote()
            .catch(() => undefined),
        )
      }
      await until(settled, () => ['b', 'c'].map((name) => `${name} ${stateOf(name)}`).join(', '))
      const position = await cluster.shard('b').write([put('k2', 'v2')], { timeoutMs: 20_000 })
      await untilApplied(cluster, ['b', 'c'], position)
      assert.equal(leads().length, 1)
      assert.deepEqual(await contentOf(cluster, 'b'), await contentOf(cluster, 'c'))
    })
  })
})
