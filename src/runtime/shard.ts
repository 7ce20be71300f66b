import type { Message } from '../codec/messages.js'
import type { FailureCode } from '../core/failure.js'
import { refuseSettings } from '../core/handshake.js'
import { limits } from '../core/limits.js'
import { compareEpochs, type Epoch, formatEpoch } from '../core/position.js'
import type { ShardRecord } from '../core/record.js'
import { errorFromFailure, toUnderstudyError, UnderstudyError } from '../errors.js'
import type { Link } from '../link/link.js'
import type { Timer } from '../ports/clock.js'
import { AutomaticLeadership } from './automatic-leadership.js'
import { DataOpener } from './data-opener.js'
import { DataRepair } from './data-repair.js'
import { Forwarder } from './forwarder.js'
import { Greeter } from './greeter.js'
import { HandOver } from './hand-over.js'
import type {
  PromoteOptions,
  PromoteResult,
  ShardMetrics,
  ShardStatus,
  SwitchoverOptions,
  SwitchoverResult,
} from './handle.js'
import { LagReporter } from './lag-reporter.js'
import type { Leadership, LeadershipHost } from './leadership.js'
import { Peers } from './peers.js'
import { Promotions } from './promotions.js'
import { ShardContext, type ShardParts } from './shard-context.js'
import { ShardSessions } from './shard-sessions.js'
import { describeShard } from './shard-status.js'
import { StandbyRole } from './standby-role.js'
import { StaticLeadership } from './static-leadership.js'
import { Verifier } from './verifier.js'

/**
 * One shard on one node: a loop that asks what this node may be now, and is that until something changes. The
 * decisions are the core's; what is here carries them out, one at a time.
 */
export class Shard {
  readonly context: ShardContext
  readonly forwarder: Forwarder
  readonly verifier: Verifier
  private readonly greeter: Greeter
  private readonly standbyRole: StandbyRole
  private readonly sessions: ShardSessions
  private readonly opener: DataOpener
  private readonly lagReporter: LagReporter
  private readonly leadership: Leadership
  private readonly repair: DataRepair
  private readonly promotions: Promotions
  /** Ends what the loop is waiting in: a session, a bootstrap. */
  private interrupt = new AbortController()
  private running: Promise<void> | undefined
  /** Found in the engine's files while they were in use; they are given up at the loop's next turn. */
  private damage: string | undefined
  private handingOver = false
  private stopPrepared: Promise<void> | undefined
  private closing: Promise<void> | undefined
  /** The directory was read: only from then on this node knows whether it holds data. */
  private opened = false

  constructor(parts: ShardParts) {
    this.context = new ShardContext(parts)
    const { context } = this
    this.promotions = new Promotions(context, () => this.interruptLoop())
    this.lagReporter = new LagReporter(context)
    this.greeter = new Greeter(context, (epoch) => this.observeEpoch(epoch))
    this.sessions = new ShardSessions(
      context,
      this.greeter,
      (epoch) => this.observeEpoch(epoch),
      (options) => this.switchover(options),
    )
    this.opener = new DataOpener(context, this.sessions, {
      failed: (error) => this.fail(error),
      damaged: (error) => this.onDamaged(error),
    })
    this.forwarder = new Forwarder({
      clock: context.clock,
      origin: context.origin,
      nextRequest: context.nextRequest,
      applied: () => context.data?.applier.applied.sequence ?? 0,
      obstacle: () => ({ code: obstacleCode(context), message: context.reason }),
    })
    this.repair = new DataRepair({
      context,
      greeter: this.greeter,
      opener: this.opener,
      signal: () => this.interrupt.signal,
      refusePromotion: (reason) => this.promotions.refuse(reason),
    })
    context.forwarder = this.forwarder
    this.verifier = new Verifier({
      context,
      greeter: this.greeter,
      writeMark: (request, options) =>
        context.primary?.isReady === true
          ? context.primary.write([], context.origin, request, options)
          : this.forwarder.write([], options, request),
    })
    this.standbyRole = new StandbyRole(context, this.greeter, this.forwarder)
    context.peers = new Peers({
      members: context.cluster.others,
      dial: async (member, signal) => (await this.greeter.dial(member, 'control', signal)).link,
      pollMs: context.cluster.automatic === undefined ? limits.pollMs : context.timings.pollMs,
      silenceMs: context.cluster.automatic === undefined ? limits.peerSilenceMs : context.timings.silenceMs,
      clock: context.clock,
      random: context.random,
      logger: context.logger,
      onState: (state) =>
        state.historyId === context.historyId ? this.observeEpoch(state.promised) : Promise.resolve(),
      onChange: () => {
        context.wake.signal()
        this.repair.onPeersChanged()
        this.standbyRole.onPeersChanged()
      },
    })
    const { coordinator } = parts
    const host = this.leadershipHost()
    this.leadership =
      coordinator.kind === 'automatic'
        ? new AutomaticLeadership(host, coordinator)
        : new StaticLeadership(host, coordinator)
  }

