import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { LifecycleState } from '#src/core/lifecycle.js'
import type { Durability } from '#src/core/record.js'
import { timingsOf } from '#src/core/timings.js'
import { PrimaryWatch } from '#src/runtime/primary-watch.js'
import type { ShardContext } from '#src/runtime/shard-context.js'
import { member } from '../core/support.js'

const timings = timingsOf({ failoverMs: 1000, inSyncTimeoutMs: 60_000 })

/** Node a leads, b is in the set. What the watch looks at, to be changed as a test goes on. */
function watched(changes: { readonly state?: LifecycleState; readonly durability?: Durability } = {}) {
  const { state = 'reconnecting', durability = 'standby' } = changes
  const world = {
    nowMs: 0,
    committed: 1,
    ownDurable: 1,
    pendingBytes: 0,
    holdsLease: true,
    /** Durable at b; undefined: it does not follow. */
    followerDurable: 1 as number | undefined,
    isReachable: true,
    isConnected: true,
    resigned: [] as string[],
    renewed: 0,
  }
  const role = {
    get holdsLease() {
      return world.holdsLease
    },
    inSync: {
      members: [member('a'), member('b')],
      waitedFor: [member('a'), member('b')],
      record: { settings: { durability } },
      get committed() {
        return world.committed
      },
      progressOf: (one: { readonly node: string }) =>
        one.node === 'b' && world.followerDurable !== undefined ? { durable: world.followerDurable } : undefined,
    },
    dropLaggard: () => false,
    renewRecord: () => {
      world.renewed += 1
    },
  }
  const context = {
    timings,
    config: { node: 'a' },
    clock: { nowMs: () => world.nowMs },
    cluster: {
      get connected() {
        return world.isConnected
      },
    },
    peers: {
      get answers() {
        return world.isReachable ? [{ member: member('b'), state }] : []
      },
    },
    data: {
      journal: {
        get durable() {
          return { sequence: world.ownDurable }
        },
        get pendingBytes() {
          return world.pendingBytes
        },
        appended: { sequence: 100 },
      },
    },
    primary: role,
  }
  const watch = new PrimaryWatch(context as unknown as ShardContext, (reason) => world.resigned.push(reason))
  watch.begin()
  const pass = (ms: number, each: () => void = () => undefined) => {
    for (let left = ms; left > 0; left -= timings.heartbeatMs) {
      world.nowMs += timings.heartbeatMs
      each()
      watch.tick()
    }
  }
  pass(timings.failoverMs)
  assert.deepEqual(world.resigned, [])
  return { world, pass, watch }
}

describe('a primary looks at itself', () => {
  test('L3: without lease and commits it gives up, if a member is there that does not follow', () => {
    const { world, pass } = watched()
    world.holdsLease = false
    world.followerDurable = undefined
    pass(timings.giveUpMs)
    assert.deepEqual(world.resigned, [])
    pass(2 * timings.heartbeatMs)
    assert.match(world.resigned[0]!, /neither lease nor commits/)
  })

  test('L3: it does not give up for a member that is under repair, fenced or failed: that could not lead', () => {
    for (const state of ['bootstrapping', 'fenced', 'failed'] as const) {
      const { world, pass } = watched({ state })
      world.holdsLease = false
      world.followerDurable = undefined
      pass(10 * timings.giveUpMs)
      assert.deepEqual(world.resigned, [], state)
    }
  })

  test('L3: a member that has just come back has the time to follow: nobody could take its place without a coordinator', () => {
    const { world, pass } = watched()
    world.holdsLease = false
    world.followerDurable = undefined
    world.isReachable = false
    pass(5 * timings.giveUpMs)
    world.isReachable = true
    pass(timings.giveUpMs)
    assert.deepEqual(world.resigned, [], 'it answers, and does not follow yet')
    world.followerDurable = 1
    pass(2 * timings.giveUpMs)
    assert.deepEqual(world.resigned, [], 'it follows')
    world.followerDurable = undefined
    pass(timings.giveUpMs)
    assert.match(world.resigned[0]!, /neither lease nor commits/, 'it answers, and does not follow')
  })

  test('L3: while everybody follows it does not give up: the way to the record is not free, that is all', () => {
    const { world, pass } = watched()
    world.holdsLease = false
    pass(3 * timings.giveUpMs)
    assert.deepEqual(world.resigned, [])
    assert.ok(world.renewed >= 2, 'but it has the record decided again and again')
  })

  test('L3: cut off from all members it gives up only where the coordinator is away too', () => {
    const { world, pass } = watched()
    world.holdsLease = false
    world.followerDurable = undefined
    world.isReachable = false
    pass(3 * timings.giveUpMs)
    assert.deepEqual(world.resigned, [], 'the set can still be changed')
    world.isConnected = false
    pass(3 * timings.heartbeatMs)
    assert.equal(world.resigned.length > 0, true)
  })

  test('L3: commits show at durability standby that it can go on, at local they show nothing', () => {
    for (const durability of ['standby', 'local'] as const) {
      const { world, pass } = watched({ durability })
      world.holdsLease = false
      world.followerDurable = undefined
      pass(3 * timings.giveUpMs, () => {
        world.committed += 1
      })
      assert.equal(world.resigned.length > 0, durability === 'local', durability)
    }
  })

  test('L3: a disk that writes nothing ends the role only where another one has written', () => {
    const { world, pass } = watched()
    world.pendingBytes = 100
    pass(3 * timings.giveUpMs)
    assert.deepEqual(world.resigned, [], 'nobody has more')
    world.followerDurable = 2
    pass(timings.heartbeatMs)
    assert.match(world.resigned[0]!, /has not written anything/)
  })

  test('F40: a standstill of its own counts against nobody', () => {
    const { world, pass, watch } = watched()
    world.holdsLease = false
    world.followerDurable = undefined
    world.nowMs += 20 * timings.failoverMs
    watch.tick()
    assert.deepEqual(world.resigned, [])
    pass(timings.giveUpMs + 2 * timings.heartbeatMs)
    assert.equal(world.resigned.length > 0, true)
  })
})
