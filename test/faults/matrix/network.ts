/**
 * A network between the processes of a cluster whose single links can be cut, one direction at a time, without either
 * side being told: nothing is refused or reset, it just does not arrive. Each process has a network namespace of its own
 * on a bridge; a direction is cut by giving the receiver a link address that nobody has. Whoever runs the tests stays
 * connected to all of them. Needs Linux, `ip`, and the right to make namespaces.
 */
import { execFile, execFileSync, spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { promisify } from 'node:util'
import type { NodePlace } from '#src/cli/cluster-processes.js'

const run = promisify(execFile)
const prefix = 'understudy-'
const nowhere = '02:00:00:00:00:ff'

export class Network {
  readonly places: ReadonlyMap<string, NodePlace>
  private readonly names: readonly string[]
  private readonly cuts = new Set<string>()
  private readonly onExit = () => this.remove()
  private closed = false

  private constructor(names: readonly string[]) {
    this.names = names
    this.places = new Map(
      names.map((name, index) => [
        name,
        { host: `${subnet()}.${index + 1}`, launcher: ['ip', 'netns', 'exec', namespace(name)] },
      ]),
    )
  }

  /** Undefined with the reason where this user or system cannot have one. */
  static create(names: readonly string[]): Network | { readonly unavailable: string } {
    removeLeftOvers()
    const network = new Network(names)
    process.on('exit', network.onExit)
    try {
      network.build()
      return network
    } catch (error) {
      network.close()
      return { unavailable: (error as Error).message.trim().split('\n').at(-1) ?? 'unknown' }
    }
  }

  host(name: string): string {
    return this.places.get(name)!.host
  }

  /** What `from` sends to `to` does not arrive any more. */
  async cutOneWay(from: string, to: string): Promise<void> {
    if (this.cuts.has(link(from, to))) return
    this.cuts.add(link(from, to))
    await ip(
      '-n',
      namespace(from),
      'neigh',
      'replace',
      this.host(to),
      'lladdr',
      nowhere,
      'dev',
      'eth0',
      'nud',
      'permanent',
    )
  }

  async cut(some: readonly string[], others: readonly string[]): Promise<void> {
    const pairs = some.flatMap((one) => others.flatMap((other) => (one === other ? [] : [[one, other] as const])))
    await Promise.all(pairs.flatMap(([a, b]) => [this.cutOneWay(a, b), this.cutOneWay(b, a)]))
  }

  async healAll(): Promise<void> {
    const cuts = [...this.cuts]
    this.cuts.clear()
    await Promise.all(
      cuts.map((cut) => {
        const [from = '', to = ''] = cut.split(' ')
        return ip('-n', namespace(from), 'neigh', 'del', this.host(to), 'dev', 'eth0')
      }),
    )
  }

  /** Idempotent. The processes must have ended. */
  close(): void {
    process.off('exit', this.onExit)
    this.remove()
  }

  private build(): void {
    const bridge = bridgeName()
    ipNow('link', 'add', bridge, 'type', 'bridge')
    ipNow('addr', 'add', `${subnet()}.254/24`, 'dev', bridge)
    ipNow('link', 'set', bridge, 'up')
    for (const [index, name] of this.names.entries()) {
      const space = namespace(name)
      const outer = `us${process.pid}.${index}`
      ipNow('netns', 'add', space)
      ipNow('link', 'add', outer, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', space)
      ipNow('link', 'set', outer, 'master', bridge, 'up')
      ipNow('-n', space, 'addr', 'add', `${this.host(name)}/24`, 'dev', 'eth0')
      ipNow('-n', space, 'link', 'set', 'eth0', 'up')
      ipNow('-n', space, 'link', 'set', 'lo', 'up')
    }
  }

  private remove(): void {
    if (this.closed) return
    this.closed = true
    for (const name of this.names) spawnSync('ip', ['netns', 'del', namespace(name)])
    spawnSync('ip', ['link', 'del', bridgeName()])
  }
}

function link(from: string, to: string): string {
  return `${from} ${to}`
}

function namespace(name: string): string {
  return `${prefix}${process.pid}-${name}`
}

function bridgeName(pid: number = process.pid): string {
  return `us${pid}br`
}

/** Of this process: several runs may go on at the same time. */
function subnet(): string {
  return `10.${128 + ((process.pid >> 8) & 0x7f)}.${process.pid & 0xff}`
}

function ipNow(...args: readonly string[]): void {
  execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'pipe'], encoding: 'utf8' })
}

async function ip(...args: readonly string[]): Promise<void> {
  await run('ip', [...args])
}

/** Namespaces of runs that were killed before they could clean up. */
function removeLeftOvers(): void {
  let found: readonly string[]
  try {
    found = readdirSync('/run/netns')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return
    throw error
  }
  for (const name of found) {
    const pid = Number(/^understudy-(\d+)-/.exec(name)?.[1] ?? 0)
    if (pid === 0 || isAlive(pid)) continue
    spawnSync('ip', ['netns', 'del', name])
    spawnSync('ip', ['link', 'del', bridgeName(pid)])
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