  /** Opens what is there. Rejects with a coded error where starting makes no sense; later failures are states. */
  async start(): Promise<void> {
    const { context } = this
    await context.store.open()
    await context.divergent.load()
    const { superblock } = context.store
    if (superblock !== undefined) {
      if (superblock.cluster !== context.config.cluster || superblock.shard !== context.config.name) {
        throw new UnderstudyError(
          'FOREIGN_DIRECTORY',
          `${context.store.root} belongs to shard ${superblock.shard} of cluster ${superblock.cluster}`,
        )
      }
      const failure = refuseSettings(superblock.record, context.config.settings)
      if (failure !== undefined) throw errorFromFailure(failure)
    }
    // The coordinator's news were stored meanwhile, or not: nobody leaves `failed` again by starting.
    if (context.failure !== undefined) throw context.failure
    this.opened = true
    context.transition('start', 'starting')
    // What is being undone is opened by nobody else.
    if (superblock !== undefined && superblock.rewinding === undefined) await this.repair.open()
    context.peers.start()
    this.leadership.start()
    this.lagReporter.start()
    this.running = this.run()
  }

  close(): Promise<void> {
    this.closing ??= this.doClose()
    return this.closing
  }

  /** Serves a connection whose first frame named this shard; resolves when it ends. */
  accept(link: Link, hello: Message<'hello'>): Promise<void> {
    // Who has not looked yet must not pass for empty: others would begin a second history beside the data here (S1).
    if (!this.opened) {
      link.fail({ code: 'NOT_READY', message: `${this.context.config.node} is starting` })
      return Promise.resolve()
    }
    return this.sessions.accept(link, hello)
  }

  promote(options: PromoteOptions): Promise<PromoteResult> {
    return this.promotions.ask(options)
  }

  /** Carried out by the primary, wherever it was asked for. */
  async switchover(options: SwitchoverOptions): Promise<SwitchoverResult> {
    const { context } = this
    if (context.cluster.automatic === undefined) {
      throw new UnderstudyError('SWITCHOVER_REFUSED', 'with the static coordinator the primary is changed by hand', {
        hint: 'stop the primary cleanly, then promote the standby',
      })
    }
    if (context.failure !== undefined) throw context.failure
    const { primary } = context
    if (primary === undefined) return context.peers.switchover(context.newestRecord?.primary.node, options)
    if (this.handingOver) throw new UnderstudyError('SWITCHOVER_REFUSED', 'a switchover is under way')
    this.handingOver = true
    try {
      const handOver = new HandOver(context, primary, options)
      return await handOver.run((to) => this.demote(`handed over to ${to.node}`, 'resign'))
    } finally {
      this.handingOver = false
    }
  }

  get status(): ShardStatus {
    return describeShard(this.context, this.sessions.followers, this.repair.progress)
  }

  get metrics(): ShardMetrics {
    return { shard: this.context.config.name, status: this.status, ...this.context.observer.totals }
  }

  // The loop

  private async run(): Promise<void> {
    const { context } = this
    while (!context.stopping) {
      try {
        await this.step()
      } catch (error) {
        if (context.stopping) break
        this.fail(error)
      }
    }
  }

  private async step(): Promise<void> {
    const { context } = this
    if (this.interrupt.signal.aborted) this.interrupt = new AbortController()
    if (context.failure !== undefined || (context.primary !== undefined && !this.promotions.isAsked)) {
      await context.wake.wait(limits.reconnectMaxMs)
      return
    }
    if (this.damage !== undefined) {
      const { damage } = this
      await this.repair.giveUp(damage, () => {
        this.damage = undefined
      })
      return
    }
    if (context.data === undefined) {
      const { historyId } = context
      if (historyId !== undefined) return this.repair.run(historyId)
      return this.leadership.stepWithoutData(this.promotions.isAsked)
    }
    if (this.promotions.isAsked) return this.promotions.carryOut((force) => this.leadership.promote(force))
    return this.leadership.step()
  }

  private async follow(record: ShardRecord): Promise<void> {
    const { context } = this
    const repair = await this.standbyRole.step(record, this.interrupt.signal)
    if (repair === undefined) return
    const { historyId } = context
    // Iterators and snapshots end with it; reads wait or are told so, until the data is whole again (B4).
    await this.opener.close()
    if (repair.type === 'bootstrap') await this.repair.bootstrap(historyId!, repair.reason)
    else await this.repair.run(historyId!)
  }

  private leadershipHost(): LeadershipHost {
    const shard = this
    return {
      context: this.context,
      get signal() {
        return shard.interrupt.signal
      },
      interrupt: () => this.interruptLoop(),
      bootstrap: (historyId, reason) => this.repair.bootstrap(historyId, reason),
      follow: (record) => this.follow(record),
      onPrimaryChanged: () => this.standbyRole.onPeersChanged(),
      refusePromotion: (reason) => this.promotions.refuse(reason),
      createData: async (record) => {
        await this.opener.create(record)
      },
      discardProvisional: async () => {
        await this.opener.close()
        await this.context.store.discardProvisional()
      },
      observe: (epoch) => this.observeEpoch(epoch),
      demote: (reason) => this.demote(reason),
      resign: (reason) => this.demote(reason, 'resign'),
      fail: (error) => this.fail(error),
    }
  }

