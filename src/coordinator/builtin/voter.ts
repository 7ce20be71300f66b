import type { Message } from '../../codec/messages.js'
import type { Voter as ListedVoter } from '../../codec/voter-entry.js'
import { limits } from '../../core/limits.js'
import type { ShardRecord } from '../../core/record.js'
import { Registrations } from '../../core/registrations.js'
import { errorFromFailure, toUnderstudyError, UnderstudyError } from '../../errors.js'
import type { Link } from '../../link/link.js'
import type { VoterService } from '../../link/voter-service.js'
import type { Timer } from '../../ports/clock.js'
import type { RecordState, Registration, SwapResult } from '../../ports/coordinator.js'
import type { Logger } from '../../ports/logger.js'
import type { VoterStatus } from '../../ports/voter.js'
import type { RegisterOptions } from './channel.js'
import { VoterDirectory, type VoterDirectoryParts } from './voter-directory.js'
import { serveVoterSession } from './voter-session.js'

export interface VoterParts extends VoterDirectoryParts {
  readonly logger: Logger
  /** Where others reach this voter, as the configuration says. */
  readonly address: string
  readonly witness: boolean
  /** With more segments of its journal a snapshot is written. */
  readonly segmentsMax?: number
}

/** Hears what changes, after it is durable. `onEnd`: nothing more comes. */
export interface VoterWatcher {
  onRecord(shard: string, state: RecordState): void
  onMembers(members: readonly Registration[]): void
  onEnd(error: UnderstudyError): void
}

/**
 * Keeps the records of the cluster's shards in a durable journal of its own, and its members in memory. It is the
 * one voter of a group of one: what its disk says is what is true.
 */
export class Voter implements VoterService {
  /** Of this process: registrations that another one had are forgotten. */
  readonly boot: string
  private readonly parts: VoterParts
  private readonly registrations = new Registrations()
  private readonly watchers = new Set<VoterWatcher>()
  private readonly links = new Set<Link>()
  private directory: VoterDirectory | undefined
  private failure: UnderstudyError | undefined
  private starting: Promise<void> | undefined
  private closing: Promise<void> | undefined
  private expiry: Timer | undefined
  private queued = 0
  /** Swaps and compactions, one after another. */
  private turn: Promise<unknown> = Promise.resolve()

  constructor(parts: VoterParts) {
    this.parts = parts
    this.boot = parts.random.hex(8)
  }

  start(): Promise<void> {
    this.starting ??= this.doStart()
    return this.starting
  }

  get name(): string {
    return this.parts.voter
  }

  get voters(): readonly ListedVoter[] {
    return this.opened().voters
  }

  get coordinatorId(): string {
    return this.opened().coordinatorId
  }

  get shards(): readonly string[] {
    return [...this.opened().records.all.keys()]
  }

  get members(): readonly Registration[] {
    return this.registrations.members
  }

  read(shard: string): RecordState {
    return stateIn(this.opened(), shard)
  }

  /** Resolves after the new record is durable. Rejects with outcome `none` if it was not, and will not be, written. */
  swap(shard: string, expectedRevision: number, next: ShardRecord): Promise<SwapResult> {
    return this.inTurn(async () => {
      const directory = this.opened()
      // What was meant for the store that was lost may find its revision here again (S6).
      if (next.coordinatorId !== directory.coordinatorId) return { swapped: false, state: this.read(shard) }
      const decision = directory.records.decide(shard, expectedRevision)
      if (decision.kind === 'refuse') throw errorFromFailure(decision.failure)
      if (decision.kind === 'held') return { swapped: false, state: this.read(shard) }
      await this.guarded('writing a record', () => directory.commit({ shard, record: next }))
      // Also when it was closed meanwhile: it is written, and whoever asked must not hear that it is not.
      const state = stateIn(directory, shard)
      for (const watcher of [...this.watchers]) watcher.onRecord(shard, state)
      if (directory.status.segments > (this.parts.segmentsMax ?? limits.voterSegmentsMax)) this.compact(directory)
      return { swapped: true, state }
    })
  }

  register(member: Registration, options: RegisterOptions): void {
    this.opened()
    // Whose time is over is not in the way of another, also when the timer is late.
    const nowMs = this.parts.clock.nowMs()
    const expired = this.registrations.expire(nowMs)
    const { changed, failure } = this.registrations.register(member, options, nowMs)
    if (changed || expired) this.tellMembers()
    this.armExpiry()
    if (failure !== undefined) throw errorFromFailure(failure)
  }

  unregister(node: string, boot: string): void {
    this.opened()
    if (!this.registrations.unregister(node, boot)) return
    this.tellMembers()
    this.armExpiry()
  }

  /** The present state first, then changes, until the returned function is called or `onEnd`. */
  watch(watcher: VoterWatcher): () => void {
    this.opened()
    watcher.onMembers(this.members)
    for (const shard of this.shards) watcher.onRecord(shard, this.read(shard))
    this.watchers.add(watcher)
    return () => this.watchers.delete(watcher)
  }

  async serve(link: Link, hello: Message<'coordinatorHello'>): Promise<void> {
    this.opened()
    this.links.add(link)
    try {
      await serveVoterSession(this, link, hello, this.parts.cluster)
    } finally {
      this.links.delete(link)
    }
  }

