import type { AbstractDatabaseOptions } from 'abstract-level'
import { defaultFamily, type Family } from '../core/entry.js'
import { type Role, roleOf } from '../core/lifecycle.js'
import { limits } from '../core/limits.js'
import type { Position } from '../core/position.js'
import { UnderstudyError } from '../errors.js'
import type {
  NodeHandle,
  NodeStatus,
  PromoteOptions,
  PromoteResult,
  ShardEvent,
  SwitchoverResult,
  WaitOptions,
  WriteOptions,
} from '../runtime/handle.js'
import type { VerifyOptions, VerifyResult } from '../runtime/verify-report.js'
import { FamilyLevel } from './family-level.js'
import { openingSignal } from './opening-signal.js'
import { type DatabaseOptions, type NodeStarter, type OpenOptions, type PositionLike, positionOf } from './options.js'
import { ShardLevel, supports } from './shard-level.js'

const ownEvents = { role: true, bootstrap: true, lag: true, diverged: true, failover: true, 'in-sync': true }

/** `role`: this node became something else for the shard. */
export interface RoleEvent {
  readonly role: Role
  readonly from: Role
  readonly reason: string
}

/** `in-sync`: the in-sync set of the shard changed. */
export interface InSyncEvent {
  readonly added: readonly string[]
  readonly removed: readonly string[]
  readonly inSync: readonly string[]
  readonly reason: string
}

/**
 * The database that users open: the default family of a shard of this node, and the way to everything else of it.
 * Events beside those of abstract-level: `role`, `failover` (another node became primary, or this one), `in-sync` (the
 * set changed), `bootstrap`, `lag`, `diverged`, and `error` for what fails in the background (only if somebody listens;
 * `nodeStatus()` and every further call tell it as well).
 */
export class UnderstudyLevel<K = string, V = string> extends ShardLevel<K, V> {
  readonly location: string
  readonly #start: NodeStarter
  #node: NodeHandle | undefined
  #unsubscribe: (() => void) | undefined
  /** Ends an `open()` that is under way. */
  #opening: AbortController | undefined
  #impatience: NodeJS.Timeout | undefined

  constructor(location: string, options: DatabaseOptions<K, V> | undefined, start: NodeStarter) {
    if (typeof location !== 'string' || location === '') {
      throw new UnderstudyError('CONFIG', 'the location of a database is a path, and not empty')
    }
    super({ ...supports, createIfMissing: true, errorIfExists: true, events: ownEvents }, options ?? {})
    this.location = location
    this.#start = start
  }

  get root(): this {
    return this
  }

  get writesAreForwarded(): boolean {
    return this.forwardWrites
  }

  /** What this node is for the shard; undefined while the database is not open. */
  get role(): Role | undefined {
    return this.#node === undefined ? undefined : this.shard.role
  }

  /** Up to where reads here see the history; undefined while the database is not open. */
  get position(): Position | undefined {
    return this.#node === undefined ? undefined : this.shard.applied
  }

