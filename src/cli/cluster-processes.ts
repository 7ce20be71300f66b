/** A cluster of real processes on this machine, for the demo and for tests of faults. */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { UnderstudyError } from '../errors.js'
import type { NodeStatus, ShardStatus } from '../runtime/handle.js'
import { findFreePorts } from './free-ports.js'
import { HttpClient, NoAnswer } from './http-client.js'
import { NodeProcess } from './node-process.js'

export interface ClusterProcessesOptions {
  readonly names: readonly string[]
  /**
   * `static` (the default): promotion by hand. `builtin`: the nodes of `witnesses` vote and keep the record. Anything
   * else is the URL of a coordinator that runs already.
   */
  readonly coordinator?: string
  /** Nodes without data that vote for `builtin`. */
  readonly witnesses?: readonly string[]
  /** `static`: who begins when all directories are empty. Default: the first. */
  readonly primary?: string
  readonly durability: 'local' | 'standby'
  readonly inSyncMin: number
  /** More arguments of `understudy serve`, for all nodes. */
  readonly args?: readonly string[]
  /** Of single nodes: another directory for the data. */
  readonly dataOf?: Readonly<Record<string, string>>
  /** Where each of them runs; default: all on the loopback interface. */
  readonly places?: ReadonlyMap<string, NodePlace>
  readonly keep?: boolean
}

/** Where a process runs that is not simply started on this machine's loopback interface. */
export interface NodePlace {
  readonly host: string
  /** Command that starts the rest of its line elsewhere, for example in another network namespace. */
  readonly launcher: readonly string[]
}

/** What `POST /v1/switchover` answers. */
export interface SwitchoverAnswer {
  readonly epoch: string
  readonly primary: string
  readonly pauseMs: number
}

/** What `POST /v1/promote` answers. */
export interface PromoteAnswer {
  readonly epoch: string
  readonly position: string
}

export const clusterName = 'local'
const statusTimeoutMs = 2_000
const lookAgainMs = 20

export class ClusterProcesses {
  readonly names: readonly string[]
  /** Holds the data and the logs of all nodes. */
  readonly directory: string
  readonly client = new HttpClient({ connectionsMax: 32, timeoutMs: 30_000 })
  private readonly options: ClusterProcessesOptions
  private readonly ports: ReadonlyMap<string, number>
  private readonly processes = new Map<string, NodeProcess>()
  private keep: boolean
  private readonly onSignal = (signal: NodeJS.Signals) => {
    this.remove()
    process.exit(signal === 'SIGINT' ? 130 : 143)
  }

  private constructor(options: ClusterProcessesOptions, ports: readonly number[]) {
    this.options = options
    this.names = options.names
    this.keep = options.keep === true
    this.ports = new Map(processesOf(options).map((name, index) => [name, ports[index]!]))
    this.directory = mkdtempSync(join(tmpdir(), 'understudy-local-'))
    process.on('SIGINT', this.onSignal)
    process.on('SIGTERM', this.onSignal)
  }

  static async create(options: ClusterProcessesOptions): Promise<ClusterProcesses> {
    return new ClusterProcesses(options, await findFreePorts(processesOf(options).length))
  }

  url(name: string): string {
    return `http://${this.address(name)}`
  }

  /** `host:port` of a node. */
  address(name: string): string {
    return `${this.options.places?.get(name)?.host ?? '127.0.0.1'}:${this.port(name)}`
  }

  /** What all nodes are configured with. */
  get coordinator(): string {
    const { names, primary, coordinator = 'static', witnesses = [] } = this.options
    const members = (of: readonly string[]) => of.map((name) => `${name}=${this.address(name)}`).join(',')
    if (coordinator === 'static') return `static://${members(names)}?primary=${primary ?? names[0]}`
    if (coordinator === 'builtin') return `builtin://${members(witnesses)}`
    return coordinator
  }

  data(name: string): string {
    return this.options.dataOf?.[name] ?? join(this.directory, name)
  }

