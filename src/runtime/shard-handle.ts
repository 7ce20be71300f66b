import { encodeOperations } from '../codec/block.js'
import type { Family, Operation } from '../core/entry.js'
import type { LifecycleState, Role } from '../core/lifecycle.js'
import { limits } from '../core/limits.js'
import { type Epoch, formatEpoch, formatPosition, type Position } from '../core/position.js'
import type { ShardRecord } from '../core/record.js'
import { UnderstudyError } from '../errors.js'
import { awake } from './awake.js'
import { carryOut } from './carry-out.js'
import { resolveClear } from './clear.js'
import type {
  ClearRequest,
  Consistency,
  EngineReader,
  PromoteOptions,
  PromoteResult,
  ReadOptions,
  ReadTicket,
  ShardEvent,
  ShardHandle,
  ShardStanding,
  ShardStatus,
  SwitchoverOptions,
  SwitchoverResult,
  WaitOptions,
  WriteOptions,
} from './handle.js'
import type { PrimaryRole } from './primary-role.js'
import { ReadDesk } from './read-ticket.js'
import type { Shard } from './shard.js'
import type { ShardContext } from './shard-context.js'
import type { ShardData } from './shard-data.js'
import { lagMsOf, standingOf } from './shard-status.js'
import { traced } from './traced.js'
import type { VerifyOptions, VerifyResult } from './verify-report.js'

/** The shard as its users see it: writes go where the primary is, reads say how fresh they must be. */
export class ShardAccess implements ShardHandle {
  private readonly shard: Shard
  private readonly context: ShardContext
  private readonly reads: ReadDesk

  constructor(shard: Shard) {
    this.shard = shard
    this.context = shard.context
    this.reads = new ReadDesk(shard.context)
  }

  get name(): string {
    return this.context.config.name
  }

  get role(): Role {
    return this.context.role
  }

  get state(): LifecycleState {
    return this.context.state
  }

  get applied(): Position | undefined {
    return this.context.data?.applier.applied
  }

  write(operations: readonly Operation[], options: WriteOptions = {}): Promise<Position> {
    const { primary } = this.context
    // The hot path: no promise but the write's own.
    if (primary?.isReady === true) {
      return primary.write(operations, this.context.origin, this.context.nextRequest(), this.withTimeout(options))
    }
    if (options.forward !== false) {
      const attributes = { 'understudy.operations': operations.length }
      return traced(this.context.parts.tracer, 'understudy.forward', attributes, () =>
        this.shard.forwarder.write(operations, this.withTimeout(options)),
      )
    }
    return this.onlyHere(this.withTimeout(options), (role, left) =>
      role.write(operations, this.context.origin, this.context.nextRequest(), left),
    )
  }

  async clear(request: ClearRequest, options: WriteOptions = {}): Promise<Position> {
    return resolveClear(request, {
      // Not the reader: a former primary that waits for the next one goes on where it was.
      engine: { scan: (family, range) => this.data.engine.scan(family, range) },
      write: (operations) => this.write(operations, options),
      barrier: () => this.write([], options),
    })
  }

  async createFamily(name: string, options: WriteOptions = {}): Promise<Family> {
    const bytes = Buffer.byteLength(name)
    if (bytes === 0 || bytes > limits.familyNameBytesMax) {
      throw new UnderstudyError(
        'LIMIT_EXCEEDED',
        `a family name has 1 to ${limits.familyNameBytesMax} bytes; this one has ${bytes}`,
      )
    }
    await this.ofFamilies({ type: 'createFamily', family: 0, name }, options)
    return familyNamed(this.data.engine, name)
  }

  async dropFamily(name: string, options: WriteOptions = {}): Promise<void> {
    const { id } = familyNamed(this.reader(), name)
    await this.ofFamilies({ type: 'dropFamily', family: id }, options)
  }

  reader(): EngineReader {
    const { data, failure } = this.context
    if (failure !== undefined) throw failure
    if (data === undefined || this.context.state === 'bootstrapping') {
      throw new UnderstudyError(
        'NOT_READY',
        `${this.context.config.node} has no readable data now: ${this.context.reason}`,
      )
    }
    if (this.context.state === 'fenced') {
      throw new UnderstudyError('FENCED', `${this.context.config.node} is fenced: ${this.context.reason}`)
    }
    return data.engine
  }

  beginRead(consistency?: Consistency): ReadTicket {
    return this.reads.begin(consistency)
  }

  async fresh(freshness: ReadOptions): Promise<void> {
    const { minPosition, maxLagMs } = freshness
    if (minPosition !== undefined) {
      await this.context.waiters.until(() => this.holdsPosition(minPosition), {
        timeoutMs: freshness.timeoutMs ?? this.context.config.writeTimeoutMs,
        signal: freshness.signal,
        what: `position ${formatPosition(minPosition)} applied here`,
      })
    }
    // A linearizable read waits for the lease itself.
    if (maxLagMs !== undefined && (this.context.role !== 'primary' || freshness.consistency === 'local')) {
      const lagMs = this.context.role === 'primary' ? lagMsOf(this.context) : this.context.standby?.lagMs
      if (lagMs === undefined || lagMs > maxLagMs) {
        throw new UnderstudyError(
          'LAG_EXCEEDED',
          lagMs === undefined
            ? 'how old the data here is, is not known: the primary is not connected, or has no lease'
            : `the data here is ${lagMs} ms old; ${maxLagMs} are allowed`,
          { hint: 'read from the primary, or allow more' },
        )
      }
    }
  }