  /**
   * The whole picture: every shard of this node, and the other members as far as this node knows. (`status` is
   * abstract-level's word for whether the database is open.)
   */
  nodeStatus(): NodeStatus {
    if (this.#node === undefined) throw new UnderstudyError('CLOSED', 'the database is not open')
    return this.#node.status()
  }

  /** Resolves when reads here see everything up to the position. */
  async waitFor(position: PositionLike, options: WaitOptions = {}): Promise<void> {
    await this.#whenOpen(() => this.shard.fresh({ ...options, minPosition: positionOf(position) }))
  }

  /** Makes this node the primary. It fails closed; see `force`. */
  promote(options?: PromoteOptions): Promise<PromoteResult> {
    return this.#whenOpen(() => this.shard.promote(options))
  }

  /**
   * Hands the primary over to `node` (absent: to the standby of the in-sync set that is furthest) without losing or
   * failing a write. May be called on any node. Rejects with `SWITCHOVER_REFUSED` when nothing has changed.
   */
  switchover(node?: string, options: WaitOptions = {}): Promise<SwitchoverResult> {
    return this.#whenOpen(() => this.shard.switchover(node === undefined ? options : { ...options, to: node }))
  }

  /**
   * Compares the content of this node with that of all others, at one position, while they serve; throttled. Resolves
   * whatever it finds: `verdict` says it, `differences` name it down to the key. Rejects with `VERIFY_REFUSED` when
   * there is nothing to compare with, and with `ABORTED` when its signal is.
   */
  verify(options?: VerifyOptions): Promise<VerifyResult> {
    return this.#whenOpen(() => this.shard.verify(options))
  }

  /** Families of the shard as of now, the default family first. */
  families(): readonly Family[] {
    return this.shard.reader().families
  }

  createFamily(name: string, options?: WriteOptions): Promise<Family> {
    return this.#whenOpen(async () => {
      assertFamilyName(name)
      return this.shard.createFamily(name, options)
    })
  }

  /** Drops the family with everything in it. */
  dropFamily(name: string, options?: WriteOptions): Promise<void> {
    return this.#whenOpen(async () => {
      if (name === defaultFamily.name) throw new UnderstudyError('BAD_REQUEST', 'the default family cannot be dropped')
      return this.shard.dropFamily(name, options)
    })
  }

  /** The family as a database with encodings of its own; it must exist when it opens, that is, at its first use. */
  family<FK = string, FV = string>(name: string, options: AbstractDatabaseOptions<FK, FV> = {}): FamilyLevel<FK, FV> {
    return new FamilyLevel<FK, FV>(this, name, options)
  }

  override close(): Promise<void> {
    const opening = this.#opening
    if (opening !== undefined) {
      // abstract-level closes after opening has ended. One that is nearly done may finish; one that waits for others,
      // for a primary for example, would hold up the close for ever.
      this.#impatience ??= setTimeout(() => {
        opening.abort(new UnderstudyError('CLOSED', 'the database was closed while it opened'))
      }, limits.closeDuringOpenMs)
    }
    return super.close()
  }

  async _open(options: OpenOptions): Promise<void> {
    const opening = new AbortController()
    this.#opening = opening
    const { signal, ended } = openingSignal(opening.signal, options)
    try {
      const node = await this.#start(this.location, options, signal)
      try {
        const shard = node.shard(options.shard)
        this.#unsubscribe = shard.subscribe((event) => this.#tell(event))
        await shard.ready({ signal })
        signal.throwIfAborted()
        this.attach(shard, defaultFamily.id, options.forwardWrites !== false)
        this.#node = node
      } catch (error) {
        await this.#stop(node)
        throw error
      }
    } catch (error) {
      throw signal.aborted && signal.reason instanceof UnderstudyError ? signal.reason : error
    } finally {
      this.#opening = undefined
      clearTimeout(this.#impatience)
      this.#impatience = undefined
      ended()
    }
  }

  async _close(): Promise<void> {
    const node = this.#node
    this.detach()
    this.#node = undefined
    if (node !== undefined) await this.#stop(node)
  }

  async #stop(node: NodeHandle): Promise<void> {
    this.#unsubscribe?.()
    this.#unsubscribe = undefined
    await node.close()
  }

  /** A database that is not open rejects; it never throws before there is a promise. */
  async #whenOpen<T>(work: () => Promise<T>): Promise<T> {
    return this.status === 'opening' ? this.deferAsync(work) : work()
  }

  #tell(event: ShardEvent): void {
    // Not within the runtime's call: what a listener throws is the program's, not the runtime's.
    queueMicrotask(() => this.#emitEvent(event))
  }

  #emitEvent(event: ShardEvent): void {
    switch (event.type) {
      case 'transition': {
        const [role, from] = [roleOf[event.to], roleOf[event.from]]
        if (role !== from) this.emit('role', { role, from, reason: event.reason } satisfies RoleEvent)
        break
      }
      case 'bootstrap':
        this.emit('bootstrap', event.progress)
        break
      case 'lag':
        this.emit('lag', event.lag)
        break
      case 'diverged':
        this.emit('diverged', { cutEntries: event.cutEntries, at: event.at, file: event.file })
        break
      case 'failover':
        this.emit('failover', event.failover)
        break
      case 'in-sync': {
        const { added, removed, inSync, reason } = event
        this.emit('in-sync', { added, removed, inSync, reason } satisfies InSyncEvent)
        break
      }
      case 'failure':
        if (this.listenerCount('error') > 0) this.emit('error', event.error)
        break
      case 'record':
        break
    }
  }
}

function assertFamilyName(name: string): void {
  const bytes = Buffer.byteLength(name)
  if (bytes >= 1 && bytes <= limits.familyNameBytesMax) return
  throw new UnderstudyError(
    'LIMIT_EXCEEDED',
    `a family name of ${bytes} bytes; 1 to ${limits.familyNameBytesMax} are possible`,
  )
}
