import assert from 'node:assert/strict'
import { after, afterEach, before, beforeEach, describe, test } from 'node:test'
import { UnderstudyError } from '#src/errors.js'
import type { VoterStatus } from '#src/ports/voter.js'
import type { FailoverRecord } from '#src/runtime/handle.js'
import { codedError, understudy } from '../support/command.js'
import { type FakeCluster, startFakeCluster } from '../support/fake-cluster.js'

function change(number: number, node: string, changes: Partial<FailoverRecord> = {}): FailoverRecord {
  const at = `2026-01-01T00:00:0${number}.000Z`
  const epoch = { number, node }
  return { at, epoch, primary: node, kind: 'failover', tookMs: undefined, mayLose: undefined, ...changes }
}

describe('switchover on the command line', () => {
  let cluster: FakeCluster
  before(async () => {
    cluster = await startFakeCluster()
  })
  after(() => cluster.close())
  beforeEach(() => {
    cluster.nodes.a.main.failures.clear()
    cluster.nodes.a.main.calls = []
  })
  const run = (...args: string[]) => understudy(['switchover', '--url', cluster.urls.a, ...args])

  test('hands target and time-out over and prints who is primary and how long writes paused', async () => {
    const { code, stdout } = await run('--to', 'b', '--timeout', '30s')
    assert.equal(code, 0)
    assert.equal(stdout, 'node b is the primary in epoch 4@b; writes paused for 12 ms\n')
    assert.deepEqual(cluster.nodes.a.main.calls, [{ name: 'switchover', argument: { to: 'b', timeoutMs: 30_000 } }])
  })

  test('without a target the node chooses; --json prints the answer as it is', async () => {
    const { code, stdout } = await run('--json')
    assert.equal(code, 0)
    assert.deepEqual(JSON.parse(stdout), { epoch: '5@b', primary: 'b', pauseMs: 12 })
    assert.deepEqual(cluster.nodes.a.main.calls, [{ name: 'switchover', argument: { timeoutMs: 10_000 } }])
  })

  test('exit codes: 1 refused, 2 misuse, 3 not primary, 4 no node there', async () => {
    const { failures, calls } = cluster.nodes.a.main
    failures.set('switchover', new UnderstudyError('SWITCHOVER_REFUSED', 'c lags', { hint: 'b is ready' }))
    const refused = await run('--to', 'c', '--json')
    assert.equal(refused.code, 1)
    const { code, message, hint } = codedError(refused)
    assert.deepEqual([code, message, hint], ['UNDERSTUDY_SWITCHOVER_REFUSED', 'c lags', 'b is ready'])
    failures.set('switchover', new UnderstudyError('NOT_PRIMARY', 'nobody leads now'))
    assert.equal((await run()).code, 3)
    assert.equal((await run('--timeout', 'soon')).code, 2)
    assert.equal((await run('--force')).code, 2)
    assert.equal(calls.length, 2, 'misuse asks nobody')
    assert.equal((await understudy(['switchover', '--url', 'http://127.0.0.1:1'])).code, 4)
  })
})