  get status(): VoterStatus {
    const { directory, failure, parts } = this
    const nowMs = parts.clock.nowMs()
    const state =
      failure?.failure === 'CLOSED'
        ? 'closed'
        : failure !== undefined
          ? 'failed'
          : directory === undefined
            ? 'starting'
            : 'serving'
    return {
      voter: parts.voter,
      witness: parts.witness,
      state,
      reason: failure === undefined ? undefined : [failure.message, failure.hint].filter(Boolean).join('; '),
      coordinatorId: directory?.coordinatorId,
      voters: directory?.voters ?? [],
      records: [...(directory?.records.all ?? [])].map(([shard, { record, revision }]) => ({
        shard,
        revision,
        epoch: record.epoch,
        primary: record.primary.node,
        inSync: record.inSync.map((member) => member.node),
        recordVersion: record.version,
      })),
      members: this.registrations.members.map(({ node, address }) => ({
        node,
        address,
        expiresInMs: Math.max(0, Math.round((this.registrations.expiresMs(node) ?? nowMs) - nowMs)),
      })),
      sessions: this.watchers.size,
      journal: directory?.status ?? { bytes: 0, segments: 0, sequence: 0 },
    }
  }

  close(): Promise<void> {
    this.closing ??= this.doClose()
    return this.closing
  }

  private async doStart(): Promise<void> {
    const { parts } = this
    try {
      const directory = await VoterDirectory.open(parts, {
        onDurable: () => undefined,
        onFailed: (error) => this.fail(toUnderstudyError(error, 'the journal of the voter')),
      })
      if (this.closing !== undefined) {
        await directory.close()
        throw new UnderstudyError('CLOSED', `voter ${parts.voter} was closed`)
      }
      try {
        await directory.beginEpoch()
        await keepAddress(directory, parts)
      } catch (error) {
        await directory.close().catch(() => undefined)
        throw error
      }
      this.directory = directory
      const { coordinatorId, created, cutBytes } = directory
      const fields = { coordinatorId, cutBytes, records: directory.records.all.size }
      if (created) parts.logger.warn(fields, 'the voter begins anew: its directory was empty')
      else parts.logger.info(fields, 'the voter has recovered its state')
    } catch (error) {
      const failure = toUnderstudyError(error, `voter ${parts.voter}: starting`)
      this.fail(failure)
      throw failure
    }
  }

  private async doClose(): Promise<void> {
    const { directory } = this
    await this.starting?.catch(() => undefined)
    // What is being written is finished and answered; what waits for its turn is refused.
    this.fail(new UnderstudyError('CLOSED', `voter ${this.parts.voter} was closed`))
    await this.turn.catch(() => undefined)
    await (this.directory ?? directory)?.close()
  }

  /** The state, if this voter may speak for it: never from memory when the disk does not take any more. */
  private opened(): VoterDirectory {
    if (this.failure !== undefined) throw this.failure
    if (this.directory === undefined) throw new UnderstudyError('NOT_READY', `voter ${this.parts.voter} is starting`)
    return this.directory
  }

  private inTurn<T>(work: () => Promise<T>): Promise<T> {
    if (this.queued >= limits.voterSwapsQueuedMax) {
      const message = `${this.queued} swaps wait for voter ${this.parts.voter}; that is the limit`
      return Promise.reject(new UnderstudyError('BACKPRESSURE', message))
    }
    this.queued += 1
    const done = this.turn.then(work).finally(() => {
      this.queued -= 1
    })
    this.turn = done.catch(() => undefined)
    return done
  }

  /** An error of the disk ends this voter: what is on the disk now, only a restart can tell. */
  private async guarded<T>(what: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      const failure = toUnderstudyError(error, `voter ${this.parts.voter}: ${what}`)
      this.fail(failure)
      throw failure.withOutcome('unknown')
    }
  }

  private compact(directory: VoterDirectory): void {
    this.inTurn(() => this.guarded('writing the snapshot', () => directory.compact())).catch((error) => {
      this.parts.logger.warn({ error: String(error) }, 'the journal of the voter was not shortened')
    })
  }

  private fail(error: UnderstudyError): void {
    if (this.failure !== undefined) return
    this.failure = error
    if (error.failure !== 'CLOSED') {
      const { code, message, hint } = error
      this.parts.logger.error({ code, error: message, hint }, 'the voter has failed: it answers nothing any more')
    }
    this.expiry?.cancel()
    const ended = [...this.watchers]
    this.watchers.clear()
    for (const watcher of ended) watcher.onEnd(error)
    for (const link of [...this.links]) link.fail(error)
  }

  private tellMembers(): void {
    const { members } = this
    for (const watcher of [...this.watchers]) watcher.onMembers(members)
  }

  private armExpiry(): void {
    this.expiry?.cancel()
    const { nextExpiryMs } = this.registrations
    if (nextExpiryMs === undefined) return
    const { clock } = this.parts
    this.expiry = clock.setTimer(Math.max(1, nextExpiryMs - clock.nowMs()), () => {
      if (this.failure !== undefined) return
      if (this.registrations.expire(clock.nowMs())) this.tellMembers()
      this.armExpiry()
    })
  }
}

function stateIn(directory: VoterDirectory, shard: string): RecordState {
  const held = directory.records.get(shard)
  return { coordinatorId: directory.coordinatorId, record: held?.record, revision: held?.revision ?? 0 }
}

/** The durable list of voters is what counts; only where this voter itself is reached may the configuration change. */
async function keepAddress(directory: VoterDirectory, parts: VoterParts): Promise<void> {
  const own = directory.voters.find((one) => one.node === parts.voter)
  if (directory.voters.length > 0 && own === undefined) {
    throw new UnderstudyError(
      'FOREIGN_DIRECTORY',
      `the voters of this directory are ${directory.voters.map((one) => one.node).join(', ')}; ${parts.voter} is none of them`,
    )
  }
  if (own?.address === parts.address) return
  const others = directory.voters.filter((one) => one !== own)
  await directory.commit({ voters: [...others, { node: parts.voter, address: parts.address }] })
}
