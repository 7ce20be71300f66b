import { parseAddress } from '../core/address.js'
import { UnderstudyError } from '../errors.js'
import { type Logger, silentLogger } from '../ports/logger.js'
import type { Connection, Transport } from '../ports/transport.js'
import { differentSecrets, oneSidedSecret, secretBytes } from './authentication.js'
import {
  type Carrier,
  InMemoryConnection,
  type Lane,
  type NetworkClock,
  type Parcel,
  type Segment,
} from './in-memory-connection.js'
import { type TransportLimits, transportLimits } from './transport-limits.js'

export interface InMemoryTransportOptions {
  readonly secret?: string | Uint8Array
  readonly logger?: Logger
  readonly limits?: Partial<TransportLimits>
}

/** How long what is sent is under way, for a network on which that takes time. */
export type NetworkDelay = (from: string, to: string, bytes: number) => number

/**
 * A network within this process, for tests and simulations. Nothing happens at random: what is sent arrives in the
 * order in which it was sent, when the clock's `defer` comes round, as far as the faults set here let it.
 */
export interface InMemoryNetwork {
  /** The transport of the node at an address; the address is free again when it is closed or crashed. */
  transport(address: string, options?: InMemoryTransportOptions): Transport
  /**
   * Nothing passes from now on; connections stay and what is sent waits. `oneWay`: only from `a` to `b` is cut.
   * `*` is everybody.
   */
  partition(a: string, b: string, options?: { readonly oneWay?: boolean }): void
  /** Ends the partitions between two addresses, or all of them; what waited arrives. */
  heal(a?: string, b?: string): void
  /** Holds everything everywhere until `resumeDelivery`. */
  pauseDelivery(): void
  resumeDelivery(): void
  /** Breaks the connections between two addresses; what was under way is lost. New ones may be opened. */
  dropConnections(a: string, b: string): void
  /** Ends the node's transport without a word: its connections break at the other side. */
  crash(address: string): void
}

const systemClock: NetworkClock = {
  nowMs: () => performance.now(),
  setTimer(delayMs, fn) {
    const timer = setTimeout(fn, delayMs)
    timer.unref()
    return { cancel: () => clearTimeout(timer) }
  },
  defer(fn) {
    setImmediate(fn)
  },
}

/** What is sent at one moment and fits into one segment of TCP arrives at one moment. */
const segmentBytesMax = 1_448

class Network implements InMemoryNetwork, Carrier {
  readonly clock: NetworkClock
  private readonly transports = new Map<string, InMemoryTransport>()
  /** From whom nothing passes to whom; `*` is everybody. */
  private readonly cuts = new Map<string, Set<string>>()
  private parcels: Parcel[] = []
  private paused = false
  private scheduled = false
  private readonly delay: NetworkDelay | undefined

  constructor(clock: NetworkClock, delay: NetworkDelay | undefined) {
    this.clock = clock
    this.delay = delay
  }

  transport(address: string, options: InMemoryTransportOptions = {}): Transport {
    if (this.transports.has(address)) throw new UnderstudyError('ADDRESS_IN_USE', `${address} has a transport already`)
    const transport = new InMemoryTransport(this, address, options)
    this.transports.set(address, transport)
    return transport
  }

  at(address: string): InMemoryTransport | undefined {
    return this.transports.get(address)
  }

  leave(transport: InMemoryTransport): void {
    if (this.transports.get(transport.address) === transport) this.transports.delete(transport.address)
  }

  partition(a: string, b: string, options: { readonly oneWay?: boolean } = {}): void {
    this.cut(a, b)
    if (options.oneWay !== true) this.cut(b, a)
  }

  heal(a?: string, b?: string): void {
    if (a === undefined || b === undefined) this.cuts.clear()
    else {
      this.mend(a, b)
      this.mend(b, a)
    }
    this.nudge()
  }

  pauseDelivery(): void {
    this.paused = true
  }

  resumeDelivery(): void {
    this.paused = false
    this.nudge()
  }

  dropConnections(a: string, b: string): void {
    this.transports.get(a)?.lose(b)
    this.transports.get(b)?.lose(a)
  }

  crash(address: string): void {
    this.transports.get(address)?.crash()
  }

  post(parcel: Parcel): void {
    if (this.delay !== undefined) {
      this.fly(parcel, this.delay)
      return
    }
    this.parcels.push(parcel)
    this.nudge()
  }