describe('failover in the status', () => {
  let cluster: FakeCluster
  beforeEach(async () => {
    cluster = await startFakeCluster()
  })
  afterEach(() => cluster.close())
  const status = async (node: 'a' | 'b' | 'c') => {
    const { code, stdout, stderr } = await understudy(['status', '--url', cluster.urls[node]])
    assert.equal(code, 0, stderr)
    return stdout
  }
  const shard = async (node: 'a' | 'b' | 'c') => {
    const { stdout } = await understudy(['status', '--url', cluster.urls[node], '--json'])
    return JSON.parse(stdout).shards[0]
  }

  test('the primary answers whether a failover is possible, whoever is asked', async () => {
    cluster.nodes.b.main.failover = { possible: false, reason: 'not what the primary says', to: undefined }
    const text = await status('b')
    assert.match(text, /\ncan fail over now: yes, to b: b holds everything and can take over\n/)
    assert.match(text, /\ncoordinator: etcd:\/\/10\.0\.0\.9:2379, connected\n/)
    assert.match(text, /\nb +standby +streaming +3@a +3@a\.1042 +1,042 +0 +0 B +0 ms +yes /)
    cluster.nodes.a.main.failover = { possible: false, reason: 'b does not answer', to: undefined }
    assert.match(await status('b'), /\ncan fail over now: no: b does not answer\n/)
    assert.deepEqual((await shard('c')).failover, { possible: false, reason: 'b does not answer', saidBy: 'a' })
  })

  test('without the primary a member of the set answers, and one that is cut off from the coordinator does not count', async () => {
    await cluster.stop('a')
    const since = new Date(Date.now() - 75_000).toISOString()
    const away = { kind: 'automatic', connected: false, since, lastError: 'connection refused' } as const
    cluster.nodes.b.main.coordinator = away
    const text = await status('c')
    assert.match(text, /can fail over now: yes, to c: b does not reach the coordinator, but c does/)
    assert.match(
      text,
      /coordinator: etcd:\/\/10\.0\.0\.9:2379, connected: c only\n {2}b: not connected for 1 min \d+ s: connection refused\n/,
    )
    cluster.nodes.c.main.coordinator = away
    assert.match(await status('c'), /can fail over now: no: b does not reach the coordinator\n/)
    assert.match(await status('c'), /10\.0\.0\.9:2379, not connected\n/)
  })

  test('each change of primary is shown once, newest first, with what any node knows of it', async () => {
    const mayLose = { entries: 3, seconds: undefined, reason: 'durability local' }
    cluster.nodes.a.main.failovers = [change(2, 'b'), change(3, 'a', { kind: 'switchover', tookMs: 14 })]
    cluster.nodes.b.main.failovers = [change(1, 'a', { kind: 'start' }), change(2, 'b', { tookMs: 870, mayLose })]
    const { failovers } = await shard('c')
    assert.deepEqual(
      failovers.map((one: Record<string, unknown>) => [one.epoch, one.kind, one.tookMs]),
      [
        ['3@a', 'switchover', 14],
        ['2@b', 'failover', 870],
        ['1@a', 'start', undefined],
      ],
    )
    const text = await status('c')
    assert.match(text, /\na +3@a +switchover +2026-01-01T00:00:03Z +.* 14 ms +-\n/)
    assert.match(text, /\nb +2@b +failover +2026-01-01T00:00:02Z +.* 870 ms +3 entries\n/)
  })

  test('the witness of the builtin coordinator is asked too, though it is no member', async () => {
    const { c } = cluster.nodes
    const records = [
      { shard: 'main', revision: 9, epoch: c.main.epoch, primary: 'a', inSync: ['a', 'b'], recordVersion: 4 },
    ]
    const voter: VoterStatus = {
      voter: 'c',
      witness: true,
      state: 'serving',
      reason: undefined,
      coordinatorId: 'c'.repeat(32),
      voters: [],
      records,
      members: [{ node: 'a', address: '127.0.0.1:1', expiresInMs: 2900 }],
      sessions: 2,
      journal: { bytes: 0, segments: 0, sequence: 0 },
    }
    const whole = c.status.bind(c)
    c.status = () => ({ ...whole(), shards: [], voter })
    for (const node of [cluster.nodes.a, cluster.nodes.b]) {
      node.coordinator = `builtin://c=${new URL(cluster.urls.c).host}`
      node.members = node.members.filter((member) => member.node !== 'c')
    }
    const text = await status('a')
    assert.match(
      text,
      /\nvoter c \(witness\) · serving · members a\nrecord of main: revision 9, epoch 3@a, primary a, /,
    )
    assert.doesNotMatch(text, /\nc /, 'it has no line among the nodes with data')
    await cluster.stop('c')
    const without = await status('a')
    assert.match(without, /^warning: c: UNDERSTUDY_UNAVAILABLE/)
    assert.doesNotMatch(without, /\nc /)
  })
})
