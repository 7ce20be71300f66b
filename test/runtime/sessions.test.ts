import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { chainZero, crc32 } from '#src/codec/digest.js'
import { decodeMessage, decodeMessageAndRest, type Message } from '#src/codec/messages.js'
import { limits } from '#src/core/limits.js'
import { epochZero } from '#src/core/position.js'
import { UnderstudyError } from '#src/errors.js'
import { Link } from '#src/link/link.js'
import { nodeClock } from '#src/platform/node-clock.js'
import { failureOf, put, TestCluster, until, untilApplied, untilInSync } from '../support/cluster.js'

const settings = { durability: 'standby', inSyncMin: 2, failoverMs: 1000, inSyncTimeoutMs: 1000 } as const

/** A peer made by hand, which says what no node of ours would say. */
async function stranger(cluster: TestCluster, to: string): Promise<Link> {
  const transport = cluster.network.transport(`stranger${Math.random()}.test:1`)
  return new Link(await transport.connect(cluster.address(to), { timeoutMs: 5_000 }), nodeClock)
}

function hello(cluster: TestCluster, changes: Partial<Message<'hello'>> = {}): Message<'hello'> {
  const status = cluster.shard('a').status()
  return {
    protocolMin: limits.protocolVersion,
    protocolMax: limits.protocolVersion,
    cluster: 'test',
    node: 'stranger',
    incarnation: '5'.repeat(32),
    boot: '6'.repeat(16),
    shard: 'main',
    purpose: 'follow',
    historyId: status.historyId,
    coordinatorId: undefined,
    settings,
    promised: status.promised,
    advertise: '',
    ...changes,
  }
}

async function withThree(work: (cluster: TestCluster) => Promise<void>): Promise<void> {
  const cluster = new TestCluster({ storage: 'simulated', settings })
  try {
    await cluster.startAll()
    await untilInSync(cluster, 'a', ['a', 'b', 'c'])
    await work(cluster)
  } finally {
    await cluster.close()
  }
}

async function greet(cluster: TestCluster, to: string, changes: Partial<Message<'hello'>> = {}): Promise<Link> {
  const link = await stranger(cluster, to)
  link.send('hello', hello(cluster, changes))
  await link.expect('welcome', 5_000)
  return link
}

async function refusal(cluster: TestCluster, to: string, changes: Partial<Message<'hello'>>): Promise<string> {
  const error = await failureOf(greet(cluster, to, changes))
  assert.ok(error instanceof UnderstudyError)
  return error.failure
}

