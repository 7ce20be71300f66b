import { after, before, test } from 'node:test'
import { describeCoordinatorConformance } from '#src/coordinator/conformance.js'
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
}
