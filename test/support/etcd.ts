import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { type EtcdAccess, EtcdClient } from '#src/coordinator/etcd/client.js'
import { Keys } from '#src/coordinator/etcd/keys.js'
import { watchPrefix } from '#src/coordinator/etcd/prefix-watch.js'
import { type Method, methods } from '#src/coordinator/etcd/protocol.js'
import { decodeRecord } from '#src/coordinator/etcd/values.js'
import { silentLogger } from '#src/ports/logger.js'
import { testClock } from './clock.js'
import { makeDirectory, removeDirectory } from './directory.js'
import { closeServer, listenAnywhere } from './listen.js'

/** Why there is no etcd to test against; undefined if there is one. Where it is required, its absence is an error. */
export function etcdMissing(): string | undefined {
  const found = spawnSync('etcd', ['--version'], { encoding: 'utf8' })
  if (found.status === 0) return undefined
  const reason = 'etcd is not installed (apt-get install etcd-server)'
  if (process.env.UNDERSTUDY_TEST_ETCD === 'required') throw new Error(reason)
  return reason
}

export interface EtcdTls {
  readonly ca: string
  readonly cert: string
  readonly key: string
}

export interface EtcdClusterOptions {
  readonly tls?: EtcdTls
  readonly args?: readonly string[]
}

interface Member {
  readonly name: string
  readonly clientAddress: string
  readonly peerAddress: string
  process: ChildProcess | undefined
  output: string
}

/** Whatever happens to this process, they end with it. */
const running = new Set<ChildProcess>()
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})
// A runner that gives up on this file ends it so, and then there is no exit event by itself.
process.once('SIGTERM', () => process.exit(143))

/** Ports that were free a moment ago; all are held until the last is found, so that they differ. */
async function freeAddresses(count: number): Promise<string[]> {
  const servers = Array.from({ length: count }, () => createServer())
  const addresses = await Promise.all(servers.map((server) => listenAnywhere(server)))
  await Promise.all(servers.map(closeServer))
  return addresses
}

/** Real members of etcd in a directory of their own, with short election times and every fsync. */
export class EtcdCluster {
  private readonly directory: string
  private readonly members: readonly Member[]
  private readonly options: EtcdClusterOptions

  private constructor(directory: string, members: readonly Member[], options: EtcdClusterOptions) {
    this.directory = directory
    this.members = members
    this.options = options
  }

  static async start(count: number, options: EtcdClusterOptions = {}): Promise<EtcdCluster> {
    const directory = await makeDirectory()
    // Somebody else may take a port between the look and the start: then others are tried.
    for (let tries = 0; ; tries++) {
      const addresses = await freeAddresses(2 * count)
      const members = Array.from({ length: count }, (_, index) => ({
        name: `m${tries}-${index}`,
        clientAddress: addresses[2 * index]!,
        peerAddress: addresses[2 * index + 1]!,
        process: undefined,
        output: '',
      }))
      const cluster = new EtcdCluster(directory, members, options)
      try {
        await Promise.all(members.map((_, index) => cluster.startMember(index)))
        return cluster
      } catch (error) {
        await Promise.all(members.map((_, index) => cluster.kill(index)))
        if (tries === 3) throw error
      }
    }
  }

  get endpoints(): string[] {
    return this.members.map(({ clientAddress }) => clientAddress)
  }

  /** Resolves when it serves. */
  async startMember(index: number): Promise<void> {
    const member = this.members[index]!
    const { tls, args = [] } = this.options
    const scheme = tls === undefined ? 'http' : 'https'
    const peers = this.members.map(({ name, peerAddress }) => `${name}=http://${peerAddress}`).join(',')
    const child = spawn(
      'etcd',
      [
        ...['--name', member.name, '--data-dir', join(this.directory, member.name)],
        ...['--listen-client-urls', `${scheme}://${member.clientAddress}`],
        ...['--advertise-client-urls', `${scheme}://${member.clientAddress}`],
        ...['--listen-peer-urls', `http://${member.peerAddress}`],
        ...['--initial-advertise-peer-urls', `http://${member.peerAddress}`],
        ...['--initial-cluster', peers],
        ...['--heartbeat-interval=20', '--election-timeout=200', '--logger=zap'],
        ...args,
        ...(tls === undefined
          ? []
          : [
              ...['--cert-file', tls.cert, '--key-file', tls.key],
              ...['--trusted-ca-file', tls.ca, '--client-cert-auth'],
            ]),
      ],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    )
    member.process = child
    running.add(child)
    child.once('exit', () => running.delete(child))
    member.output = ''
    const keep = (bytes: Buffer) => {
      member.output = (member.output + bytes.toString()).slice(-65_536)
    }
    child.stdout.on('data', keep)
    child.stderr.on('data', keep)
    const endMs = performance.now() + 20_000
    while (!member.output.includes('serving client')) {
      if (child.exitCode !== null || performance.now() > endMs) {
        throw new Error(`etcd ${member.name} does not serve:\n${member.output.slice(-4096)}`)
      }
      await new Promise((resolve) => setTimeout(resolve, 25))
    }
  }