  /** Arguments with which a node is started; `more` come last and win. */
  args(name: string, more: readonly string[] = []): readonly string[] {
    const { durability, inSyncMin, args, places, witnesses = [] } = this.options
    const place = [
      'serve',
      ...['--data', this.data(name)],
      ...['--cluster', clusterName],
      ...['--node', name],
      ...['--listen', this.address(name)],
      ...['--coordinator', this.coordinator],
      ...(places?.has(name) === true ? ['--insecure'] : []),
    ]
    if (witnesses.includes(name)) return [...place, '--witness', ...more]
    return [
      ...place,
      ...['--durability', durability],
      ...['--in-sync-min', String(inSyncMin)],
      ...(args ?? []),
      ...more,
    ]
  }

  start(name: string, more: readonly string[] = []): NodeProcess {
    if (this.processes.get(name)?.isRunning === true) {
      throw new UnderstudyError('LOCKED', `node ${name} is running already`)
    }
    mkdirSync(this.data(name), { recursive: true })
    const logFile = join(this.directory, `${name}.log`)
    const launcher = this.options.places?.get(name)?.launcher ?? []
    const child = new NodeProcess({ name, args: this.args(name, more), logFile, launcher })
    this.processes.set(name, child)
    return child
  }

  process(name: string): NodeProcess {
    const child = this.processes.get(name)
    if (child === undefined) throw new UnderstudyError('UNKNOWN_NODE', `node ${name} was not started`)
    return child
  }

  kill(name: string): Promise<void> {
    return this.process(name).kill()
  }

  stop(name: string): Promise<void> {
    return this.process(name).stop()
  }

  /** Throws the data of a stopped node away, as a lost disk does. */
  eraseData(name: string): void {
    if (this.process(name).isRunning) throw new UnderstudyError('LOCKED', `node ${name} is running`)
    rmSync(this.data(name), { recursive: true, force: true })
  }

  status(name: string): Promise<NodeStatus> {
    return this.client.json(this.url(name), { method: 'GET', path: '/v1/status', timeoutMs: statusTimeoutMs })
  }

  async shard(name: string): Promise<ShardStatus> {
    const status = await this.status(name)
    return status.shards[0]!
  }

  promote(name: string, force = false): Promise<PromoteAnswer> {
    const body = JSON.stringify({ force })
    return this.client.json(this.url(name), { method: 'POST', path: '/v1/promote', body })
  }

  switchover(via: string, to: string, timeoutMs = 10_000): Promise<SwitchoverAnswer> {
    const body = JSON.stringify({ to, timeoutMs })
    return this.client.json(this.url(via), { method: 'POST', path: '/v1/switchover', body, timeoutMs: 2 * timeoutMs })
  }

  removeFromInSync(primary: string, node: string): Promise<unknown> {
    const body = JSON.stringify({ remove: node })
    return this.client.json(this.url(primary), { method: 'POST', path: '/v1/in-sync', body })
  }

  /** Waits until a node's status is as wanted; fails with what it saw last and the end of the node's log. */
  async until(
    name: string,
    what: string,
    holds: (shard: ShardStatus) => boolean,
    timeoutMs = 30_000,
  ): Promise<ShardStatus> {
    const child = this.process(name)
    const endMs = performance.now() + timeoutMs
    let last = 'no answer'
    for (;;) {
      if (!child.isRunning) {
        throw new UnderstudyError('UNAVAILABLE', `node ${name} ended (${child.endedBy}) before: ${what}`, {
          hint: child.logTail(),
        })
      }
      try {
        const shard = await this.shard(name)
        if (holds(shard)) return shard
        last = describe(shard)
      } catch (error) {
        if (!(error instanceof NoAnswer)) throw error
        last = error.message
      }
      if (performance.now() > endMs) {
        throw new UnderstudyError('TIMEOUT', `node ${name}, not within ${timeoutMs} ms: ${what}; last seen: ${last}`, {
          hint: child.logTail(),
        })
      }
      await new Promise((resolve) => setTimeout(resolve, lookAgainMs))
    }
  }