describe('sessions', () => {
  test('C1: an acknowledgement counts no further than what was matched or sent in its session', () =>
    withThree(async (cluster) => {
      await cluster.shard('a').write([put('k', 'v')])
      const link = await greet(cluster, 'a')
      const { historyId, epoch } = cluster.shard('a').status()
      const position = { epoch: epochZero, sequence: 0, chain: chainZero(historyId!, 'main') }
      // Without credit nothing is sent.
      link.send('subscribe', { position, epochs: [], creditBytes: 0 })
      await link.expect('stream', 5_000)
      await link.expect('record', 5_000)
      link.send('ack', { epoch: epoch!, received: 1000, durable: 1000, applied: 1000, recordVersion: 1 })
      const told = () =>
        cluster
          .shard('a')
          .status()
          .followers.find((one) => one.node === 'stranger')
      await until(() => told()?.received === 1000, 'the acknowledgement has arrived')
      assert.deepEqual([told()?.durable, told()?.applied], [0, 0])
      link.close()
    }))

  test('F11, C7: a standby is followed by nobody', () =>
    withThree(async (cluster) => {
      assert.equal(await refusal(cluster, 'b', {}), 'NOT_PRIMARY')
    }))

  test('a peer of another protocol version, cluster, shard, history or name is refused by name', () =>
    withThree(async (cluster) => {
      assert.equal(
        await refusal(cluster, 'a', { protocolMin: limits.protocolVersion + 1, protocolMax: 9 }),
        'PROTOCOL_VERSION',
      )
      assert.equal(await refusal(cluster, 'a', { cluster: 'other' }), 'CLUSTER_MISMATCH')
      assert.equal(await refusal(cluster, 'a', { shard: 'other' }), 'UNKNOWN_SHARD')
      assert.equal(await refusal(cluster, 'a', { historyId: '7'.repeat(32) }), 'HISTORY_MISMATCH')
      assert.equal(await refusal(cluster, 'a', { coordinatorId: '7'.repeat(32) }), 'COORDINATOR_MISMATCH')
      assert.equal(await refusal(cluster, 'a', { node: 'a' }), 'CONFIG')
      const local = { durability: 'local', inSyncMin: 1, failoverMs: 1000, inSyncTimeoutMs: 1000 } as const
      assert.equal(await refusal(cluster, 'a', { settings: local }), 'SETTINGS_MISMATCH')
      await cluster.shard('a').write([put('k', 'v')])
    }))

  test('C1: an acknowledgement counts in this epoch and after the histories were matched, and ends the session otherwise', () =>
    withThree(async (cluster) => {
      const { epoch } = cluster.shard('a').status()
      const ack = { received: 9, durable: 9, applied: 9, recordVersion: 9 }
      const early = await greet(cluster, 'a')
      early.send('ack', { epoch: epoch!, ...ack })
      assert.equal((await early.closed)?.failure, 'PROTOCOL')
      const stale = await greet(cluster, 'a')
      stale.send('subscribe', { position: cluster.shard('a').applied!, epochs: [], creditBytes: 1 })
      await stale.expect('stream', 5_000)
      stale.send('ack', { epoch: { number: epoch!.number - 1, node: 'a' }, ...ack })
      stale.handle(() => undefined)
      assert.equal((await stale.closed)?.failure, 'STALE_EPOCH')
    }))

  test('F3, F38: a position that is not in this history is DIVERGED, never continued from', () =>
    withThree(async (cluster) => {
      const link = await greet(cluster, 'a')
      const { epoch, sequence } = cluster.shard('a').applied!
      const epochs = [{ epoch, firstSequence: 1 }]
      link.send('subscribe', { position: { epoch, sequence, chain: '8'.repeat(32) }, epochs, creditBytes: 1 })
      const [answer, payload] = await link.expectOneOf(['stream', 'tooOld', 'diverged'], 5_000)
      assert.equal(answer, 'diverged')
      assert.equal(decodeMessage('diverged', payload).common.sequence, sequence)
      link.close()
    }))

  test('F7: families are matched by name, and another id under a name is refused', () =>
    withThree(async (cluster) => {
      await cluster.shard('a').createFamily('one')
      const two = await cluster.shard('a').createFamily('two')
      const position = await cluster.shard('a').write([put('k', 'in two', two.id)])
      await untilApplied(cluster, ['b'], position)
      const link = await greet(cluster, 'b', { purpose: 'source' })
      link.send('snapshotStart', { slot: 'bootstrap:stranger', first: undefined })
      const snapshot = await link.expect('snapshot', 5_000)
      assert.deepEqual(
        snapshot.families.map((family) => family.name),
        ['default', 'one', 'two'],
      )
      const request = { snapshot: snapshot.id, start: new Uint8Array(0), bytesMax: 1024 }
      link.send('chunkRequest', { ...request, family: two })
      const [, payload] = await link.expectOneOf(['chunk'], 5_000)
      const [chunk, content] = decodeMessageAndRest('chunk', payload)
      assert.equal(chunk.entryCount, 1)
      assert.equal(chunk.checksum, crc32(content))
      link.send('chunkRequest', { ...request, family: { id: 1, name: 'two' } })
      const error = await failureOf(link.expect('chunk', 5_000))
      assert.equal(error.code, 'UNDERSTUDY_UNKNOWN_FAMILY')
    }))
})