  /** As a power cut of that member: `kill -9`. */
  async kill(index: number): Promise<void> {
    const member = this.members[index]!
    const child = member.process
    member.process = undefined
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const exited = once(child, 'exit')
    child.kill('SIGKILL')
    await exited
  }

  /** Stands still without ending: connections stay open. */
  pause(index: number): void {
    this.members[index]!.process?.kill('SIGSTOP')
  }

  resume(index: number): void {
    this.members[index]!.process?.kill('SIGCONT')
  }

  /** The files of a member that does not run. */
  directoryOf(index: number): string {
    return join(this.directory, this.members[index]!.name)
  }

  async leader(): Promise<number> {
    for (let tries = 0; tries < 400; tries++) {
      for (const [index, member] of this.members.entries()) {
        if (member.process !== undefined && (await leads(member.clientAddress))) return index
      }
      await new Promise((resolve) => setTimeout(resolve, 25))
    }
    throw new Error('etcd has found no leader')
  }

  async close(): Promise<void> {
    await Promise.all(this.members.map((_, index) => this.kill(index)))
    await removeDirectory(this.directory)
  }
}

async function leads(clientAddress: string): Promise<boolean> {
  try {
    const response = await fetch(`http://${clientAddress}/v3/maintenance/status`, {
      method: 'POST',
      body: '{}',
      signal: AbortSignal.timeout(1_000),
    })
    const status = (await response.json()) as { header?: { member_id?: string }; leader?: string }
    return status.leader !== undefined && status.leader !== '0' && status.leader === status.header?.member_id
  } catch {
    return false
  }
}

/** One call of etcd's protocol, past the coordinator. */
export async function callEtcd<Request, Response>(
  access: EtcdAccess,
  method: Method<Request, Response>,
  request: Request,
): Promise<Response> {
  const client = new EtcdClient(access, { clock: testClock, logger: silentLogger })
  try {
    return await client.call(method, request, { timeoutMs: 15_000 }, new AbortController().signal)
  } finally {
    client.close()
  }
}

/** Every record that a shard ever had, from etcd's own history, up to a revision that it is known to have. */
export async function recordHistory(
  etcd: EtcdCluster,
  cluster: string,
  shard: string,
  lastRevision: number,
): Promise<Array<{ readonly revision: number; readonly nonce: string; readonly version: number }>> {
  const key = new Keys(cluster).shard(shard)
  const history: Array<{ revision: number; nonce: string; version: number }> = []
  const client = new EtcdClient({ endpoints: etcd.endpoints }, { clock: testClock, logger: silentLogger })
  const aborter = new AbortController()
  try {
    const attempt = { timeoutMs: 5_000, signal: aborter.signal }
    await watchPrefix({
      endpoint: client.current,
      metadata: await client.metadataOf(client.current, attempt),
      key,
      rangeEnd: Buffer.concat([key, Buffer.from([0])]),
      startRevision: 1,
      probeMs: 1_000,
      clock: testClock,
      closing: aborter.signal,
      onCreated: () => undefined,
      onEvents: (events) => {
        for (const { kv } of events) {
          const { nonce, version } = decodeRecord('history', kv!.value)
          history.push({ revision: Number(kv!.modRevision), nonce, version })
        }
        if (history.at(-1)!.revision >= lastRevision) aborter.abort()
        return true
      },
    })
    return history
  } finally {
    client.close()
  }
}

/** Keys and values of a cluster, as texts. */
export async function getEtcd(
  etcd: EtcdCluster,
  keys: Keys,
): Promise<Array<{ readonly key: string; readonly value: string }>> {
  const request = { key: keys.prefix, rangeEnd: keys.prefixEnd }
  const { kvs } = await callEtcd({ endpoints: etcd.endpoints }, methods.range, request)
  return kvs.map(({ key, value }) => ({ key: key.toString(), value: value.toString() }))
}

export async function putEtcd(etcd: EtcdCluster, key: Buffer, value: string): Promise<void> {
  const success = [{ requestPut: { key, value: Buffer.from(value) } }]
  await callEtcd({ endpoints: etcd.endpoints }, methods.txn, { compare: [], success, failure: [] })
}

/** One key, or all from `key` up to but without `rangeEnd`; past the coordinator's own part of the protocol. */
export async function deleteEtcd(etcd: EtcdCluster, key: Buffer, rangeEnd?: Buffer): Promise<void> {
  await postEtcd(etcd, 'kv/deleterange', {
    key: key.toString('base64'),
    ...(rangeEnd === undefined ? {} : { range_end: rangeEnd.toString('base64') }),
  })
}

/** A request to etcd's HTTP gateway, for what only tests need. */
export async function postEtcd(etcd: EtcdCluster, path: string, body: object, token?: string): Promise<unknown> {
  const response = await fetch(`http://${etcd.endpoints[0]}/v3/${path}`, {
    method: 'POST',
    body: JSON.stringify(body),
    ...(token === undefined ? {} : { headers: { authorization: token } }),
  })
  const answer: unknown = await response.json()
  if (!response.ok) throw new Error(`etcd: ${path}: ${JSON.stringify(answer)}`)
  return answer
}
