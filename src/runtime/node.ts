import { roleOf } from '../core/lifecycle.js'
import { limits } from '../core/limits.js'
import { toUnderstudyError, UnderstudyError } from '../errors.js'
import type { DirectoryLock, FileSystem } from '../ports/file-system.js'
import type { Connection, Transport } from '../ports/transport.js'
import { awake } from './awake.js'
import { makeDurableDirectory } from './durable-directory.js'
import { readDurableJson, writeDurableJson } from './durable-json.js'
import type { MetricsSnapshot, NodeHandle, NodeStatus, ShardHandle } from './handle.js'
import { Link } from './link.js'
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
  /** Settings of the shards; today every node hosts the shard `main`. */
  readonly shards: ReadonlyArray<Omit<ShardConfig, 'cluster' | 'node' | 'boot'>>
  readonly cluster: string
  readonly node: string
  readonly createIfMissing: boolean
  readonly errorIfExists: boolean
}

interface NodeFile {
  readonly formatVersion: number
  readonly cluster: string
  readonly node: string
  readonly engine: string
}

const nodeFileName = 'understudy.json'
const formatVersion = 1

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

  /** Takes the directory for this process, checks that it is this node's, and starts the shards. */
  static async start(parts: NodeParts): Promise<Node> {
    return awake(parts.clock, () => Node.startAwake(new Node(parts), parts))
  }

  private static async startAwake(node: Node, parts: NodeParts): Promise<Node> {
    try {
      await node.takeDirectory()
      for (const config of parts.shards) {
        const shard = new Shard({
          ...parts,
          config: { ...config, cluster: parts.cluster, node: parts.node, boot: node.boot },
          store: new ShardStore(parts.files, parts.directory, config.name),
        })
        node.shards.set(config.name, { shard, handle: new ShardAccess(shard) })
      }
      parts.transport.accept((connection) => node.accept(connection))
      for (const { shard } of node.shards.values()) await shard.start()
      return node
    } catch (error) {
      await node.close()
      throw toUnderstudyError(error, `starting in ${parts.directory}`)
    }
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
      advertise: main?.shard.context.config.advertise || undefined,
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
    }
  }

  metrics(): MetricsSnapshot {
    return { shards: [...this.shards.values()].map(({ shard }) => shard.metrics) }
  }

  close(): Promise<void> {
    this.closing ??= awake(this.parts.clock, () => this.doClose())
    return this.closing
  }

  private async doClose(): Promise<void> {
    try {
      for (const { shard } of this.shards.values()) await shard.close()
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
    const hello = await link.expect('hello', limits.handshakeTimeoutMs)
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

  private async takeDirectory(): Promise<void> {
    const { files, directory, cluster, node, engines } = this.parts
    const stat = await files.stat(directory)
    if (stat !== undefined && stat.kind !== 'directory') {
      throw new UnderstudyError('FOREIGN_DIRECTORY', `${directory} is not a directory`)
    }
    const names = stat === undefined ? [] : await files.list(directory)
    const found = names.includes(nodeFileName)
      ? ((await readDurableJson(files, directory, nodeFileName)) as NodeFile | undefined)
      : undefined
    const exists = found !== undefined && names.includes('shards')
    if (found === undefined && names.some((name) => name !== 'lock' && name !== `${nodeFileName}.tmp`)) {
      throw new UnderstudyError(
        'FOREIGN_DIRECTORY',
        `${directory} holds something else (${names.slice(0, 5).join(', ')})`,
        {
          hint: 'choose an empty directory or one that this node made',
        },
      )
    }
    if (!exists && !this.parts.createIfMissing) {
      throw new UnderstudyError('CONFIG', `${directory} does not exist and createIfMissing is false`)
    }
    if (exists && this.parts.errorIfExists) {
      throw new UnderstudyError('CONFIG', `${directory} exists and errorIfExists is true`)
    }
    await makeDurableDirectory(files, directory)
    this.lock = await files.lock(directory)
    if (this.lock === undefined) {
      throw new UnderstudyError('LOCKED', `${directory} is in use by another process`, {
        hint: 'one process opens a directory; connect to it over HTTP, or end it first',
      })
    }
    if (found === undefined) {
      await writeDurableJson(files, directory, nodeFileName, {
        formatVersion,
        cluster,
        node,
        engine: engines.kind,
      } satisfies NodeFile)
      return
    }
    const refuse = (
      what: string,
      has: string,
      wants: string,
      code: 'FOREIGN_DIRECTORY' | 'ENGINE_MISMATCH' | 'FORMAT_VERSION',
    ) => {
      throw new UnderstudyError(code, `${directory} was made for ${what} ${has}; configured is ${wants}`, {
        hint: 'correct the configuration or choose another directory',
      })
    }
    if (found.formatVersion !== formatVersion)
      refuse('format version', String(found.formatVersion), String(formatVersion), 'FORMAT_VERSION')
    if (found.cluster !== cluster) refuse('cluster', found.cluster, cluster, 'FOREIGN_DIRECTORY')
    if (found.node !== node) refuse('node', found.node, node, 'FOREIGN_DIRECTORY')
    if (found.engine !== engines.kind) refuse('engine', found.engine, engines.kind, 'ENGINE_MISMATCH')
  }
}