  // Epochs

  /** The highest epoch seen is durable before any answer in it; a primary of a lower one stops at once (S3, I2). */
  private async observeEpoch(epoch: Epoch): Promise<void> {
    const { context } = this
    if (context.store.superblock === undefined || compareEpochs(epoch, context.promised) <= 0) return
    await context.store.promise(epoch)
    const { primary } = context
    if (primary !== undefined && compareEpochs(primary.epoch, context.promised) < 0) {
      this.demote(`epoch ${formatEpoch(epoch)} is higher than ${formatEpoch(primary.epoch)}`)
    } else if (context.standby !== undefined) context.standby.onPromise()
  }

  private demote(reason: string, event: 'higher-epoch' | 'resign' = 'higher-epoch'): void {
    const { context } = this
    const role = context.primary
    if (role === undefined) return
    context.transition(event, reason)
    context.primary = undefined
    role.end('FENCED', `${context.config.node} is no longer the primary: ${reason}`)
    context.transition('demoted', reason)
    this.leadership.onRoleEnded()
    context.wake.signal()
  }

  // Data

  /** Nobody reads on from a damaged store: this node gives up its role, and is built anew from another one. */
  private onDamaged(error: Error): void {
    const { context } = this
    if (context.stopping || context.failure !== undefined || this.damage !== undefined) return
    const isAlone = context.cluster.others.length === 0
    if (isAlone || context.data === undefined || context.state === 'promoting') {
      this.fail(error)
      return
    }
    context.logger.error({ error: error.message }, 'the data here is damaged and is fetched anew')
    this.damage = error.message
    context.emit({ type: 'failure', error })
    this.demote(error.message, 'resign')
    this.interruptLoop()
  }

  // Ends

  /** Disk, journal, engine or an invariant failed: nothing is acknowledged any more, and everybody is told. */
  private fail(error: unknown): void {
    const { context } = this
    // What fails on the way to giving the data up says nothing new.
    if (context.failure !== undefined || context.stopping || this.damage !== undefined) return
    const failure = toUnderstudyError(error, `shard ${context.config.name}`)
    context.failure = failure
    context.logger.error({ error: failure.message, code: failure.code, stack: failure.stack }, 'shard failed')
    context.transition('failure', failure.message)
    context.primary?.end('FENCED', `${context.config.node} failed: ${failure.message}`)
    context.primary = undefined
    this.forwarder.close(failure)
    context.emit({ type: 'failure', error: failure })
    this.promotions.end(failure)
    this.interruptLoop()
    context.waiters.check()
  }

  private interruptLoop(): void {
    this.interrupt.abort()
    this.context.wake.signal()
  }

  /** A clean stop of a primary is a switchover; where nobody can take over it is a stop all the same. Idempotent. */
  prepareStop(): Promise<void> {
    this.stopPrepared ??= this.handOverToStop()
    return this.stopPrepared
  }

  private async handOverToStop(): Promise<void> {
    const { context } = this
    if (context.primary !== undefined && context.cluster.automatic !== undefined && context.data !== undefined) {
      const handedOver = this.switchover({ timeoutMs: context.timings.failoverMs }).catch((error) => {
        context.logger.info({ reason: error instanceof Error ? error.message : String(error) }, 'stops as primary')
      })
      // Where the coordinator does not say what became of it, nobody may write anyway: the stop need not wait for that.
      let late: Timer | undefined
      const tooLate = new Promise<void>((resolve) => {
        late = context.clock.setTimer(4 * context.timings.failoverMs, resolve)
      })
      await Promise.race([handedOver, tooLate])
      late?.cancel()
    }
  }

  private async doClose(): Promise<void> {
    const { context } = this
    await this.prepareStop()
    const { standby } = context
    // A clean stop does not hold up the writers of the others: this member gives up its place first.
    if (standby !== undefined && context.record?.inSync.some((member) => member.node === context.config.node)) {
      await standby.leave(context.config.node, limits.peerSilenceMs)
    }
    context.stopping = true
    this.lagReporter.stop()
    this.leadership.close()
    const closed = new UnderstudyError('CLOSED', `${context.config.node} is closed`)
    context.primary?.end('CLOSED', `${context.config.node} is closing`)
    context.primary = undefined
    this.forwarder.close(closed)
    this.promotions.end(closed)
    this.interruptLoop()
    await context.peers.close()
    await this.running
    try {
      await this.opener.close()
    } finally {
      context.transition('stop', 'closed')
      context.cluster.close()
      context.waiters.close(closed)
    }
  }
}

/** Of a write that found nobody to take it. */
function obstacleCode(context: ShardContext): FailureCode {
  if (context.data === undefined) return 'NOT_READY'
  if (context.state === 'fenced') return 'FENCED'
  return context.state === 'promoting' ? 'ACK_TIMEOUT' : 'UNAVAILABLE'
}
