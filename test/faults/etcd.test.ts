/** Coordinators on three real members of etcd, of which some are killed, stand still, or are all gone for a while. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { failureOf, makeRecord, until, Watcher } from '#src/coordinator/conformance-kit.js'
import { createEtcdCoordinator, type EtcdCoordinator } from '#src/coordinator/etcd/etcd-coordinator.js'
import { isFailure } from '#src/errors.js'
import { nodeRandom } from '#src/platform/node-random.js'
import { silentLogger } from '#src/ports/logger.js'
import { testClock } from '../support/clock.js'
import { EtcdCluster, etcdMissing, recordHistory } from '../support/etcd.js'
import { isFull } from './support.js'

const registrationMs = 2_000
const callMs = 1_000
/** What a busy machine may add to a time-out. */
const slackMs = 1_500
const outageMs = isFull ? 30_000 : 3_000
const names = ['a', 'b', 'c'] as const

interface Done {
  readonly expected: number
  readonly revision: number
  readonly nonce: string
}

/** Reads and swaps one record without end, and keeps what each swap came to. */
class Writer {
  readonly done: Done[] = []
  readonly unknown = new Set<string>()
  readonly watcher: Watcher
  slowestMs = 0
  failures = 0
  private readonly coordinator: EtcdCoordinator
  private stopped = false
  private readonly running: Promise<void>

  constructor(coordinator: EtcdCoordinator) {
    this.coordinator = coordinator
    this.watcher = new Watcher(coordinator)
    this.running = this.run()
  }

  async stop(): Promise<void> {
    this.stopped = true
    await this.running
  }

