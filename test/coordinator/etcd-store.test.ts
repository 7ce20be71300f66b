/** What happens to an etcd beside the coordinator: wiped, restored, changed by hand, damaged. */
import assert from 'node:assert/strict'
import { cp, rm } from 'node:fs/promises'
import { after, before, describe, test } from 'node:test'
import { failureOf, makeRecord, patient, successor, until, Watcher, write } from '#src/coordinator/conformance-kit.js'
import { createEtcdCoordinator, type EtcdCoordinator } from '#src/coordinator/etcd/etcd-coordinator.js'
import { Keys } from '#src/coordinator/etcd/keys.js'
import { nodeRandom } from '#src/platform/node-random.js'
import { silentLogger } from '#src/ports/logger.js'
import { testClock } from '../support/clock.js'
import { deleteEtcd, EtcdCluster, etcdMissing, getEtcd, putEtcd } from '../support/etcd.js'

const skip = etcdMissing() ?? false

describe('etcd beside the coordinator', { skip, concurrency: false }, () => {
  let etcd: EtcdCluster
  let clusters = 0
  before(async () => {
    etcd = await EtcdCluster.start(1)
  })
  after(() => etcd.close())

  /** A started coordinator of a cluster of its own. */
  async function withCoordinator(use: (coordinator: EtcdCoordinator, keys: Keys) => Promise<void>): Promise<void> {
    clusters += 1
    const cluster = `beside-${clusters}`
    const coordinator = createEtcdCoordinator({
      endpoints: etcd.endpoints,
      cluster,
      registrationMs: 2_000,
      clock: testClock,
      random: nodeRandom,
      logger: silentLogger,
    })
    coordinator.start()
    try {
      await use(coordinator, new Keys(cluster))
    } finally {
      await coordinator.close()
    }
  }

  test('keys and values can be read by people, in a fixed order', () =>
    withCoordinator(async (coordinator, keys) => {
      const { coordinatorId } = await coordinator.read('main', patient)
      const { nonce, ...rest } = makeRecord(coordinatorId)
      // Another order than that of the values.
      await coordinator.swap('main', 0, { nonce, ...rest }, patient)
      coordinator.register({ node: 'a', address: '10.0.0.1:7400', boot: '00000000000000ab' })
      await until(() => coordinator.registeredUntilMs > 0, 'registered')
      const kvs = await getEtcd(etcd, keys)
      assert.deepEqual(
        kvs.map(({ key }) => key),
        [keys.coordinatorId, keys.member('a'), keys.shard('main')].map(String),
      )
      assert.equal(kvs[0]?.value, coordinatorId)
      assert.equal(kvs[1]?.value, '{"format":1,"node":"a","address":"10.0.0.1:7400","boot":"00000000000000ab"}')
      assert.equal(
        kvs[2]?.value,
        `{"format":1,"historyId":"0123456789abcdef0123456789abcdef","coordinatorId":"${coordinatorId}",` +
          `"epoch":{"number":1,"node":"a"},"primary":{"node":"a","incarnation":"${'a'.repeat(32)}"},` +
          `"inSync":[{"node":"a","incarnation":"${'a'.repeat(32)}"},{"node":"b","incarnation":"${'b'.repeat(32)}"}],` +
          `"version":1,"nonce":"${nonce}",` +
          '"settings":{"durability":"standby","inSyncMin":2,"failoverMs":1000,"inSyncTimeoutMs":1000},' +
          `"floor":{"epoch":{"number":1,"node":"a"},"sequence":42,"chain":"${'c'.repeat(32)}"},"lossySince":{"number":0,"node":""},"handedOver":false,"voters":[]}`,
      )
    }))

  test('S3: a record that was deleted is told as absent, and can be created again', () =>
    withCoordinator(async (coordinator, keys) => {
      const states: Array<number | undefined> = []
      coordinator.subscribe((event) => {
        if (event.type === 'record') states.push(event.state.revision)
      })
      const state = await write(coordinator)
      await until(() => states.includes(state.revision), 'the record is told')
      await deleteEtcd(etcd, keys.shard('main'))
      await until(() => states.at(-1) === 0, 'its absence is told')
      const absent = await coordinator.read('main', patient)
      assert.deepEqual([absent.record, absent.revision], [undefined, 0])
      const refused = await coordinator.swap('main', state.revision, successor(state), patient)
      assert.deepEqual(refused, { swapped: false, state: absent })
      assert.ok((await coordinator.swap('main', 0, successor(absent), patient)).swapped)
    }))

  test('S6: a store that was wiped is another one: its id is told, and nothing of the old one is written to it', () =>
    withCoordinator(async (coordinator, keys) => {
      let told: { readonly id: string; readonly revision: number } | undefined
      coordinator.subscribe((event) => {
        if (event.type === 'record') told = { id: event.state.coordinatorId, revision: event.state.revision }
      })
      const old = await write(coordinator)
      await until(() => told?.revision === old.revision, 'the record is told')
      await deleteEtcd(etcd, keys.prefix, keys.prefixEnd)
      await until(() => told !== undefined && told.id !== old.coordinatorId, 'another id is told')
      assert.equal(told?.revision, 0)
      const fresh = await coordinator.read('main', patient)
      assert.notEqual(fresh.coordinatorId, old.coordinatorId)
      const refused = await coordinator.swap('main', 0, successor(old), patient)
      assert.deepEqual(refused, { swapped: false, state: fresh })
      await write(coordinator)
    }))

  test('S3: a store that was restored from a backup is told as it is: revisions go back', () =>
    withCoordinator(async (coordinator) => {
      const told: number[] = []
      coordinator.subscribe((event) => {
        if (event.type === 'record') told.push(event.state.revision)
      })
      const backedUp = await write(coordinator)
      const directory = etcd.directoryOf(0)
      await etcd.kill(0)
      await cp(directory, `${directory}.backup`, { recursive: true })
      await etcd.startMember(0)
      for (let round = 0; round < 5; round++) await write(coordinator)
      const newest = await coordinator.read('main', patient)
      await until(() => told.at(-1) === newest.revision, 'the newest is told')
      await etcd.kill(0)
      await rm(directory, { recursive: true })
      await cp(`${directory}.backup`, directory, { recursive: true })
      await etcd.startMember(0)
      await until(() => told.at(-1) === backedUp.revision, 'the old one is told')
      assert.deepEqual(await coordinator.read('main', patient), backedUp)
      const next = await write(coordinator)
      await until(() => told.at(-1) === next.revision, 'the watch goes on from there')
    }))

  test('F28: a damaged record is an error that names the key, for calls and listeners, until it is mended', () =>
    withCoordinator(async (coordinator, keys) => {
      const watcher = new Watcher(coordinator)
      const state = await write(coordinator)
      await until(() => watcher.last('main')?.revision === state.revision, 'the record is told')
      const [, good] = await getEtcd(etcd, keys)
      const key = keys.shard('main')
      for (const damaged of [
        '',
        'no json',
        good!.value.slice(0, -1),
        good!.value.replace('"version":1', '"version":-1'),
      ]) {
        const breaks = watcher.count('disconnected')
        await putEtcd(etcd, key, damaged)
        const { error } = await failureOf(testClock, () => coordinator.read('main', patient))
        assert.equal(error.failure, 'CORRUPTION')
        assert.ok(error.message.includes(key.toString()), error.message)
        assert.equal(error.retryable, false)
        const swap = await failureOf(testClock, () => coordinator.swap('main', 0, successor(state), patient))
        assert.deepEqual([swap.error.failure, swap.error.outcome], ['CORRUPTION', 'none'])
        await until(() => watcher.count('disconnected') > breaks, 'it is told')
        const event = watcher.events.findLast(({ type }) => type === 'disconnected')
        assert.ok(event?.type === 'disconnected' && event.error.message.includes(key.toString()))
        await putEtcd(etcd, key, good!.value)
        await until(() => watcher.connected, 'mended')
      }
      assert.deepEqual(watcher.last('main')?.record, state.record)
      await putEtcd(etcd, key, good!.value.replace('"format":1', '"format":2'))
      const { error } = await failureOf(testClock, () => coordinator.read('main', patient))
      assert.equal(error.failure, 'FORMAT_VERSION', 'F47: what a later release wrote is not called damaged')
    }))

  test('a registration that cannot be read is left out; keys that are not ours are nothing', () =>
    withCoordinator(async (coordinator, keys) => {
      const watcher = new Watcher(coordinator)
      coordinator.register({ node: 'a', address: '10.0.0.1:7400', boot: '00000000000000ab' })
      await until(() => watcher.names.join() === 'a', 'registered')
      await putEtcd(etcd, keys.member('b'), 'no json')
      await putEtcd(etcd, keys.member('c'), '{"format":1,"node":"d","address":"10.0.0.1:1","boot":"00"}')
      await putEtcd(etcd, Buffer.from(`${keys.root}members/x/y`), 'x')
      await putEtcd(etcd, Buffer.from(`${keys.root}shards/x/y`), 'x')
      await putEtcd(etcd, Buffer.from(`${keys.root}more`), 'x')
      const state = await write(coordinator)
      await until(() => watcher.last('main')?.revision === state.revision, 'the record is told after them')
      assert.deepEqual(watcher.names, ['a'])
      assert.equal(watcher.count('disconnected'), 0)
    }))

  test('a registration that was deleted by hand comes back at once', () =>
    withCoordinator(async (coordinator, keys) => {
      const watcher = new Watcher(coordinator)
      coordinator.register({ node: 'a', address: '10.0.0.1:7400', boot: '00000000000000ab' })
      await until(() => watcher.names.join() === 'a' && coordinator.registeredUntilMs > 0, 'registered')
      const heard = watcher.count('members')
      await deleteEtcd(etcd, keys.member('a'))
      await until(() => watcher.count('members') >= heard + 2 && watcher.names.join() === 'a', 'registered again', 500)
    }))

  test('names that would be no key, or a part of another, are refused', () =>
    withCoordinator(async (coordinator) => {
      for (const name of ['', '/', 'a/b', '../x', 'a'.repeat(65), ' ', 'ä', '-a']) {
        const { error } = await failureOf(testClock, () => coordinator.read(name, patient))
        assert.equal(error.failure, 'CONFIG', name)
        assert.throws(() => new Keys(name), /is no name of a cluster/)
        assert.throws(() => coordinator.register({ node: name, address: 'a:1', boot: '00' }), /is no name of a node/)
      }
    }))
})
