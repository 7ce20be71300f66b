/** `/metrics` is true: every name of the contract is there with its type, and what happens in a cluster is counted. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { frameTypes } from '#src/codec/messages.js'
import { limits } from '#src/core/limits.js'
import type { AccessStatus } from '#src/ports/access.js'
import type { ConnectionHandlers, Transport } from '#src/ports/transport.js'
import { createMetrics, type Metrics } from '#src/server/metrics.js'
import { put, read, type TestCluster, until, untilApplied, untilInSync, withCluster } from '../support/cluster.js'
import { parseExposition, type Sample } from '../support/exposition.js'
import { FakeNode } from '../support/fake-node.js'
import { checkWithPromtool, promtool } from '../support/promtool.js'

/** What users' dashboards and alerts may rely on: name, type and labels beside `shard`. */
const contract: ReadonlyArray<readonly [name: string, type: string, ...labels: string[]]> = [
  ['understudy_role', 'gauge', 'role'],
  ['understudy_epoch', 'gauge'],
  ['understudy_sequence', 'gauge', 'state'],
  ['understudy_standby_lag_entries', 'gauge', 'standby'],
  ['understudy_standby_lag_bytes', 'gauge', 'standby'],
  ['understudy_standby_lag_seconds', 'gauge', 'standby'],
  ['understudy_in_sync', 'gauge', 'standby'],
  ['understudy_commit_seconds', 'histogram'],
  ['understudy_journal_flush_seconds', 'histogram'],
  ['understudy_journal_bytes', 'gauge'],
  ['understudy_blocks_entries', 'histogram'],
  ['understudy_apply_seconds', 'histogram'],
  ['understudy_bootstrap_bytes_total', 'counter'],
  ['understudy_bootstrap_bytes_expected', 'gauge'],
  ['understudy_bootstrap_restarts_total', 'counter'],
  ['understudy_reconnects_total', 'counter'],
  ['understudy_checksum_failures_total', 'counter'],
  ['understudy_gaps_total', 'counter'],
  ['understudy_rewound_entries_total', 'counter'],
  ['understudy_fenced_total', 'counter'],
  ['understudy_state_transitions_total', 'counter', 'from', 'to'],
  ['understudy_failovers_total', 'counter'],
  ['understudy_coordinator_errors_total', 'counter'],
  ['understudy_slots_bytes', 'gauge', 'slot'],
]

/** Reads one node's metrics again and again, as a Prometheus would. */
class Scraper {
  private readonly metrics: Metrics = createMetrics()
  private readonly cluster: TestCluster
  private readonly name: string

  constructor(cluster: TestCluster, name: string) {
    this.cluster = cluster
    this.name = name
  }

  async samples(): Promise<Sample[]> {
    return parseExposition(await this.metrics.collect(this.cluster.node(this.name))).samples
  }

  async value(name: string, labels: Readonly<Record<string, string>> = {}): Promise<number | undefined> {
    const found = (await this.samples()).find(
      (sample) => sample.name === name && Object.entries(labels).every(([key, text]) => sample.labels[key] === text),
    )
    return found?.value
  }

  async untilIs(name: string, holds: (value: number | undefined) => boolean, labels = {}): Promise<void> {
    let last: number | undefined
    const look = async () => {
      last = await this.value(name, labels)
      return holds(last)
    }
    await until(look, () => `${name} ${JSON.stringify(labels)} of ${this.name}; it is ${last}`)
  }
}

const positive = (value: number | undefined) => value !== undefined && value > 0

