import { decodeMessage } from '../codec/messages.js'
import { limits } from '../core/limits.js'
import { toUnderstudyError, UnderstudyError } from '../errors.js'
import { Link } from '../link/link.js'
import type { VoterService } from '../link/voter-service.js'
import type { Clock } from '../ports/clock.js'
import type { DirectoryLock, FileSystem } from '../ports/file-system.js'
import type { Logger } from '../ports/logger.js'
import type { Random } from '../ports/random.js'
import type { Connection, Transport } from '../ports/transport.js'
import { awake } from './awake.js'
import type { MemberStatus, MetricsSnapshot, NodeHandle, NodeStatus, ShardHandle } from './handle.js'
import { takeDirectory, witnessEngine } from './node-directory.js'

export interface WitnessParts {
  readonly files: FileSystem
  readonly directory: string
  readonly version: string
  readonly cluster: string
  readonly node: string
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  readonly transport: Transport
  readonly voter: VoterService
  /** As configured, for status. */
  readonly coordinator: string
  readonly advertise: () => string
  readonly createIfMissing: boolean
  readonly errorIfExists: boolean
}

/** A node that runs the voter and nothing else: no data, no role, so that it outlives any primary. */
export class Witness implements NodeHandle {
  readonly name: string
  readonly cluster: string
  private readonly parts: WitnessParts
  private readonly boot: string
  private readonly startedAt: string
  private readonly links = new Set<Link>()
  private lock: DirectoryLock | undefined
  private closing: Promise<void> | undefined

  constructor(parts: WitnessParts) {
    this.parts = parts
    this.name = parts.node
    this.cluster = parts.cluster
    this.boot = parts.random.hex(8)
    this.startedAt = new Date(parts.clock.wallMs()).toISOString()
  }

  /** Takes the directory for this process, checks that it is this witness's, and starts the voter. */
  start(): Promise<void> {
    const { parts } = this
    return awake(parts.clock, async () => {
      try {
        this.lock = await takeDirectory({ ...parts, engine: witnessEngine, replaceDamaged: false })
        await parts.voter.start()
        parts.transport.accept((connection) => this.accept(connection))
      } catch (error) {
        await this.close()
        throw toUnderstudyError(error, `starting in ${parts.directory}`)
      }
    })
  }

  shard(name = 'main'): ShardHandle {
    throw new UnderstudyError(
      'UNKNOWN_SHARD',
      `node ${this.name} is a witness: it does not hold shard ${name}, or any data`,
      {
        hint: 'ask one of the data nodes; `understudy status` on a witness lists them',
      },
    )
  }

  status(): NodeStatus {
    const { parts } = this
    const voter = parts.voter.status
    const inSync = new Set(voter.records.flatMap((record) => record.inSync))
    const members = voter.members.map(
      ({ node, address }): MemberStatus => ({
        node,
        address,
        reachable: true,
        role: undefined,
        state: undefined,
        epoch: undefined,
        durable: undefined,
        applied: undefined,
        inSync: inSync.has(node),
        lastSeenMs: undefined,
      }),
    )
    return {
      version: parts.version,
      cluster: parts.cluster,
      node: parts.node,
      incarnation: '',
      boot: this.boot,
      engine: 'none',
      advertise: parts.advertise() || undefined,
      coordinator: parts.coordinator,
      startedAt: this.startedAt,
      members,
      shards: [],
      voter,
    }
  }

  metrics(): MetricsSnapshot {
    return { shards: [], voter: this.parts.voter.status }
  }

  close(): Promise<void> {
    this.closing ??= awake(this.parts.clock, async () => {
      try {
        await this.parts.voter.close()
      } finally {
        for (const link of this.links) link.close()
        await this.parts.transport.close()
        await this.lock?.release()
      }
    })
    return this.closing
  }

  private accept(connection: Connection): void {
    const link = new Link(connection, this.parts.clock)
    if (this.links.size >= limits.connectionsMax) {
      link.fail({ code: 'BACKPRESSURE', message: `${this.links.size} connections are open; that is the limit` })
      return
    }
    this.links.add(link)
    this.serve(link)
      .catch((error) => {
        const failure = toUnderstudyError(error, `serving ${link.remote}`)
        this.parts.logger.warn({ remote: link.remote, error: failure.message }, 'connection failed')
        link.fail(failure)
      })
      .finally(() => this.links.delete(link))
  }

  private async serve(link: Link): Promise<void> {
    const [name, payload] = await link.expectOneOf(['coordinatorHello', 'hello'], limits.handshakeTimeoutMs)
    if (name === 'coordinatorHello') {
      await this.parts.voter.serve(link, decodeMessage(name, payload))
      return
    }
    const { shard } = decodeMessage(name, payload)
    link.fail({ code: 'UNKNOWN_SHARD', message: `node ${this.name} is a witness: it does not hold shard ${shard}` })
  }
}
