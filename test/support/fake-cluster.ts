import { silentLogger } from '#src/ports/logger.js'
import type { MemberStatus } from '#src/runtime/handle.js'
import { createHttpServer } from '#src/server/http-server.js'
import { testCredentials } from './credentials.js'
import { FakeNode } from './fake-node.js'

export interface FakeCluster {
  readonly nodes: Readonly<Record<'a' | 'b' | 'c', FakeNode>>
  readonly urls: Readonly<Record<'a' | 'b' | 'c', string>>
  /** Its server answers no more. */
  stop(node: 'a' | 'b' | 'c'): Promise<void>
  close(): Promise<void>
}

const names = ['a', 'b', 'c'] as const

/** Three fake nodes that know each other, each behind a real HTTP server: a is primary, b and c follow in its set. */
export async function startFakeCluster(): Promise<FakeCluster> {
  const nodes = { a: new FakeNode('a'), b: new FakeNode('b'), c: new FakeNode('c') }
  const servers = new Map<string, ReturnType<typeof createHttpServer>>()
  const addresses = new Map<string, string>()
  for (const name of names) {
    const server = createHttpServer({
      node: nodes[name],
      listen: { host: '127.0.0.1', port: 0 },
      credentials: testCredentials(),
      logger: silentLogger,
    })
    servers.set(name, server)
    addresses.set(name, await server.listen())
  }
  for (const name of names) {
    const node = nodes[name]
    node.coordinator = 'etcd://10.0.0.9:2379'
    node.members = names.filter((other) => other !== name).map((other) => memberOf(other, addresses.get(other)!))
    node.main.epoch = { number: 3, node: 'a' }
    node.main.inSync = ['a', 'b', 'c']
    node.main.sequence = 1042
    if (name !== 'a') node.main.state = 'streaming'
  }
  nodes.a.main.followers = ['b', 'c'].map((name) => ({
    node: name,
    address: addresses.get(name)!,
    connected: true,
    inSync: true,
    state: 'streaming',
    received: 1042,
    durable: 1042,
    applied: 1042,
    lagEntries: 0,
    lagBytes: 0,
    lagMs: 0,
    since: '2026-01-01T00:00:00.000Z',
  }))
  const urlOf = (name: string) => `http://${addresses.get(name)}`
  return {
    nodes,
    urls: { a: urlOf('a'), b: urlOf('b'), c: urlOf('c') },
    stop: (name) => servers.get(name)!.close(),
    async close() {
      for (const server of servers.values()) await server.close()
    },
  }
}

function memberOf(node: string, address: string): MemberStatus {
  return {
    node,
    address,
    reachable: true,
    role: node === 'a' ? 'primary' : 'standby',
    state: node === 'a' ? 'primary' : 'streaming',
    epoch: { number: 3, node: 'a' },
    durable: 1042,
    applied: 1042,
    inSync: true,
    lastSeenMs: 40,
  }
}
