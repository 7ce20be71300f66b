import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { describeCoordinatorConformance } from '#src/coordinator/conformance.js'
import { pass, until, Watcher } from '#src/coordinator/conformance-kit.js'
import { createEtcdCoordinator } from '#src/coordinator/etcd/etcd-coordinator.js'
import { Keys } from '#src/coordinator/etcd/keys.js'
import { methods } from '#src/coordinator/etcd/protocol.js'
import { nodeRandom } from '#src/platform/node-random.js'
import { silentLogger } from '#src/ports/logger.js'
import { testClock } from '../support/clock.js'
import { callEtcd, EtcdCluster, etcdMissing } from '../support/etcd.js'
import { TcpProxy } from '../support/tcp-proxy.js'

const registrationMs = 800
const skip = etcdMissing()

if (skip !== undefined) test('coordinator etcd', { skip }, () => undefined)
else {
  let etcd: EtcdCluster
  let clusters = 0
  before(async () => {
    etcd = await EtcdCluster.start(1)
  })
  after(() => etcd.close())

  describeCoordinatorConformance('etcd', {
    // One process for all: a store is a prefix of its own.
    async store() {
      clusters += 1
      const cluster = `shop-${clusters}`
      const [target] = etcd.endpoints as [string]
      const proxies: TcpProxy[] = []
      return {
        registrationMs,
        clock: testClock,
        async client() {
          const proxy = await TcpProxy.open(target)
          proxies.push(proxy)
          const coordinator = createEtcdCoordinator({
            endpoints: [proxy.address],
            cluster,
            registrationMs,
            clock: testClock,
            random: nodeRandom,
            logger: silentLogger,
          })
          return {
            coordinator,
            cut: async (how) => (how === 'refused' ? proxy.refuse() : proxy.silence()),
            loseReplies: async () => proxy.holdReplies(),
            delay: async (delayMs) => proxy.delay(delayMs),
            heal: async () => proxy.heal(),
          }
        },
        async compact() {
          const access = { endpoints: etcd.endpoints }
          const { header } = await callEtcd(access, methods.range, { key: new Keys(cluster).coordinatorId })
          await callEtcd(access, methods.compact, { revision: header!.revision })
        },
        async restart() {
          await etcd.kill(0)
          await etcd.startMember(0)
        },
        async close() {
          await Promise.all(proxies.map((proxy) => proxy.close()))
        },
      }
    },
  })

  test('a lease counts from when it was asked for, at the first time and when it is renewed', async () => {
    const leaseMs = 3_000
    const proxy = await TcpProxy.open(etcd.endpoints[0]!)
    const coordinator = createEtcdCoordinator({
      endpoints: [proxy.address],
      cluster: 'lease',
      registrationMs: leaseMs,
      clock: testClock,
      random: nodeRandom,
      logger: silentLogger,
    })
    const watcher = new Watcher(coordinator)
    const changed = async () => {
      const before = coordinator.registeredUntilMs
      await until(() => coordinator.registeredUntilMs !== before, 'granted or renewed')
      return coordinator.registeredUntilMs - testClock.nowMs()
    }
    try {
      coordinator.start()
      await until(() => watcher.connected, 'connected')
      proxy.holdReplies()
      coordinator.register({ node: 'a', address: '10.0.0.1:7400', boot: '01' })
      await pass(testClock, 700)
      proxy.heal()
      const granted = await changed()
      assert.ok(granted <= leaseMs - 700, `granted for ${granted} ms from now`)
      await changed()
      // The next renewal is sent after a third of the lease, in the middle of this.
      await pass(testClock, leaseMs / 3 - 300)
      proxy.holdReplies()
      await pass(testClock, 1_000)
      proxy.heal()
      const renewed = await changed()
      assert.ok(renewed <= leaseMs - 400, `renewed for ${renewed} ms from now`)
    } finally {
      await coordinator.close()
      await proxy.close()
    }
  })
}
