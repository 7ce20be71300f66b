import { decodeMessage } from '#src/codec/messages.js'
import { BuiltinCoordinator } from '#src/coordinator/builtin/client.js'
import { localChannel } from '#src/coordinator/builtin/local-channel.js'
import { remoteChannel } from '#src/coordinator/builtin/remote-channel.js'
import { Voter } from '#src/coordinator/builtin/voter.js'
import { limits } from '#src/core/limits.js'
import { toUnderstudyError, UnderstudyError } from '#src/errors.js'
import { createJournalFactory } from '#src/journal/journal-factory.js'
import { Link } from '#src/link/link.js'
import { nodeRandom } from '#src/platform/node-random.js'
import type { FileSystem } from '#src/ports/file-system.js'
import { silentLogger } from '#src/ports/logger.js'
import type { Connection, Transport } from '#src/ports/transport.js'
import { type DiskFault, SimulatedDisk } from '#src/sim/disk.js'
import { createInMemoryNetwork } from '#src/transport/in-memory.js'
import { testClock } from '../support/clock.js'

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

/** A voter on a simulated disk, and clients at other addresses of an in-memory network. */
export class VoterHost {
  readonly network = createInMemoryNetwork()
  readonly disk: SimulatedDisk
  voter!: Voter
  private process!: FileSystem & { kill(): void }
  private transport: Transport | undefined
  private clients = 0

  constructor(disk = new SimulatedDisk()) {
    this.disk = disk
  }

  async start(): Promise<void> {
    this.process = this.disk.process()
    this.voter = makeVoter(this.process)
    await this.voter.start()
    this.transport = this.network.transport(voterAddress)
    this.transport.accept(acceptFor(this.voter))
  }

  set fault(fault: DiskFault | undefined) {
    this.disk.fault = fault
  }

  /** As a kill -9. */
  kill(): void {
    this.process.kill()
    this.network.crash(voterAddress)
  }

  async restart(): Promise<void> {
    this.kill()
    await this.start()
  }

  async close(): Promise<void> {
    this.network.heal()
    await this.voter.close()
    await this.transport?.close()
  }

  client(options: { readonly local?: boolean; readonly cluster?: string; readonly voter?: string } = {}) {
    this.clients += 1
    const node = `n${this.clients}`
    const address = `${node}.test:7400`
    const transport = options.local === true ? undefined : this.network.transport(address)
    let refuses = false
    let delayMs = 0
    const wayOut: Transport | undefined = transport && {
      ...transport,
      connect: async (to, how) => {
        if (refuses) throw new UnderstudyError('UNAVAILABLE', `cannot reach ${to}: refused`)
        return delayed(await transport.connect(to, how), () => delayMs)
      },
      accept: (acceptor) => transport.accept(acceptor),
      close: () => transport.close(),
    }
    const coordinator = new BuiltinCoordinator({
      description: `builtin://w=${voterAddress}`,
      voters: ['w'],
      open:
        wayOut === undefined
          ? localChannel(this.voter)
          : remoteChannel({
              voters: [{ node: options.voter ?? 'w', address: voterAddress }],
              cluster: options.cluster ?? 'test',
              node,
              boot: nodeRandom.hex(8),
              transport: wayOut,
              clock: testClock,
              silenceMs: registrationMs / 3,
            }),
      clock: testClock,
      random: nodeRandom,
      logger: silentLogger,
      registrationMs,
    })
    return {
      coordinator,
      address,
      cut: async (how: 'refused' | 'silent') => {
        refuses = how === 'refused'
        this.network.partition(address, voterAddress)
        if (refuses) this.network.dropConnections(address, voterAddress)
      },
      loseReplies: async () => this.network.partition(voterAddress, address, { oneWay: true }),
      delay: async (ms: number) => {
        delayMs = ms
      },
      heal: async () => {
        refuses = false
        delayMs = 0
        // What waited in the network is lost, as it is in a real one: it must not arrive after all.
        this.network.dropConnections(address, voterAddress)
        this.network.heal(address, voterAddress)
      },
    }
  }
}

/** Frames of both directions take so long; they stay in order. */
function delayed(connection: Connection, delayMs: () => number): Connection {
  const later = (work: () => void) => (delayMs() === 0 ? work() : void setTimeout(work, delayMs()))
  return {
    get remote() {
      return connection.remote
    },
    get unsentBytes() {
      return connection.unsentBytes
    },
    start: (handlers) =>
      connection.start({
        onFrame: (frame) => later(() => handlers.onFrame(frame)),
        onClose: (error) => later(() => handlers.onClose(error)),
      }),
    send: (type, ...payload) => later(() => connection.send(type, ...payload)),
    close: (error) => connection.close(error),
  }
}
