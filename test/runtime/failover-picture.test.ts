/** What a node collects to answer "can we fail over now?": the real context over stand-ins for what surrounds it. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { type InMemoryCoordinator, InMemoryCoordinatorStore } from '#src/coordinator/in-memory.js'
import { InSyncState } from '#src/core/in-sync.js'
import type { LifecycleState } from '#src/core/lifecycle.js'
import type { Position } from '#src/core/position.js'
import type { ShardRecord } from '#src/core/record.js'
import { silentLogger } from '#src/ports/logger.js'
import { coordinatorStatus, failoverStatus, failoverWarnings } from '#src/runtime/failover-picture.js'
import type { FollowerSession } from '#src/runtime/follower-session.js'
import type { Peers, PeerView } from '#src/runtime/peers.js'
import type { PrimaryRole } from '#src/runtime/primary-role.js'
import { type ShardConfig, ShardContext, type ShardParts } from '#src/runtime/shard-context.js'
import type { ShardData } from '#src/runtime/shard-data.js'
import type { ShardStore } from '#src/runtime/shard-store.js'
import type { StandbySession } from '#src/runtime/standby-session.js'
import { epoch, member, peer, position, record } from '../core/support.js'
import { testClock } from '../support/clock.js'

interface Peer {
  readonly reachable?: boolean
  readonly state?: LifecycleState
  readonly durable?: Position
  readonly record?: ShardRecord
}

interface Scene {
  readonly node: string
  readonly record: ShardRecord
  readonly peers: Readonly<Record<string, Peer>>
  readonly voters?: readonly string[]
}

class Stage {
  readonly context: ShardContext
  readonly coordinator: InMemoryCoordinator
  followers: FollowerSession[] = []

  constructor(scene: Scene) {
    const { node, peers } = scene
    const store = new InMemoryCoordinatorStore(testClock, 'c'.repeat(32))
    this.coordinator = store.client({ clock: testClock, registrationMs: 3000 })
    const voters = scene.voters === undefined ? {} : { voters: scene.voters }
    const superblock = { incarnation: member(node).incarnation, record: scene.record, promised: scene.record.epoch }
    const parts = {
      config: { name: 'main', node, boot: 'boot', settings: scene.record.settings, advertise: () => '' },
      store: { superblock } as unknown as ShardStore,
      coordinator: Object.assign(this.coordinator, voters),
      clock: testClock,
      logger: silentLogger,
    }
    this.context = new ShardContext({
      ...parts,
      config: parts.config as unknown as ShardConfig,
    } as unknown as ShardParts)
    this.context.data = {
      committed: 10,
      journal: { durable: position(10), appended: position(10) },
    } as unknown as ShardData
    const views = new Map<string, PeerView>()
    for (const [name, { reachable = true, ...changes }] of Object.entries(peers)) {
      const state = {
        ...peer(name, { durable: position(10), ...changes }),
        applied: 10,
        primaryAddress: '',
        hearsPrimary: true,
      }
      views.set(name, { address: `${name}:1`, state, seenMs: 0, reachable, lastError: undefined })
    }
    this.context.peers = {
      view: (name: string) => views.get(name),
      views: [...views].map(([name, view]) => ({ node: name, ...view })),
      answers: [...views.values()].filter((view) => view.reachable).map((view) => view.state),
    } as unknown as Peers
    for (const event of ['start', 'subscribed', 'caught-up'] as const) this.context.transition(event, 'for this test')
    this.coordinator.start()
    for (const name of Object.keys(peers)) {
      store.register({ node: name, address: `${name}:1`, boot: name }, 1, true)
    }
    this.coordinator.reconnect()
  }

  lead(): this {
    const { context } = this
    const inSync = new InSyncState({
      record: context.record!,
      recordHeldBy: 'coordinator',
      self: context.self!,
      epochStart: 1,
      durable: 10,
      applied: 10,
      committed: 10,
    })
    context.primary = { inSync, epoch: inSync.epoch } as unknown as PrimaryRole
    return this
  }

  follow(node: string, durable: number): this {
    const status = () => ({ node, durable, lagEntries: 10 - durable }) as ReturnType<FollowerSession['status']>
    this.followers.push({ member: member(node), epoch: epoch(1, 'a'), status } as unknown as FollowerSession)
    return this
  }

  get answer() {
    return failoverStatus(this.context, this.followers)
  }

  get warnings(): string {
    return failoverWarnings(this.context, this.followers).join('\n')
  }
}

const three = record(['a', 'b', 'c'])

describe('the picture that a primary has', () => {
  const primary = (changes: Partial<Scene> = {}) =>
    new Stage({ node: 'a', record: three, peers: { b: {}, c: {} }, ...changes }).lead()

  test('followers and members that answer count, with what they have told', () => {
    assert.equal(primary().follow('b', 10).follow('c', 10).answer.to, 'b')
    assert.equal(primary().follow('b', 9).follow('c', 10).answer.to, 'c')
    assert.equal(primary({ peers: { b: { reachable: false }, c: {} } }).answer.to, 'c', 'it answers without following')
    assert.equal(primary({ peers: { b: { state: 'failed' }, c: { reachable: false } } }).answer.possible, false)
    assert.equal(primary().follow('b', 10).warnings, '')
  })

  test('C3: a member that a change under way removes is not counted on', () => {
    const stage = primary().follow('b', 10).follow('c', 10)
    const { inSync } = stage.context.primary!
    inSync.propose({ ...three, inSync: [member('a'), member('c')], version: 2 })
    assert.equal(stage.answer.to, 'c')
  })

  test('without the coordinator there is no failover, and the status says since when', () => {
    const stage = primary().follow('b', 10)
    assert.equal(coordinatorStatus(stage.context).connected, true)
    const beforeMs = Date.parse(coordinatorStatus(stage.context).since!) + 1
    // The clock is that of the machine: another millisecond must have begun.
    while (Date.now() < beforeMs);
    stage.coordinator.setWeather({ reachable: false })
    const { connected, since, lastError } = coordinatorStatus(stage.context)
    assert.deepEqual([connected, lastError], [false, 'the coordinator is unreachable'])
    assert.ok(Date.parse(since!) >= beforeMs && Date.parse(since!) <= Date.now())
    assert.match(stage.answer.reason, /^the coordinator cannot be reached from a \(the coordinator is unreachable\)/)
    assert.ok(
      stage.warnings.includes(`the coordinator cannot be reached since ${since}: the coordinator is unreachable`),
    )
    stage.coordinator.setWeather({})
    assert.equal(stage.answer.possible, true)
    assert.equal(stage.warnings, '')
  })

  test('L5: writes that wait for the end of a switchover are explained while the coordinator is away', () => {
    const stage = primary().follow('b', 10).follow('c', 10)
    const { primary: role } = stage.context
    stage.context.primary = { ...role, isHandingOver: true } as unknown as PrimaryRole
    assert.equal(stage.warnings, '')
    stage.coordinator.setWeather({ reachable: false })
    assert.match(stage.warnings, /writes wait: a switchover is under way/)
  })

  test('a coordinator that goes with the primary makes a failover impossible', () => {
    assert.match(primary({ voters: ['a'] }).answer.reason, /without a the coordinator has 0 of at least 1/)
    assert.equal(primary({ voters: ['b'] }).answer.possible, true)
    assert.equal(primary({ voters: ['a', 'b', 'w'] }).answer.possible, true, 'a witness is no peer')
  })

  test('who is outside of the set is named with why it left', () => {
    const stage = primary({ record: record(['a', 'b']), peers: { b: {}, c: { reachable: false } } }).follow('b', 10)
    const change = { added: [], removed: ['c'], inSync: ['a', 'b'], reason: 'silent for 1000 ms' }
    stage.context.emit({ type: 'in-sync', ...change })
    assert.match(stage.warnings, /set is at its minimum \(a, b\)/)
    assert.match(stage.warnings, /c is not in the in-sync set: it does not answer \(left at .*: silent for 1000 ms\)/)
    assert.match(stage.answer.reason, /writes would then wait until another node is back/)
  })

  test('what the last change of primary may have lost is said, and no longer after the next one', () => {
    const stage = primary().follow('b', 10)
    const first = { at: '2026-01-01T00:00:00.000Z', epoch: epoch(1, 'a'), primary: 'a', kind: 'failover' } as const
    const mayLose = { entries: 3, seconds: undefined, reason: 'not received at durability local' }
    stage.context.failovers.push({ ...first, tookMs: 870, mayLose })
    assert.match(stage.warnings, /epoch 1@a \(failover, 2026-.*\) may have lost 3 entries: not received/)
    stage.context.failovers.push({ ...first, epoch: epoch(2, 'a'), tookMs: 14, mayLose: undefined })
    assert.equal(stage.warnings, '')
  })
})

describe('the picture that a standby has', () => {
  test('it counts itself, and knows whether the primary answers', () => {
    const stage = new Stage({ node: 'b', record: three, peers: { a: {}, c: { durable: position(9) } } })
    stage.context.standby = {} as StandbySession
    assert.deepEqual(stage.answer, { possible: true, reason: 'b holds everything and can take over', to: 'b' })
    const alone = new Stage({ node: 'b', record: three, peers: { a: { reachable: false }, c: {} } })
    assert.match(alone.answer.reason, /^a does not answer, and b can take over/)
    assert.equal(alone.warnings, '', 'what is wrong with the set is for the primary to say')
  })

  test('it believes the newest record that anybody has told', () => {
    const newer = { ...record(['a', 'c']), version: 2 }
    const stage = new Stage({ node: 'b', record: three, peers: { a: {}, c: { record: newer } } })
    assert.equal(stage.answer.to, 'c')
  })
})
