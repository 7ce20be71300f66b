import { decodeMessage } from '../codec/messages.js'
import { roleOf } from '../core/lifecycle.js'
import { limits } from '../core/limits.js'
import { toUnderstudyError, UnderstudyError } from '../errors.js'
import { Link } from '../link/link.js'
import type { VoterService } from '../link/voter-service.js'
import type { DirectoryLock, FileSystem } from '../ports/file-system.js'
import type { Connection, Transport } from '../ports/transport.js'
import { awake } from './awake.js'
import type { MetricsSnapshot, NodeHandle, NodeStatus, ShardHandle } from './handle.js'
import { takeDirectory } from './node-directory.js'
import { Shard } from './shard.js'
import type { ShardConfig, ShardParts } from './shard-context.js'
import { ShardAccess } from './shard-handle.js'
import { ShardStore } from './shard-store.js'

export interface NodeParts extends Omit<ShardParts, 'config' | 'store' | 'transport'> {
  readonly files: FileSystem
  /** Data directory of the node. */
  readonly directory: string
  readonly version: string
  readonly transport: Transport
  /** Where this node hosts the voter of the builtin coordinator. */
  readonly voter?: VoterService
  /** Settings of the shards; today every node hosts the shard `main`. */
  readonly shards: ReadonlyArray<Omit<ShardConfig, 'cluster' | 'node' | 'boot'>>
  readonly cluster: string
  readonly node: string
  readonly createIfMissing: boolean
  readonly errorIfExists: boolean
}

/** One running node: its directory, its shards, and the connections that others open. */
export class Node implements NodeHandle {
  readonly name: string
  readonly cluster: string
  private readonly parts: NodeParts
  private readonly boot: string
  private readonly startedAt: string
  private readonly shards = new Map<string, { readonly shard: Shard; readonly handle: ShardAccess }>()
  private readonly links = new Set<Link>()
  private lock: DirectoryLock | undefined
  private closing: Promise<void> | undefined

  private constructor(parts: NodeParts) {
    this.parts = parts
    this.name = parts.node
    this.cluster = parts.cluster
    this.boot = parts.random.hex(8)
    this.startedAt = new Date(parts.clock.wallMs()).toISOString()
  }

  /** A node that does nothing yet: its handle answers, its port may be bound, then `start` begins. */
  static create(parts: NodeParts): Node {
    const node = new Node(parts)
    for (const config of parts.shards) {
      const shard = new Shard({
        ...parts,
        config: { ...config, cluster: parts.cluster, node: parts.node, boot: node.boot },
        store: new ShardStore(parts.files, parts.directory, config.name),
      })
      node.shards.set(config.name, { shard, handle: new ShardAccess(shard) })
    }
    return node
  }

  /** Takes the directory for this process, checks that it is this node's, and starts the shards. */
  start(): Promise<void> {
    return awake(this.parts.clock, async () => {
      try {
        this.lock = await takeDirectory({
          ...this.parts,
          engine: this.parts.engines.kind,
          replaceDamaged: false,
        })
        await this.parts.voter?.start()
        this.parts.transport.accept((connection) => this.accept(connection))
        const { coordinator } = this.parts
        if (coordinator.kind === 'automatic') {
          coordinator.register({ node: this.name, address: this.advertise, boot: this.boot })
          coordinator.start()
        }
        for (const { shard } of this.shards.values()) await shard.start()
      } catch (error) {
        await this.close()
        throw toUnderstudyError(error, `starting in ${this.parts.directory}`)
      }
    })
  }

  shard(name = 'main'): ShardHandle {
    const found = this.shards.get(name)
    if (found === undefined) {
      throw new UnderstudyError(
        'UNKNOWN_SHARD',
        `this node hosts no shard ${name} (it hosts ${[...this.shards.keys()].join(', ')})`,
      )
    }
    return found.handle
  }

  /** Where others reach this node; the same for all shards. */
  private get advertise(): string {
    return this.parts.shards[0]?.advertise() ?? ''
  }

  status(): NodeStatus {
    const { parts } = this
    const main = [...this.shards.values()][0]
    const record = main?.shard.context.record
    return {
      version: parts.version,
      cluster: parts.cluster,
      node: parts.node,
      incarnation: main?.shard.context.self?.incarnation ?? '',
      boot: this.boot,
      engine: parts.engines.kind,
      advertise: main?.shard.context.config.advertise() || undefined,
      coordinator: parts.coordinator.description,
      startedAt: this.startedAt,
      members:
        main?.shard.context.peers.views.map((view) => ({
          node: view.node,
          address: view.address,
          reachable: view.reachable,
          role: view.state === undefined ? undefined : roleOf[view.state.state],
          state: view.state?.state,
          epoch: view.state?.record?.epoch,
          durable: view.state?.durable?.sequence,
          applied: view.state?.applied,
          inSync: record?.inSync.some((member) => member.node === view.node) ?? false,
          lastSeenMs: view.seenMs === undefined ? undefined : Math.round(view.seenMs),
        })) ?? [],
      shards: [...this.shards.values()].map(({ shard }) => shard.status),
      ...(parts.voter === undefined ? {} : { voter: parts.voter.status }),
    }
  }

  metrics(): MetricsSnapshot {
    const { voter } = this.parts
    return {
      shards: [...this.shards.values()].map(({ shard }) => shard.metrics),
      ...(voter === undefined ? {} : { voter: voter.status }),
    }
  }

  /** Hands over what this node is primary of; it goes on answering until `close`. Idempotent. */
  prepareStop(): Promise<void> {
    return awake(this.parts.clock, async () => {
      for (const { shard } of this.shards.values()) await shard.prepareStop()
    })
  }

  close(): Promise<void> {
    this.closing ??= awake(this.parts.clock, () => this.doClose())
    return this.closing
  }

  private async doClose(): Promise<void> {
    try {
      for (const { shard } of this.shards.values()) await shard.close()
      if (this.parts.coordinator.kind === 'automatic') await this.parts.coordinator.close()
      await this.parts.voter?.close()
    } finally {
      for (const link of this.links) link.close()
      await this.parts.transport.close()
      await this.lock?.release()
    }
  }

  /** The first frame says which shard is meant; an unknown one is refused, never replaced by another (F33). */
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
    const [first, payload] = await link.expectOneOf(['hello', 'coordinatorHello'], limits.handshakeTimeoutMs)
    if (first === 'coordinatorHello') {
      const { voter } = this.parts
      if (voter !== undefined) await voter.serve(link, decodeMessage(first, payload))
      else
        link.fail({ code: 'CONFIG', message: `node ${this.name} hosts no voter`, hint: 'check the option coordinator' })
      return
    }
    const hello = decodeMessage(first, payload)
    if (hello.cluster !== this.cluster) {
      link.fail({
        code: 'CLUSTER_MISMATCH',
        message: `this node (${this.name}) belongs to cluster ${this.cluster}, the other (${hello.node}) to ${hello.cluster}`,
      })
      return
    }
    const found = this.shards.get(hello.shard)
    if (found === undefined) {
      link.fail({ code: 'UNKNOWN_SHARD', message: `node ${this.name} hosts no shard ${hello.shard}` })
      return
    }
    await found.shard.accept(link, hello)
  }
}