  private async run(): Promise<void> {
    while (!this.stopped) {
      const startMs = testClock.nowMs()
      let nonce: string | undefined
      try {
        const state = await this.coordinator.read('main', { timeoutMs: callMs })
        const version = (state.record?.version ?? 0) + 1
        const next = makeRecord(state.coordinatorId, { version, nonce: nodeRandom.hex(16) })
        this.note(startMs)
        const swapStartMs = testClock.nowMs()
        nonce = next.nonce
        try {
          const result = await this.coordinator.swap('main', state.revision, next, { timeoutMs: callMs })
          if (result.swapped) this.done.push({ expected: state.revision, revision: result.state.revision, nonce })
        } finally {
          this.note(swapStartMs)
        }
      } catch (error) {
        if (nonce === undefined) this.note(startMs)
        assert.ok(isFailure(error, 'UNAVAILABLE', 'TIMEOUT'), String(error))
        assert.equal(error.retryable, true)
        this.failures += 1
        if (error.outcome === 'unknown') this.unknown.add(nonce!)
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
      // So that the others get their turn, and the machine as well.
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
  }

  private note(startMs: number): void {
    this.slowestMs = Math.max(this.slowestMs, testClock.nowMs() - startMs)
  }
}

/** Three writers, each of which begins at another member; then the fault; then everything is compared. */
async function underLoad(
  etcd: EtcdCluster,
  cluster: string,
  fault: (writers: readonly Writer[], progress: () => Promise<void>) => Promise<void>,
): Promise<void> {
  const { endpoints } = etcd
  const coordinators = names.map((_, index) =>
    createEtcdCoordinator({
      endpoints: endpoints.map((__, at) => endpoints[(at + index) % endpoints.length]!),
      cluster,
      registrationMs,
      clock: testClock,
      random: nodeRandom,
      logger: silentLogger,
    }),
  )
  for (const [index, coordinator] of coordinators.entries()) {
    coordinator.start()
    coordinator.register({ node: names[index]!, address: `10.0.0.${index + 1}:7400`, boot: `b${index}` })
  }
  const writers = coordinators.map((coordinator) => new Writer(coordinator))
  const progress = async () => {
    const before = writers.map(({ done }) => done.length)
    await until(
      () => writers.every(({ done }, index) => done.length >= before[index]! + 5),
      () => `swaps go on: ${writers.map(({ done }) => done.length)} after ${before}`,
      30_000,
    )
  }
  const allRegistered = () =>
    until(
      () =>
        writers.every(({ watcher }) => watcher.names.join() === names.join()) &&
        coordinators.every(({ registeredUntilMs }) => registeredUntilMs > testClock.nowMs()),
      () => `all are registered: ${writers.map(({ watcher }) => watcher.names)}`,
      30_000,
    )
  try {
    await progress()
    await allRegistered()
    await fault(writers, progress)
    await progress()
    await allRegistered()
    await Promise.all(writers.map((writer) => writer.stop()))
    const last = await coordinators[0]!.read('main', { timeoutMs: 15_000 })
    await until(
      () => writers.every(({ watcher }) => watcher.last('main')?.revision === last.revision),
      'all watches have come to the last record',
    )
    check(writers, await recordHistory(etcd, cluster, 'main', last.revision))
  } finally {
    await Promise.all(writers.map((writer) => writer.stop()))
    await Promise.all(coordinators.map((coordinator) => coordinator.close()))
  }
}

/** What the writers and the watches say, against all revisions that etcd has. */
function check(
  writers: readonly Writer[],
  history: ReadonlyArray<{ readonly revision: number; readonly nonce: string; readonly version: number }>,
): void {
  const truth = new Map(history.map((entry) => [entry.revision, entry]))
  assert.equal(new Set(history.map(({ nonce }) => nonce)).size, history.length, 'C3: no swap was done twice')
  for (const [index, { version }] of history.entries()) assert.equal(version, index + 1, 'no swap was overwritten')
  const done = writers.flatMap((writer) => writer.done)
  const unknown = new Set(writers.flatMap((writer) => [...writer.unknown]))
  const known = new Set<string>()
  for (const { expected, revision, nonce } of done) {
    assert.equal(truth.get(revision)?.nonce, nonce, `the swap to revision ${revision} was lost`)
    const at = history.findIndex((entry) => entry.revision === revision)
    assert.equal(
      history[at - 1]?.revision ?? 0,
      expected,
      'nothing came between what was expected and what was written',
    )
    known.add(nonce)
  }
  for (const { nonce } of history) {
    assert.ok(known.has(nonce) || unknown.has(nonce), 'what was written was reported as done or as unknown')
  }
  for (const { watcher, slowestMs } of writers) {
    for (const { revision, record } of watcher.states('main')) {
      if (revision > 0) assert.equal(truth.get(revision)?.nonce, record?.nonce, 'what was told is what is there')
    }
    assert.ok(slowestMs < callMs + slackMs, `F45: a call took ${slowestMs} ms`)
  }
}

const skip = etcdMissing()

describe('three members of etcd', { skip: skip ?? false, concurrency: false }, () => {
  const options = { timeout: 180_000 }

  test(
    'C3, F3: one and then another member is killed, follower and leader: no swap is lost or done twice',
    options,
    async () => {
      const etcd = await EtcdCluster.start(3)
      try {
        await underLoad(etcd, 'killed', async (_, progress) => {
          const follower = ((await etcd.leader()) + 1) % 3
          await etcd.kill(follower)
          await progress()
          await etcd.startMember(follower)
          await progress()
          const leader = await etcd.leader()
          await etcd.kill(leader)
          await progress()
          await etcd.startMember(leader)
        })
      } finally {
        await etcd.close()
      }
    },
  )

  test(
    'F36: the leader stands still without a word: who was connected to it goes to another member',
    options,
    async () => {
      const etcd = await EtcdCluster.start(3)
      try {
        await underLoad(etcd, 'paused', async (writers, progress) => {
          const leader = await etcd.leader()
          const breaks = () => writers.reduce((sum, { watcher }) => sum + watcher.count('disconnected'), 0)
          const before = breaks()
          etcd.pause(leader)
          await until(() => breaks() > before, 'the break is noticed', registrationMs * 2)
          await progress()
          await until(() => writers.every(({ watcher }) => watcher.connected), 'all are connected to the others')
          etcd.resume(leader)
          await progress()
        })
      } finally {
        await etcd.close()
      }
    },
  )

  test('a member without the others does not pretend to serve; with one more, all goes on', options, async () => {
    const etcd = await EtcdCluster.start(3)
    try {
      await underLoad(etcd, 'minority', async (writers) => {
        const before = writers.map(({ watcher }) => watcher.count('disconnected'))
        await Promise.all([etcd.kill(1), etcd.kill(2)])
        await until(
          () => writers.every(({ watcher }, index) => watcher.count('disconnected') > before[index]!),
          'all watches end, also that on the member that is left',
        )
        const failed = writers.map(({ failures }) => failures)
        await until(() => writers.every(({ failures }, index) => failures > failed[index]!), 'calls fail, in time')
        await etcd.startMember(1)
      })
    } finally {
      await etcd.close()
    }
  })

  test(`L4, F40: all members are gone for ${outageMs / 1000} s and come back`, options, async () => {
    const etcd = await EtcdCluster.start(3)
    try {
      await underLoad(etcd, 'outage', async (writers) => {
        const before = writers.map(({ watcher }) => watcher.count('disconnected'))
        await Promise.all([0, 1, 2].map((index) => etcd.kill(index)))
        const backMs = testClock.nowMs() + outageMs
        await until(
          () => writers.every(({ watcher }, index) => watcher.count('disconnected') > before[index]!),
          'the break is told to all',
        )
        await until(() => testClock.nowMs() > backMs, 'the outage passes', outageMs + 10_000)
        await Promise.all([0, 1, 2].map((index) => etcd.startMember(index)))
      })
    } finally {
      await etcd.close()
    }
  })

  test('F45: calls without any member end in time and say what is wrong', options, async () => {
    const etcd = await EtcdCluster.start(1)
    const endpoints = [...etcd.endpoints, ...etcd.endpoints.map((address) => address.replace('127.0.0.1', '127.0.0.2'))]
    await etcd.close()
    const coordinator = createEtcdCoordinator({
      endpoints,
      cluster: 'nowhere',
      registrationMs,
      clock: testClock,
      random: nodeRandom,
      logger: silentLogger,
    })
    coordinator.start()
    try {
      for (const call of [
        () => coordinator.read('main', { timeoutMs: 300 }),
        () => coordinator.swap('main', 0, makeRecord('0'.repeat(32)), { timeoutMs: 300 }),
      ]) {
        const { error, tookMs } = await failureOf(testClock, call)
        assert.equal(error.failure, 'UNAVAILABLE')
        assert.equal(error.outcome, 'none', 'nothing was sent')
        assert.match(error.message, /etcd at 127\.0\.0\.[12]:\d+: .+/)
        assert.ok(tookMs < 300 + slackMs, `${tookMs} ms`)
      }
    } finally {
      await coordinator.close()
    }
  })
})