  private fly(parcel: Parcel, delay: NetworkDelay): void {
    const { lane, bytes } = parcel
    const nowMs = this.clock.nowMs()
    const newest = lane.segments.at(-1)
    const fits = newest !== undefined && newest.bytes + bytes <= segmentBytesMax
    if (fits && newest.postedMs === nowMs && !newest.landing) {
      newest.parcels.push(parcel)
      newest.bytes += bytes
      return
    }
    // What is under way arrives in order, however long each takes.
    const landsMs = Math.max(newest?.landsMs ?? nowMs, nowMs + delay(parcel.from, parcel.to, bytes))
    const segment: Segment = { postedMs: nowMs, landsMs, parcels: [parcel], bytes, landing: false, timer: undefined }
    lane.segments.push(segment)
    segment.timer = this.clock.setTimer(landsMs - nowMs, () => this.land(lane, segment))
  }

  private land(lane: Lane, segment: Segment): void {
    segment.landing = true
    try {
      // Whoever takes one in may end the lane: then the others are gone, and this is over.
      for (const parcel of segment.parcels) {
        if (this.parcels.length === 0 && !this.paused && !this.cutOff(parcel) && parcel.ready()) {
          // Nothing waits that it could overtake.
          parcel.deliver()
          continue
        }
        this.parcels.push(parcel)
        this.deliver()
      }
    } finally {
      const at = lane.segments.indexOf(segment)
      if (at >= 0) lane.segments.splice(at, 1)
    }
  }

  discard(lane: Lane): void {
    for (const segment of lane.segments) {
      segment.timer?.cancel()
      segment.parcels.length = 0
    }
    lane.segments.length = 0
    this.parcels = this.parcels.filter((parcel) => parcel.lane !== lane)
  }

  nudge(): void {
    if (this.scheduled || this.paused || this.parcels.length === 0) return
    this.scheduled = true
    this.clock.defer(() => this.deliver())
  }

  private cutOff({ from, to }: Parcel): boolean {
    if (this.cuts.size === 0) return false
    return this.isCut(from, to) || this.isCut('*', to) || this.isCut(from, '*') || this.isCut('*', '*')
  }

  private isCut(from: string, to: string): boolean {
    return this.cuts.get(from)?.has(to) === true
  }

  private cut(from: string, to: string): void {
    const there = this.cuts.get(from)
    if (there === undefined) this.cuts.set(from, new Set([to]))
    else there.add(to)
  }

  private mend(from: string, to: string): void {
    const there = this.cuts.get(from)
    there?.delete(to)
    if (there?.size === 0) this.cuts.delete(from)
  }

  /** One pass over what was sent before it; what is held back holds back what follows in its lane. */
  private deliver(): void {
    this.scheduled = false
    const held = new Set<Lane>()
    const waiting = this.parcels
    let delivered = 0
    this.parcels = []
    const kept: Parcel[] = []
    try {
      for (const parcel of waiting) {
        delivered += 1
        if (this.paused || held.has(parcel.lane) || this.cutOff(parcel) || !parcel.ready()) {
          held.add(parcel.lane)
          kept.push(parcel)
        } else {
          parcel.deliver()
        }
      }
    } finally {
      const fresh = this.parcels
      this.parcels = [...kept, ...waiting.slice(delivered), ...fresh]
      if (fresh.length > 0 || delivered < waiting.length) this.nudge()
    }
  }
}

class InMemoryTransport implements Transport {
  readonly address: string
  private readonly network: Network
  private readonly secret: Uint8Array | undefined
  private readonly logger: Logger
  private readonly limits: TransportLimits
  private readonly connections = new Set<InMemoryConnection>()
  private readonly connecting = new Set<(error: Error) => void>()
  private acceptor: ((connection: Connection) => void) | undefined
  private acceptedCount = 0
  private closed: Promise<void> | undefined
  private onAllGone: (() => void) | undefined

  constructor(network: Network, address: string, options: InMemoryTransportOptions) {
    this.network = network
    this.address = address
    this.secret = secretBytes(options.secret)
    this.logger = options.logger ?? silentLogger
    this.limits = transportLimits(options.limits)
  }

  accept(acceptor: (connection: Connection) => void): void {
    this.acceptor = acceptor
  }