describe('metrics', () => {
  test('every metric of the contract is served with its type, help, and the label shard', async () => {
    await withCluster({ storage: 'simulated', coordinator: 'memory' }, async (cluster) => {
      await cluster.startAll()
      await untilInSync(cluster, await primaryOf(cluster), ['a', 'b', 'c'])
      const name = await primaryOf(cluster)
      const { types, helps } = parseExposition(await createMetrics().collect(cluster.node(name)))
      const samples = await new Scraper(cluster, name).samples()
      for (const [metric, type, ...labels] of contract) {
        assert.equal(types.get(metric), type, metric)
        assert.ok((helps.get(metric) ?? '').length > 5, `${metric} has a help text`)
        const own = samples.filter((sample) => sample.name === metric || sample.name === `${metric}_count`)
        // There is nothing to expect while nothing is bootstrapped.
        if (metric !== 'understudy_bootstrap_bytes_expected') assert.ok(own.length > 0, `${metric} has a value`)
        for (const sample of own) assert.deepEqual(Object.keys(sample.labels).sort(), ['shard', ...labels].sort())
      }
    })
  })

  test('commits are counted on the primary, entry by entry, and applied positions on all', async () => {
    await withCluster({ storage: 'simulated', coordinator: 'memory' }, async (cluster) => {
      await cluster.startAll()
      const primary = await primaryOf(cluster)
      await untilInSync(cluster, primary, ['a', 'b', 'c'])
      const scraper = new Scraper(cluster, primary)
      const before = (await scraper.value('understudy_commit_seconds_count')) ?? 0
      const flushes = (await scraper.value('understudy_journal_flush_seconds_count')) ?? 0
      const applied = (await scraper.value('understudy_apply_seconds_count')) ?? 0
      // More than any bounded list of single values would hold between two readings.
      const writes = 10_000
      const shard = cluster.shard(primary)
      const positions = await Promise.all(
        Array.from({ length: writes }, (_, index) => shard.write([put(`k${index}`, 'v')])),
      )
      assert.equal(await scraper.value('understudy_commit_seconds_count'), before + writes)
      assert.equal(await scraper.value('understudy_commit_seconds_bucket', { le: '+Inf' }), before + writes)
      assert.ok((await scraper.value('understudy_commit_seconds_sum'))! > 0)
      assert.ok((await scraper.value('understudy_journal_flush_seconds_count'))! > flushes)
      assert.ok((await scraper.value('understudy_apply_seconds_count'))! > applied)
      assert.ok((await scraper.value('understudy_blocks_entries_sum'))! >= writes)
      assert.ok(positive(await scraper.value('understudy_journal_bytes')))
      const last = positions.reduce((a, b) => (a.sequence > b.sequence ? a : b))
      await untilApplied(cluster, ['a', 'b', 'c'], last)
      for (const name of cluster.names) {
        for (const state of ['appended', 'durable', 'committed', 'applied']) {
          await new Scraper(cluster, name).untilIs('understudy_sequence', (value) => value! >= last.sequence, { state })
        }
      }
    })
  })

  test('lag, in-sync set and slots show a standby that is away, and its reconnects show that it came back', async () => {
    const sizes = { segmentBytes: limits.segmentBytesMin, checkpointBytes: limits.segmentBytesMin }
    // The standby is given up long before the primary could be.
    const settings = { failoverMs: 5_000, inSyncTimeoutMs: 500 }
    await withCluster({ storage: 'simulated', coordinator: 'memory', settings, ...sizes }, async (cluster) => {
      await cluster.startAll()
      const primary = await primaryOf(cluster)
      await untilInSync(cluster, primary, ['a', 'b', 'c'])
      const standby = cluster.names.find((name) => name !== primary)!
      const scraper = new Scraper(cluster, primary)
      assert.equal(await scraper.value('understudy_in_sync', { standby }), 1)
      const reconnects = (await new Scraper(cluster, standby).value('understudy_reconnects_total')) ?? 0
      cluster.isolate(standby)
      await scraper.untilIs('understudy_in_sync', (value) => value !== 1, { standby })
      for (let index = 0; index < 100; index++) await cluster.shard(primary).write([put(`k${index}`, 'v'.repeat(4096))])
      await scraper.untilIs('understudy_slots_bytes', positive)
      cluster.network.heal()
      await untilInSync(cluster, primary, ['a', 'b', 'c'])
      assert.ok((await new Scraper(cluster, standby).value('understudy_reconnects_total'))! > reconnects)
      const changes = await scraper.value('understudy_in_sync_changes_total')
      assert.ok(changes! >= 2, `${changes} changes of the set`)
      for (const what of ['entries', 'bytes', 'seconds']) {
        assert.notEqual(await scraper.value(`understudy_standby_lag_${what}`, { standby }), undefined)
      }
    })
  })

  test('a bootstrap and a failover are counted where they happen', async () => {
    await withCluster({ storage: 'simulated', coordinator: 'memory' }, async (cluster) => {
      await cluster.startAll()
      const first = await primaryOf(cluster)
      await untilInSync(cluster, first, ['a', 'b', 'c'])
      for (let index = 0; index < 50; index++) await cluster.shard(first).write([put(`k${index}`, 'v'.repeat(1024))])
      const rebuilt = cluster.names.find((name) => name !== first)!
      cluster.kill(rebuilt)
      cluster.disks.delete(rebuilt)
      await cluster.start(rebuilt)
      await until(() => cluster.shard(rebuilt).status().state === 'streaming', 'the new node streams')
      await untilInSync(cluster, first, ['a', 'b', 'c'])
      const ofRebuilt = new Scraper(cluster, rebuilt)
      assert.ok(positive(await ofRebuilt.value('understudy_bootstrap_bytes_total')))
      assert.equal(await ofRebuilt.value('understudy_bootstrap_restarts_total'), 0)
      const transitions = (await ofRebuilt.samples()).filter((one) => one.name === 'understudy_state_transitions_total')
      assert.ok(transitions.some((one) => one.labels.to === 'bootstrapping' && one.value === 1))
      assert.ok(transitions.some((one) => one.labels.to === 'streaming' && one.value >= 1))

      const epoch = (await new Scraper(cluster, rebuilt).value('understudy_epoch')) ?? 0
      cluster.kill(first)
      const survivors = cluster.names.filter((name) => name !== first)
      await until(() => survivors.some((name) => cluster.shard(name).role === 'primary'), 'a takeover')
      const second = survivors.find((name) => cluster.shard(name).role === 'primary')!
      const ofSecond = new Scraper(cluster, second)
      await ofSecond.untilIs('understudy_failovers_total', (value) => value === 1)
      assert.equal(await ofSecond.value('understudy_role', { role: 'primary' }), 1)
      assert.equal(await ofSecond.value('understudy_role', { role: 'standby' }), 0)
      assert.ok((await ofSecond.value('understudy_epoch'))! > epoch)
      const other = survivors.find((name) => name !== second)!
      assert.equal(await new Scraper(cluster, other).value('understudy_failovers_total'), 0)
    })
  })

  test('F43: a coordinator that does not answer is counted and shown', async () => {
    await withCluster({ storage: 'simulated', coordinator: 'memory' }, async (cluster) => {
      await cluster.startAll()
      const primary = await primaryOf(cluster)
      await untilInSync(cluster, primary, ['a', 'b', 'c'])
      const scraper = new Scraper(cluster, primary)
      const errors = (await scraper.value('understudy_coordinator_errors_total')) ?? 0
      assert.equal(await scraper.value('understudy_coordinator_connected'), 1)
      cluster.coordinators.get(primary)!.setWeather({ reachable: false })
      await scraper.untilIs('understudy_coordinator_connected', (value) => value === 0)
      // A change of the set is what asks the coordinator.
      cluster.kill(cluster.names.find((name) => name !== primary)!)
      await scraper.untilIs('understudy_coordinator_errors_total', (value) => value! > errors)
    })
  })

  test('entries that were undone, and the side file that keeps them, are counted', async () => {
    const settings = { durability: 'local', inSyncMin: 1 } as const
    await withCluster({ storage: 'simulated', nodes: ['a', 'b'], settings }, async (cluster) => {
      await cluster.startAll()
      await until(() => cluster.shard('b').status().state === 'streaming', 'b streams')
      await untilApplied(cluster, ['b'], await cluster.shard('a').write([put('k', 'both')]))
      cluster.isolate('a')
      for (let index = 0; index < 3; index++) await cluster.shard('a').write([put(`k${index}`, 'only a')])
      await cluster.shard('b').promote({ force: true })
      cluster.network.heal()
      const scraper = new Scraper(cluster, 'a')
      await scraper.untilIs('understudy_divergent_files', (value) => value === 1)
      await until(() => cluster.shard('a').status().state === 'streaming', 'a streams')
      assert.equal(await scraper.value('understudy_rewound_entries_total'), 3)
      assert.equal(await scraper.value('understudy_role', { role: 'standby' }), 1)
    })
  })

  test('a block with a wrong checksum and a block that is missing are counted, and the standby recovers', async () => {
    let spoil: 'nothing' | 'checksum' | 'missing' = 'nothing'
    const spoilt = (own: Transport): Transport => ({
      accept: (acceptor) => own.accept(acceptor),
      close: () => own.close(),
      connect: async (address, options) => {
        const connection = await own.connect(address, options)
        const start = (handlers: ConnectionHandlers) =>
          connection.start({
            ...handlers,
            onFrame: (frame) => {
              const how = frame.type === frameTypes.block ? spoil : 'nothing'
              if (how !== 'nothing') spoil = 'nothing'
              if (how === 'missing') return
              const payload = Uint8Array.from(frame.payload)
              if (how === 'checksum') payload[payload.length - 1]! ^= 1
              handlers.onFrame({ type: frame.type, payload })
            },
            onClose: (error) => handlers.onClose(error),
          })
        return new Proxy(connection, {
          get: (target, key) => {
            if (key === 'start') return start
            const value: unknown = Reflect.get(target, key, target)
            return typeof value === 'function' ? value.bind(target) : value
          },
        })
      },
    })
    const transport = (name: string, own: Transport) => (name === 'b' ? spoilt(own) : own)
    await withCluster({ storage: 'simulated', nodes: ['a', 'b'], transport }, async (cluster) => {
      await cluster.startAll()
      await untilInSync(cluster, 'a', ['a', 'b'])
      const scraper = new Scraper(cluster, 'b')
      for (const [how, name] of [
        ['checksum', 'understudy_checksum_failures_total'],
        ['missing', 'understudy_gaps_total'],
      ] as const) {
        assert.equal(await scraper.value(name), 0)
        spoil = how
        const { appended } = cluster.shard('a').status().sequence
        const spoilt = cluster.shard('a').write([put('first', 'v')])
        await until(() => cluster.shard('a').status().sequence.appended > appended, 'a block of its own')
        // What is missing is noticed when something follows.
        const position = await cluster.shard('a').write([put(how, 'v')])
        await spoilt
        await scraper.untilIs(name, (value) => value === 1)
        await untilInSync(cluster, 'a', ['a', 'b'])
        await untilApplied(cluster, ['b'], position)
        assert.equal(await read(cluster, 'b', how), 'v')
      }
    })
  })

  test('reading the metrics changes nothing: two readers see the same totals', async () => {
    await withCluster({ storage: 'simulated', nodes: ['a'] }, async (cluster) => {
      await cluster.startAll()
      await until(() => cluster.shard('a').role === 'primary', 'a is primary')
      await cluster.shard('a').write([put('k', 'v')])
      const [one, two] = [new Scraper(cluster, 'a'), new Scraper(cluster, 'a')]
      for (const name of ['understudy_commit_seconds_count', 'understudy_blocks_entries_sum']) {
        const seen = await one.value(name)
        assert.ok(positive(seen))
        assert.equal(await two.value(name), seen)
        assert.equal(await one.value(name), seen)
      }
    })
  })

  test('when the certificate expires, and files that are not taken, are there where there are any', async () => {
    const node = new FakeNode()
    const metrics = createMetrics()
    const sampleOf = async (name: string, access?: AccessStatus) =>
      parseExposition(await metrics.collect(node, access)).samples.find((sample) => sample.name === name)?.value
    const plain = { open: false, tokens: 1, certificates: 0, tls: undefined, problem: undefined }
    const tls = { clients: 'none', certificateExpiresAt: '2027-01-01T00:00:00.000Z' } as const
    const expiry = 'understudy_certificate_expiry_timestamp_seconds'
    assert.equal(await sampleOf(expiry, { ...plain, tls }), Date.parse(tls.certificateExpiresAt) / 1000)
    assert.equal(await sampleOf(expiry, plain), undefined)
    assert.equal(await sampleOf('understudy_access_problem', plain), 0)
    assert.equal(await sampleOf('understudy_access_problem', { ...plain, problem: 'no such file' }), 1)
    assert.equal(await sampleOf('understudy_access_problem'), undefined)
  })

  test('promtool finds nothing to say about what is served', { skip: promtool.missing }, async () => {
    await withCluster({ storage: 'simulated', coordinator: 'memory' }, async (cluster) => {
      await cluster.startAll()
      const primary = await primaryOf(cluster)
      await untilInSync(cluster, primary, ['a', 'b', 'c'])
      for (const name of cluster.names) {
        const text = await createMetrics().collect(cluster.node(name))
        assert.equal(checkWithPromtool(['check', 'metrics'], text), '')
      }
    })
  })
})

async function primaryOf(cluster: TestCluster): Promise<string> {
  const find = () => cluster.names.find((name) => cluster.shard(name).status().state === 'primary')
  await until(() => find() !== undefined, 'a primary')
  return find()!
}