  ready(options: { readonly signal?: AbortSignal } = {}): Promise<void> {
    return this.context.waiters.until(() => this.isReadable(), {
      timeoutMs: 2 ** 31 - 1,
      signal: options.signal,
      what: `${this.context.config.node} to become readable`,
    })
  }

  promote(options: PromoteOptions = {}): Promise<PromoteResult> {
    return awake(this.context.clock, () => this.shard.promote(options))
  }

  switchover(options: SwitchoverOptions = {}): Promise<SwitchoverResult> {
    return awake(this.context.clock, () => this.shard.switchover(options))
  }

  async removeFromInSync(node: string, options: WaitOptions = {}): Promise<ShardRecord> {
    const { primary } = this.context
    if (primary === undefined) throw this.notPrimary()
    return primary.removeFromInSync(node, options)
  }

  verify(options: VerifyOptions = {}): Promise<VerifyResult> {
    return awake(this.context.clock, () => this.shard.verifier.verify(options))
  }

  standing(): ShardStanding {
    return standingOf(this.context)
  }

  status(): ShardStatus {
    return this.shard.status
  }

  subscribe(listener: (event: ShardEvent) => void): () => void {
    return this.context.listen(listener)
  }

  /** The primary answers these in its own time and possibly without an entry: they always go by way of the forwarder. */
  private ofFamilies(operation: Operation, options: WriteOptions): Promise<Position> {
    const wishes = this.withTimeout(options)
    if (options.forward !== false) return this.shard.forwarder.write([operation], wishes)
    return this.onlyHere(wishes, (role, left) =>
      carryOut(role, encodeOperations([operation]), this.context.origin, this.context.nextRequest(), left),
    )
  }

  /** A write that must not be forwarded waits until this node is primary, or is known not to be. */
  private async onlyHere(
    options: WriteOptions & { readonly timeoutMs: number },
    here: (role: PrimaryRole, left: WriteOptions) => Promise<Position>,
  ): Promise<Position> {
    const { context } = this
    const startMs = context.clock.nowMs()
    await context.waiters.until(() => this.isDecided(), {
      timeoutMs: options.timeoutMs,
      signal: options.signal,
      what: `the write waits: ${context.reason}`,
      code: context.state === 'promoting' ? 'ACK_TIMEOUT' : context.data === undefined ? 'NOT_READY' : 'UNAVAILABLE',
      error: { outcome: 'none', hint: 'see `understudy status`: there may be no primary now' },
    })
    const { primary } = context
    if (primary === undefined) throw this.notPrimary()
    return here(primary, { ...options, timeoutMs: Math.max(1, options.timeoutMs - (context.clock.nowMs() - startMs)) })
  }

  /** Asked again whenever the role changes. */
  private isDecided(): boolean {
    const { context } = this
    if (context.failure !== undefined) throw context.failure
    if (context.primary !== undefined) return context.primary.isReady
    switch (context.state) {
      case 'fenced':
        throw new UnderstudyError('FENCED', `${context.config.node} is fenced: ${context.reason}`)
      case 'stopped':
        if (!context.stopping) return false
        throw new UnderstudyError('CLOSED', `${context.config.node} is closed`)
      case 'promoting':
      case 'demoting':
        return false
      default:
        return context.data !== undefined && context.record !== undefined
    }
  }

  private isReadable(): boolean {
    const { context } = this
    if (context.failure !== undefined) throw context.failure
    if (context.data === undefined) return false
    if (context.primary !== undefined) return context.primary.isReady
    return ['catching-up', 'streaming', 'reconnecting', 'primary'].includes(context.state)
  }

  /** Sequences of different epochs are not compared: a position that this history does not have is `DIVERGED` (L6). */
  private holdsPosition(position: { readonly epoch: Epoch; readonly sequence: number }): boolean {
    const { data } = this.context
    if (data === undefined || data.applier.applied.sequence < position.sequence) return false
    const { epochs } = data.journal
    const index = epochs.findLastIndex((start) => start.firstSequence <= position.sequence)
    const start = epochs[index]
    if (
      start !== undefined &&
      (start.epoch.number !== position.epoch.number || start.epoch.node !== position.epoch.node)
    ) {
      throw new UnderstudyError(
        'DIVERGED',
        `position ${formatPosition(position)} is not in this history: sequence ${position.sequence} belongs to epoch ${formatEpoch(start.epoch)}`,
      )
    }
    return true
  }

  private get data(): ShardData {
    const { data } = this.context
    if (data === undefined) throw new UnderstudyError('NOT_READY', `${this.context.config.node} has no data now`)
    return data
  }

  private withTimeout(options: WriteOptions): WriteOptions & { readonly timeoutMs: number } {
    return options.timeoutMs === undefined
      ? { ...options, timeoutMs: this.context.config.writeTimeoutMs }
      : (options as WriteOptions & { readonly timeoutMs: number })
  }

  private notPrimary(): UnderstudyError {
    const record = this.context.newestRecord
    const address = record === undefined ? undefined : this.context.addressOf(record.primary.node)
    return new UnderstudyError(
      'NOT_PRIMARY',
      `${this.context.config.node} is not the primary${record === undefined ? '' : `; ${record.primary.node} is`}`,
      {
        ...(address === undefined ? {} : { primary: address }),
        hint: 'send the write to the primary, or allow forwarding',
      },
    )
  }
}

function familyNamed(reader: Pick<EngineReader, 'families'>, name: string): Family {
  const family = reader.families.find((one) => one.name === name)
  if (family === undefined) throw new UnderstudyError('UNKNOWN_FAMILY', `there is no column family ${name}`)
  return family
}
