import { createServer, type Server } from 'node:http'
import { decodeMessage } from '#src/codec/messages.js'
import { BuiltinCoordinator } from '#src/coordinator/builtin/client.js'
import { localChannel } from '#src/coordinator/builtin/local-channel.js'
import { remoteChannel } from '#src/coordinator/builtin/remote-channel.js'
import { Voter } from '#src/coordinator/builtin/voter.js'
import { limits } from '#src/core/limits.js'
import { toUnderstudyError } from '#src/errors.js'
import { createJournalFactory } from '#src/journal/journal-factory.js'
import { Link } from '#src/link/link.js'
import { nodeRandom } from '#src/platform/node-random.js'
import type { FileSystem } from '#src/ports/file-system.js'
import { silentLogger } from '#src/ports/logger.js'
import type { Connection, Transport } from '#src/ports/transport.js'
import { SimulatedDisk } from '#src/sim/disk.js'
import { createHttpUpgradeTransport } from '#src/transport/http-upgrade.js'
import { createInMemoryNetwork } from '#src/transport/in-memory.js'
import { testClock } from '../support/clock.js'
import { closeServer } from '../support/listen.js'
import { RoughTransport } from './rough-transport.js'

export const voterAddress = 'w.test:7400'
/** The shortest whose third is more than the silence that a voter's heartbeats allow. */
export const registrationMs = 1_900

export function makeVoter(
  files: FileSystem,
  changes: {
    readonly name?: string
    readonly cluster?: string
    readonly address?: string
    readonly segmentsMax?: number
  } = {},
): Voter {
  return new Voter({
    files,
    journals: createJournalFactory(files, {
      clock: testClock,
      random: nodeRandom,
      segmentBytes: limits.segmentBytesMin,
    }),
    clock: testClock,
    random: nodeRandom,
    logger: silentLogger,
    directory: '/w',
    cluster: changes.cluster ?? 'test',
    voter: changes.name ?? 'w',
    address: changes.address ?? voterAddress,
    witness: true,
    ...(changes.segmentsMax === undefined ? {} : { segmentsMax: changes.segmentsMax }),
  })
}

/** What a node does with connections, as far as a voter is concerned. */
export function acceptFor(voter: Voter): (connection: Connection) => void {
  return (connection) => {
    const link = new Link(connection, testClock)
    link
      .expectOneOf(['coordinatorHello'], limits.handshakeTimeoutMs)
      .then(([name, payload]) => voter.serve(link, decodeMessage(name, payload)))
      .catch((error) => link.fail(toUnderstudyError(error, 'serving')))
  }
}

/** How the voter and its clients reach each other. */
export interface Wiring {
  /** Takes connections for the voter from now on; resolves with where. */
  open(accept: (connection: Connection) => void): Promise<string>
  /** As the end of the voter's process: connections break. */
  crash(): Promise<void>
  /** The way out of a client's node. */
  transport(node: string): Transport
  close(): Promise<void>
}

export function inMemoryWiring(network = createInMemoryNetwork()): Wiring {
  return {
    open: async (accept) => {
      network.transport(voterAddress).accept(accept)
      return voterAddress
    },
    crash: async () => network.crash(voterAddress),
    transport: (node) => network.transport(`${node}.test:7400`),
    close: async () => network.crash(voterAddress),
  }
}

/** Over sockets of this machine, with a secret. */
export function httpWiring(): Wiring {
  const options = { clock: testClock, logger: silentLogger, secret: 'one secret for all nodes' }
  const transports: Transport[] = []
  let server: Server | undefined
  let port = 0
  let own: Transport | undefined
  const end = async () => {
    await own?.close()
    if (server !== undefined) await closeServer(server)
    server = undefined
  }
  return {
    open: async (accept) => {
      const transport = createHttpUpgradeTransport(options)
      const listening = createServer()
      own = transport
      server = listening
      transport.attach(listening)
      transport.accept(accept)
      await new Promise<void>((resolve) => listening.listen(port, '127.0.0.1', resolve))
      const address = listening.address()
      port = typeof address === 'object' && address !== null ? address.port : 0
      return `127.0.0.1:${port}`
    },
    crash: end,
    transport: () => {
      const transport = createHttpUpgradeTransport(options)
      transports.push(transport)
      return transport
    },
    close: async () => {
      for (const transport of transports) await transport.close()
      await end()
    },
  }
}

/** A voter on a simulated disk, and clients of other nodes. */
export class VoterHost {
  readonly wiring: Wiring
  disk = new SimulatedDisk()
  voter!: Voter
  address = ''
  private process!: FileSystem & { kill(): void }
  private clients = 0

  constructor(wiring = inMemoryWiring()) {
    this.wiring = wiring
  }

  async start(): Promise<void> {
    this.process = this.disk.process()
    this.voter = makeVoter(this.process)
    await this.voter.start()
    this.address = await this.wiring.open(acceptFor(this.voter))
  }

  /** As a kill -9. */
  async kill(): Promise<void> {
    this.process.kill()
    await this.wiring.crash()
  }

  async restart(): Promise<void> {
    await this.kill()
    await this.start()
  }

  async close(): Promise<void> {
    await this.voter.close()
    await this.wiring.close()
  }

  /** A client within the voter's process. */
  local(): BuiltinCoordinator {
    return coordinatorOver(localChannel(this.voter))
  }

  client(options: { readonly cluster?: string; readonly voter?: string; readonly address?: string } = {}) {
    this.clients += 1
    const node = `n${this.clients}`
    const transport = new RoughTransport(this.wiring.transport(node))
    const coordinator = coordinatorOver(
      remoteChannel({
        voters: [{ node: options.voter ?? 'w', address: options.address ?? this.address }],
        cluster: options.cluster ?? 'test',
        node,
        boot: nodeRandom.hex(8),
        transport,
        clock: testClock,
        silenceMs: registrationMs / 3,
      }),
    )
    return {
      coordinator,
      transport,
      cut: async (how: 'refused' | 'silent') => transport.cut(how),
      loseReplies: async () => transport.loseReplies(),
      delay: async (delayMs: number) => transport.delay(delayMs),
      heal: async () => transport.heal(),
    }
  }
}

function coordinatorOver(open: ConstructorParameters<typeof BuiltinCoordinator>[0]['open']): BuiltinCoordinator {
  return new BuiltinCoordinator({
    description: 'builtin://w',
    voters: ['w'],
    open,
    clock: testClock,
    random: nodeRandom,
    logger: silentLogger,
    registrationMs,
  })
}
