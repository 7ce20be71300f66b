/** The coordinators of the matrix as processes that can be killed and started again. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { closeSync, mkdirSync, openSync } from 'node:fs'
import { join } from 'node:path'
import type { ClusterProcesses, NodePlace } from '#src/cli/cluster-processes.js'
import { findFreePorts } from '#src/cli/free-ports.js'
import { pass } from './times.js'

export type CoordinatorKind = 'builtin' | 'etcd' | 'static'

/** Processes that keep the record, by their names in the network. */
export interface CoordinatorProcesses {
  readonly names: readonly string[]
  kill(name: string): Promise<void>
  start(name: string): Promise<void>
  close(): Promise<void>
}

export const witness = 'w'
const etcdNames = ['e1', 'e2', 'e3'] as const

export function coordinatorNames(kind: CoordinatorKind): readonly string[] {
  return kind === 'builtin' ? [witness] : kind === 'etcd' ? etcdNames : []
}

/** The witness is one of the processes of the cluster. */
export function witnessOf(cluster: ClusterProcesses): CoordinatorProcesses {
  return {
    names: [witness],
    kill: (name) => cluster.kill(name),
    start: async (name) => {
      cluster.start(name)
    },
    // Ended with the cluster.
    close: async () => undefined,
  }
}

/** Without a coordinator there is nothing to kill. */
export const noCoordinator: CoordinatorProcesses = {
  names: [],
  kill: async () => undefined,
  start: async () => undefined,
  close: async () => undefined,
}

/** Three members of a real etcd. */
export class EtcdProcesses implements CoordinatorProcesses {
  readonly names: readonly string[] = etcdNames
  private readonly directory: string
  private readonly places: ReadonlyMap<string, NodePlace> | undefined
  private readonly ports: ReadonlyMap<string, { readonly client: number; readonly peer: number }>
  private readonly children = new Map<string, { readonly child: ChildProcess; readonly ended: Promise<void> }>()
  private readonly onExit = () => {
    for (const { child } of this.children.values()) child.kill('SIGKILL')
  }

  private constructor(directory: string, places: ReadonlyMap<string, NodePlace> | undefined, ports: readonly number[]) {
    this.directory = directory
    this.places = places
    this.ports = new Map(
      etcdNames.map((name, index) => [name, { client: ports[2 * index]!, peer: ports[2 * index + 1]! }]),
    )
    process.on('exit', this.onExit)
  }

  static isInstalled(): boolean {
    return spawnSync('etcd', ['--version']).status === 0
  }

  static async create(directory: string, places: ReadonlyMap<string, NodePlace> | undefined): Promise<EtcdProcesses> {
    const etcd = new EtcdProcesses(directory, places, await findFreePorts(2 * etcdNames.length))
    await Promise.all(etcdNames.map((name) => etcd.start(name)))
    await etcd.untilHealthy()
    return etcd
  }

  get url(): string {
    return `etcd://${etcdNames.map((name) => `${this.host(name)}:${this.ports.get(name)!.client}`).join(',')}`
  }

  async start(name: string): Promise<void> {
    mkdirSync(this.directory, { recursive: true })
    const log = openSync(join(this.directory, `${name}.log`), 'a')
    const client = `http://${this.host(name)}:${this.ports.get(name)!.client}`
    const [command = '', ...line] = [
      ...(this.places?.get(name)?.launcher ?? []),
      'etcd',
      ...['--name', name],
      ...['--data-dir', join(this.directory, name)],
      ...['--listen-client-urls', client],
      ...['--advertise-client-urls', client],
      ...['--listen-peer-urls', this.peer(name)],
      ...['--initial-advertise-peer-urls', this.peer(name)],
      ...['--initial-cluster', etcdNames.map((one) => `${one}=${this.peer(one)}`).join(',')],
      ...['--heartbeat-interval', '50', '--election-timeout', '500'],
      ...['--logger', 'zap', '--log-level', 'warn'],
    ]
    try {
      const child = spawn(command, line, { stdio: ['ignore', log, log] })
      const ended = new Promise<void>((resolve) => {
        child.once('exit', () => resolve())
        child.once('error', () => resolve())
      })
      this.children.set(name, { child, ended })
    } finally {
      closeSync(log)
    }
  }

  async kill(name: string): Promise<void> {
    const known = this.children.get(name)
    known?.child.kill('SIGKILL')
    await known?.ended
  }

  async close(): Promise<void> {
    process.off('exit', this.onExit)
    await Promise.all(etcdNames.map((name) => this.kill(name)))
  }

  private async untilHealthy(): Promise<void> {
    const endMs = performance.now() + 20_000
    for (;;) {
      const healthy = await Promise.all(etcdNames.map((name) => this.isHealthy(name)))
      if (healthy.every((one) => one)) return
      if (performance.now() > endMs) throw new Error(`etcd is not healthy; its logs are in ${this.directory}`)
      await pass(50)
    }
  }

  private async isHealthy(name: string): Promise<boolean> {
    try {
      const answer = await fetch(`http://${this.host(name)}:${this.ports.get(name)!.client}/health`, {
        signal: AbortSignal.timeout(1_000),
      })
      return answer.ok && ((await answer.json()) as { readonly health?: string }).health === 'true'
    } catch {
      // Not there yet.
      return false
    }
  }

  private host(name: string): string {
    return this.places?.get(name)?.host ?? '127.0.0.1'
  }

  private peer(name: string): string {
    return `http://${this.host(name)}:${this.ports.get(name)!.peer}`
  }
}