  connect(
    address: string,
    options: { readonly timeoutMs: number; readonly signal?: AbortSignal },
  ): Promise<Connection> {
    const { timeoutMs, signal } = options
    return new Promise((resolve, reject) => {
      const aborted = () =>
        new UnderstudyError('ABORTED', `connecting to ${address} was aborted`, { cause: signal?.reason })
      if (this.closed !== undefined) return reject(closedError())
      if (signal?.aborted === true) return reject(aborted())
      if (parseAddress(address) === undefined) {
        return reject(
          new UnderstudyError('CONFIG', `"${address}" is not an address of a node`, {
            hint: 'write host:port or [ipv6]:port',
          }),
        )
      }
      let pending = true
      const settle = (settled: () => void) => {
        if (!pending) return
        pending = false
        timer.cancel()
        signal?.removeEventListener('abort', onAbort)
        this.connecting.delete(fail)
        settled()
      }
      const near = this.end(address, () => {})
      const lane: Lane = { segments: [] }
      const fail = (error: Error) =>
        settle(() => {
          this.network.discard(lane)
          near.reset(error)
          reject(error)
        })
      const onAbort = () => fail(aborted())
      const timer = this.network.clock.setTimer(timeoutMs, () =>
        fail(new UnderstudyError('TIMEOUT', `${address} has not answered within ${timeoutMs} ms`)),
      )
      signal?.addEventListener('abort', onAbort, { once: true })
      this.connecting.add(fail)
      this.network.post({
        lane,
        from: this.address,
        to: address,
        bytes: 0,
        ready: () => true,
        deliver: () => {
          const there = this.network.at(address)
          const refusal = there === undefined ? nobodyAt(address) : there.take(near, this.secret)
          this.network.post({
            lane,
            from: address,
            to: this.address,
            bytes: 0,
            ready: () => true,
            deliver: () => {
              if (refusal !== undefined) fail(refusal)
              else
                settle(() => {
                  if (!near.gone) this.connections.add(near)
                  resolve(near)
                })
            },
          })
        },
      })
    })
  }

  close(): Promise<void> {
    this.closed ??= new Promise((resolve) => {
      for (const fail of this.connecting) fail(closedError())
      for (const connection of this.connections) connection.close()
      const finish = () => {
        this.network.leave(this)
        resolve()
      }
      if (this.connections.size === 0) finish()
      else this.onAllGone = finish
    })
    return this.closed
  }

  crash(): void {
    this.closed ??= Promise.resolve()
    for (const fail of this.connecting) fail(closedError())
    for (const connection of this.connections) connection.reset(closedError())
    this.network.leave(this)
  }

  lose(remote: string): void {
    for (const connection of this.connections) if (connection.remote === remote) connection.lose()
  }

  /** Accepts the other end of a connection, or says why not as the other side shall see it. */
  take(far: InMemoryConnection, secret: Uint8Array | undefined): UnderstudyError | undefined {
    const from = far.local
    const refusal = this.secretRefusal(from, secret)
    if (refusal !== undefined) {
      const { code, message } = refusal.here
      this.logger.warn({ remote: from, code, reason: message }, 'replication connection refused')
      return refusal.there
    }
    const acceptor = this.acceptor
    if (acceptor === undefined || this.closed !== undefined) {
      return new UnderstudyError('UNAVAILABLE', `${this.address} refused the replication connection`)
    }
    if (this.acceptedCount >= this.limits.connectionsMax) {
      return new UnderstudyError('UNAVAILABLE', `${this.address} has ${this.limits.connectionsMax} connections open`)
    }
    this.acceptedCount += 1
    const connection = this.end(from, () => {
      this.acceptedCount -= 1
    })
    this.connections.add(connection)
    connection.join(far)
    far.join(connection)
    acceptor(connection)
    return undefined
  }

  private end(remote: string, onGone: () => void): InMemoryConnection {
    return new InMemoryConnection(this.address, remote, this.network, this.limits, (connection) => {
      this.connections.delete(connection)
      onGone()
      if (this.connections.size === 0) this.onAllGone?.()
    })
  }

  private secretRefusal(
    from: string,
    secret: Uint8Array | undefined,
  ): { readonly here: UnderstudyError; readonly there: UnderstudyError } | undefined {
    if (secret === undefined && this.secret === undefined) return undefined
    if (secret === undefined) {
      return { here: oneSidedSecret('the other side', from), there: oneSidedSecret('this node', this.address) }
    }
    if (this.secret === undefined) {
      return { here: oneSidedSecret('this node', from), there: oneSidedSecret('the other side', this.address) }
    }
    if (Buffer.compare(secret, this.secret) === 0) return undefined
    return { here: differentSecrets(from), there: differentSecrets(this.address) }
  }
}

/** Without a clock: the system's timers. Without a delay what is sent arrives at once. */
export function createInMemoryNetwork(clock: NetworkClock = systemClock, delay?: NetworkDelay): InMemoryNetwork {
  return new Network(clock, delay)
}

function closedError(): UnderstudyError {
  return new UnderstudyError('CLOSED', 'the transport of this node is closed')
}

function nobodyAt(address: string): UnderstudyError {
  return new UnderstudyError('UNAVAILABLE', `cannot reach ${address}: nobody listens there`)
}