  /** Waits until `primary` is primary and the in-sync set is exactly these nodes. */
  untilInSync(primary: string, names: readonly string[], timeoutMs?: number): Promise<ShardStatus> {
    return this.until(
      primary,
      `primary with ${names.join(', ')} in sync`,
      (shard) =>
        shard.state === 'primary' &&
        shard.inSync.length === names.length &&
        names.every((name) => shard.inSync.includes(name)),
      timeoutMs,
    )
  }

  /** The nodes that answer now, and what they say. */
  async shards(): Promise<ReadonlyMap<string, ShardStatus>> {
    const found = new Map<string, ShardStatus>()
    await Promise.all(
      this.names.map(async (name) => {
        if (this.processes.get(name)?.isRunning !== true) return
        try {
          found.set(name, await this.shard(name))
        } catch (error) {
          if (!(error instanceof NoAnswer)) throw error
        }
      }),
    )
    return found
  }

  /**
   * Waits until one of these nodes, whoever it is, is primary with all of them in its in-sync set and the others follow
   * it, and returns its name. Nobody helps.
   */
  async untilSettled(names: readonly string[] = this.names, timeoutMs = 30_000): Promise<string> {
    const endMs = performance.now() + timeoutMs
    for (;;) {
      const shards = await this.shards()
      const primary = settledPrimary(names, shards)
      if (primary !== undefined) return primary
      if (performance.now() > endMs) {
        const seen = names.map((name) => {
          const shard = shards.get(name)
          return `${name}: ${shard === undefined ? 'no answer' : describe(shard)}`
        })
        throw new UnderstudyError(
          'TIMEOUT',
          `not within ${timeoutMs} ms: a primary with ${names.join(', ')} in sync; last seen:\n${seen.join('\n')}`,
        )
      }
      await new Promise((resolve) => setTimeout(resolve, lookAgainMs))
    }
  }

  /** Waits until all of these have applied what the first has appended, and returns that sequence. */
  async untilEqual(names: readonly string[], timeoutMs?: number): Promise<number> {
    const [first] = names
    const { appended } = (await this.shard(first!)).sequence
    for (const name of names) {
      await this.until(
        name,
        `entry ${appended} applied`,
        (shard) => shard.sequence.applied >= appended && shard.position !== undefined,
        timeoutMs,
      )
    }
    return appended
  }

  /** Data and logs stay where they are after `close`. */
  keepFiles(): void {
    this.keep = true
  }

  /** Ends all nodes and removes their directories; idempotent. */
  async close(): Promise<void> {
    this.client.close()
    process.off('SIGINT', this.onSignal)
    process.off('SIGTERM', this.onSignal)
    for (const child of this.processes.values()) {
      // A stopped process would not see its end coming.
      if (child.isRunning) child.signal('SIGCONT')
    }
    await Promise.all([...this.processes.values()].map((child) => child.kill()))
    this.remove()
  }

  private remove(): void {
    for (const child of this.processes.values()) {
      if (child.isRunning) child.signal('SIGKILL')
    }
    if (!this.keep) rmSync(this.directory, { recursive: true, force: true, maxRetries: 5 })
  }

  private port(name: string): number {
    const port = this.ports.get(name)
    if (port === undefined) throw new UnderstudyError('UNKNOWN_NODE', `there is no node ${name}`)
    return port
  }
}

function processesOf({ names, witnesses = [] }: ClusterProcessesOptions): readonly string[] {
  return [...names, ...witnesses]
}

function settledPrimary(names: readonly string[], shards: ReadonlyMap<string, ShardStatus>): string | undefined {
  const primaries = names.filter((name) => shards.get(name)?.state === 'primary')
  const [primary] = primaries
  if (primary === undefined || primaries.length > 1) return undefined
  const { inSync, epoch } = shards.get(primary)!
  if (inSync.length !== names.length || epoch === undefined) return undefined
  const follow = names.every((name) => {
    const shard = shards.get(name)
    if (shard === undefined || !inSync.includes(name)) return false
    return name === primary || (shard.state === 'streaming' && shard.epoch?.number === epoch.number)
  })
  return follow ? primary : undefined
}

function describe(shard: ShardStatus): string {
  const { state, reason, epoch, inSync, sequence, warnings } = shard
  return JSON.stringify({ state, reason, epoch, inSync, sequence, warnings })
}
