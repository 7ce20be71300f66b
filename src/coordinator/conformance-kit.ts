/** What the coordinator suite is made of; tests of a single coordinator may use it too. */
import assert from 'node:assert/strict'
import type { FailureCode } from '../core/failure.js'
import { epochZero } from '../core/position.js'
import type { ShardRecord } from '../core/record.js'
import { UnderstudyError } from '../errors.js'
import type { Clock } from '../ports/clock.js'
import type {
  AutomaticCoordinator,
  CoordinatorEvent,
  RecordState,
  Registration,
  SwapResult,
} from '../ports/coordinator.js'

/** How nothing passes: connections are refused and broken, or stay open and carry nothing. May be the same. */
export type Cut = 'refused' | 'silent'

export interface CoordinatorHarness {
  /** A new and empty store; every one is closed at the end of its case. */
  store(): Promise<CoordinatorStore>
}

export interface CoordinatorStore {
  /** What the clients hand in as the time to live of registrations: short, but what the store can really do. */
  readonly registrationMs: number
  /** The clock that the clients were given. */
  readonly clock: Clock
  /** A node's way to the store; its coordinator is not started. */
  client(): Promise<CoordinatorClient>
  /** Drops all history of changes, if the store has any. */
  compact?(): Promise<void>
  /** The store ends as by `kill -9` and begins again with the data that it had. */
  restart?(): Promise<void>
  /** Clients are closed before. */
  close(): Promise<void>
}

export interface CoordinatorClient {
  readonly coordinator: AutomaticCoordinator
  /** Nothing passes between this node and the store. For ever, it is what a killed process looks like. */
  cut(how: Cut): Promise<void>
  /** Requests reach the store; replies do not reach the node. */
  loseReplies?(): Promise<void>
  /** Each way takes this long. */
  delay?(delayMs: number): Promise<void>
  /** Ends all of these. */
  heal(): Promise<void>
}

export const patient = { timeoutMs: 15_000 }

/** Everything that a listener hears, checked as it comes. */
export class Watcher {
  readonly events: CoordinatorEvent[] = []
  members: readonly Registration[] = []
  readonly stop: () => void

  constructor(coordinator: AutomaticCoordinator) {
    this.stop = coordinator.subscribe((event) => {
      if (event.type === 'record') {
        const before = this.last(event.shard)
        const order = before === undefined || before.revision <= event.state.revision
        assert.ok(order, `revision ${event.state.revision} of ${event.shard} told after ${before?.revision}`)
      }
      if (event.type === 'members') this.members = event.members
      this.events.push(event)
    })
  }

  states(shard: string): RecordState[] {
    return this.events.flatMap((event) => (event.type === 'record' && event.shard === shard ? [event.state] : []))
  }

  /** Each record once, as it may be told again after a break. */
  distinct(shard: string): RecordState[] {
    return this.states(shard).filter((state, index, all) => all[index - 1]?.revision !== state.revision)
  }

  last(shard: string): RecordState | undefined {
    return this.states(shard).at(-1)
  }

  count(type: CoordinatorEvent['type']): number {
    return this.events.filter((event) => event.type === type).length
  }

  /** What was told last of the connection. */
  get connected(): boolean {
    return this.events.findLast(({ type }) => type === 'connected' || type === 'disconnected')?.type === 'connected'
  }

  get names(): string[] {
    return this.members.map(({ node }) => node).sort()
  }

  bootOf(node: string): string | undefined {
    return this.members.find((member) => member.node === node)?.boot
  }
}

let nonces = 0

export function makeRecord(coordinatorId: string, changes: Partial<ShardRecord> = {}): ShardRecord {
  nonces += 1
  const primary = { node: 'a', incarnation: 'a'.repeat(32) }
  const epoch = { number: 1, node: 'a' }
  return {
    historyId: '0123456789abcdef0123456789abcdef',
    coordinatorId,
    epoch,
    primary,
    inSync: [primary, { node: 'b', incarnation: 'b'.repeat(32) }],
    version: 1,
    nonce: nonces.toString(16).padStart(32, '0'),
    settings: { durability: 'standby', inSyncMin: 2, failoverMs: 1000, inSyncTimeoutMs: 1000 },
    floor: { epoch, sequence: 42, chain: 'c'.repeat(32) },
    lossySince: epochZero,
    handedOver: false,
    voters: [],
    ...changes,
  }
}

/** The record after `state`, by another writer. */
export function successor(state: RecordState, changes: Partial<ShardRecord> = {}): ShardRecord {
  return makeRecord(state.coordinatorId, { version: (state.record?.version ?? 0) + 1, ...changes })
}

/** Reads, then swaps what follows; the swap must be done. */
export async function write(
  coordinator: AutomaticCoordinator,
  shard = 'main',
  changes: Partial<ShardRecord> = {},
): Promise<RecordState> {
  const state = await coordinator.read(shard, patient)
  const result = await coordinator.swap(shard, state.revision, successor(state, changes), patient)
  assert.ok(result.swapped, 'nobody else writes')
  return result.state
}

export function won(results: readonly SwapResult[]): SwapResult[] {
  return results.filter((result) => result.swapped)
}

/** The coded error that a call ends with, and how long it took. */
export async function failureOf(
  clock: Clock,
  call: () => Promise<unknown>,
): Promise<{ readonly error: UnderstudyError; readonly tookMs: number }> {
  const startMs = clock.nowMs()
  try {
    await call()
  } catch (error) {
    assert.ok(error instanceof UnderstudyError, `a coded error, not ${String(error)}`)
    return { error, tookMs: clock.nowMs() - startMs }
  }
  throw new assert.AssertionError({ message: 'the call succeeded' })
}

export async function assertFails(clock: Clock, code: FailureCode, call: () => Promise<unknown>): Promise<void> {
  const { error } = await failureOf(clock, call)
  assert.equal(error.failure, code, error.message)
}

/** Looks again until it holds; fails with `what` after the time-out. */
export async function until(holds: () => boolean, what: string | (() => string), timeoutMs = 20_000): Promise<void> {
  const endMs = performance.now() + timeoutMs
  while (!holds()) {
    if (performance.now() > endMs) {
      throw new assert.AssertionError({
        message: `not within ${timeoutMs} ms: ${typeof what === 'string' ? what : what()}`,
      })
    }
    await new Promise<void>((resolve) => setTimeout(resolve, 5))
  }
}

/** Lets time pass, where its passing is what is tested. */
export function pass(clock: Clock, durationMs: number): Promise<void> {
  const endMs = clock.nowMs() + durationMs
  return until(() => clock.nowMs() >= endMs, `${durationMs} ms pass`, durationMs + 20_000)
}

/** A fresh store and some started clients, all closed when `use` is done. */
export async function withClients(
  harness: CoordinatorHarness,
  count: number,
  use: (clients: readonly CoordinatorClient[], store: CoordinatorStore) => Promise<void>,
): Promise<void> {
  const store = await harness.store()
  const clients: CoordinatorClient[] = []
  try {
    for (let index = 0; index < count; index++) clients.push(await store.client())
    for (const { coordinator } of clients) coordinator.start()
    await use(clients, store)
  } finally {
    await Promise.all(clients.map(({ coordinator }) => coordinator.close()))
    await store.close()
  }
}
