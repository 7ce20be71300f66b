import { randomBytes } from 'node:crypto'
import type { IncomingMessage, Server } from 'node:http'
import type { Socket } from 'node:net'
import { nonceBytes } from '../codec/authentication.js'
import { formatAddress } from '../core/address.js'
import { toUnderstudyError, UnderstudyError } from '../errors.js'
import type { Clock } from '../ports/clock.js'
import type { Logger } from '../ports/logger.js'
import type { Connection, Transport } from '../ports/transport.js'
import { Authentication, type Side, secretBytes } from './authentication.js'
import { SocketConnection } from './socket-connection.js'
import { type TransportLimits, transportLimits } from './transport-limits.js'
import { type DialOptions, requestUpgrade, upgradeProtocol } from './upgrade-request.js'

export interface HttpUpgradeOptions {
  readonly clock: Clock
  readonly logger: Logger
  /** Shared by all nodes of the cluster. Absent: no node may have one. */
  readonly secret?: string | Uint8Array
  readonly limits?: Partial<TransportLimits>
  /** With what this side connects, asked for anew each time. Absent: plain text, and nothing shown. */
  readonly dial?: () => DialOptions
  /**
   * Lets the other side in by what it shows in its request, or throws a coded error. What it returns says later
   * whether it would still be let in. Absent: everybody is.
   */
  readonly admit?: (request: IncomingMessage) => () => boolean
}

/** Connections by HTTP Upgrade, on the port that the node's HTTP interface listens on. */
export interface HttpUpgradeTransport extends Transport {
  /** Answers the upgrade requests of a server. The server stays its owner's; close it after the transport. */
  attach(server: Server): void
  /** Ends connections that others opened and that would not be let in any more. */
  readmit(): void
}

interface Refusal {
  readonly status: string
  readonly error: UnderstudyError
}

class HttpUpgrade implements HttpUpgradeTransport {
  private readonly clock: Clock
  private readonly logger: Logger
  private readonly secret: Uint8Array | undefined
  private readonly limits: TransportLimits
  private readonly dial: (() => DialOptions) | undefined
  private readonly admit: HttpUpgradeOptions['admit']
  private readonly connections = new Set<SocketConnection>()
  /** Of connections that others opened: whether they would still be let in. */
  private readonly admitted = new Map<SocketConnection, () => boolean>()
  private readonly connecting = new Set<(error: Error) => void>()
  /** Connections from others that have not proven themselves, and those that have. */
  private handshakes = 0
  private accepted = 0
  private acceptor: ((connection: Connection) => void) | undefined
  private closed: Promise<void> | undefined
  private onAllGone: (() => void) | undefined

  constructor(options: HttpUpgradeOptions) {
    this.clock = options.clock
    this.logger = options.logger
    this.secret = secretBytes(options.secret)
    this.limits = transportLimits(options.limits)
    this.dial = options.dial
    this.admit = options.admit
  }

  accept(acceptor: (connection: Connection) => void): void {
    this.acceptor = acceptor
  }

  attach(server: Server): void {
    server.on('upgrade', (request: IncomingMessage, socket: Socket, head: Buffer) => {
      // A refused socket may still fail, and an error without a listener would end the process.
      socket.on('error', (error) => this.logger.debug({ error: error.message }, 'replication socket failed'))
      this.takeUpgrade(request, socket, head)
    })
  }

  async connect(
    address: string,
    options: { readonly timeoutMs: number; readonly signal?: AbortSignal },
  ): Promise<Connection> {
    const { timeoutMs, signal } = options
    if (this.closed !== undefined) throw closedError()
    if (signal?.aborted === true) throw abortedError(address, signal)
    const request = requestUpgrade(address, this.dial?.())
    let abort = request.abort
    const end = (error: Error) => abort(error)
    const onAbort = () => end(abortedError(address, signal))
    const timer = this.clock.setTimer(timeoutMs, () =>
      end(new UnderstudyError('TIMEOUT', `${address} has not answered within ${timeoutMs} ms`)),
    )
    signal?.addEventListener('abort', onAbort, { once: true })
    this.connecting.add(end)
    try {
      const socket = await request.socket
      const connection = this.take(socket, address, () => {})
      abort = (error) => connection.destroy(error)
      await this.authenticate(connection, 'initiator')
      return connection
    } finally {
      timer.cancel()
      signal?.removeEventListener('abort', onAbort)
      this.connecting.delete(end)
    }
  }

  close(): Promise<void> {
    this.closed ??= new Promise((resolve) => {
      for (const end of this.connecting) end(closedError())
      for (const connection of this.connections) connection.close()
      if (this.connections.size === 0) resolve()
      else this.onAllGone = resolve
    })
    return this.closed
  }

  readmit(): void {
    for (const [connection, isStillAdmitted] of this.admitted) {
      if (isStillAdmitted()) continue
      this.logger.warn({ remote: connection.remote }, 'credentials were withdrawn: connection ended')
      connection.close(new UnderstudyError('UNAUTHORIZED', 'the credentials of this connection are no longer valid'))
    }
  }

  private takeUpgrade(request: IncomingMessage, socket: Socket, head: Buffer): void {
    const remote = remoteOf(socket)
    const acceptor = this.acceptor
    const refusal = this.refusalOf(request) ?? (acceptor === undefined ? noAcceptor : undefined)
    if (refusal !== undefined || acceptor === undefined) {
      const { status, error } = refusal ?? noAcceptor
      this.logger.warn({ remote, status, code: error.code, reason: error.message }, 'replication connection refused')
      refuse(socket, status, error)
      return
    }
    let isStillAdmitted: () => boolean
    try {
      isStillAdmitted = this.admit?.(request) ?? (() => true)
    } catch (error) {
      if (!(error instanceof UnderstudyError)) throw error
      const status = error.failure === 'FORBIDDEN' ? '403 Forbidden' : '401 Unauthorized'
      this.logger.warn({ remote, status, code: error.code, reason: error.message }, 'replication connection refused')
      refuse(socket, status, error)
      return
    }
    socket.write(`HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${upgradeProtocol}\r\n\r\n`)
    if (head.length > 0) socket.unshift(head)

    // Counted in one place at a time, whatever order proof and loss come in.
    let counted: 'handshakes' | 'accepted' | undefined
    const countAs = (next: typeof counted) => {
      if (counted !== undefined) this[counted] -= 1
      counted = next
      if (next !== undefined) this[next] += 1
    }
    countAs('handshakes')
    let gone = false
    const connection = this.take(socket, remote, () => {
      gone = true
      countAs(undefined)
      this.admitted.delete(connection)
    })
    this.admitted.set(connection, isStillAdmitted)
    const { handshakeTimeoutMs, connectionsMax } = this.limits
    const timer = this.clock.setTimer(handshakeTimeoutMs, () =>
      connection.destroy(new UnderstudyError('TIMEOUT', `no authentication within ${handshakeTimeoutMs} ms`)),
    )
    this.authenticate(connection, 'acceptor').then(
      () => {
        timer.cancel()
        if (!gone) countAs('accepted')
        if (this.accepted > connectionsMax) connection.close(tooManyError(connectionsMax))
        else acceptor(connection)
      },
      (error: unknown) => {
        timer.cancel()
        const { code, message } = toUnderstudyError(error, 'authentication')
        this.logger.warn({ remote, code, reason: message }, 'replication connection refused')
      },
    )
  }

  private refusalOf(request: IncomingMessage): Refusal | undefined {
    const offered = (request.headers.upgrade ?? '').split(',').map((token) => token.trim().toLowerCase())
    if (!offered.includes(upgradeProtocol)) {
      const message = `this port upgrades to ${upgradeProtocol} only`
      return offered.some((token) => token.startsWith('understudy/'))
        ? { status: '426 Upgrade Required', error: new UnderstudyError('PROTOCOL_VERSION', message) }
        : { status: badRequest, error: new UnderstudyError('BAD_REQUEST', message) }
    }
    if (request.method !== 'GET') {
      return { status: badRequest, error: new UnderstudyError('BAD_REQUEST', 'an upgrade is asked for by GET') }
    }
    if (this.closed !== undefined) return busy('the node is stopping')
    if (this.accepted >= this.limits.connectionsMax) return busy(tooManyError(this.limits.connectionsMax).message)
    if (this.handshakes >= this.limits.handshakesMax) return busy('too many connections that are not authenticated')
    return undefined
  }

  private take(socket: Socket, remote: string, onGone: () => void): SocketConnection {
    const connection = new SocketConnection(socket, {
      remote,
      clock: this.clock,
      limits: this.limits,
      onGone: () => {
        this.connections.delete(connection)
        onGone()
        if (this.connections.size === 0) this.onAllGone?.()
      },
    })
    this.connections.add(connection)
    return connection
  }

  private authenticate(connection: SocketConnection, side: Side): Promise<void> {
    const { remote } = connection
    const authentication = new Authentication(side, this.secret, randomBytes(nonceBytes), remote)
    return new Promise((resolve, reject) => {
      connection.start({
        onFrame(frame) {
          try {
            const step = authentication.receive(frame)
            if (step.reply !== undefined) connection.sendOpening(step.reply)
            if (!step.done) return
            connection.authenticated()
            resolve()
          } catch (error) {
            // The caller hears of it now; the connection tells the other side and ends.
            reject(error)
            throw error
          }
        },
        onClose(error) {
          reject(error ?? new UnderstudyError('UNAVAILABLE', `${remote} ended the connection before authentication`))
        },
      })
      connection.sendOpening(authentication.opening())
    })
  }
}

/** Throws `CONFIG` for an empty secret. */
export function createHttpUpgradeTransport(options: HttpUpgradeOptions): HttpUpgradeTransport {
  return new HttpUpgrade(options)
}

const badRequest = '400 Bad Request'

function busy(message: string): Refusal {
  return { status: '503 Service Unavailable', error: new UnderstudyError('UNAVAILABLE', message) }
}

const noAcceptor = busy('the node does not take connections yet')

/** In the shape of every other error of the port. */
function refuse(socket: Socket, status: string, error: UnderstudyError): void {
  const body = JSON.stringify(error)
  socket.end(
    `HTTP/1.1 ${status}\r\nConnection: close\r\nUpgrade: ${upgradeProtocol}\r\n` +
      `${status.startsWith('401') ? 'WWW-Authenticate: Bearer\r\n' : ''}` +
      `Content-Type: application/json; charset=utf-8\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
    () => socket.destroy(),
  )
}

function remoteOf(socket: Socket): string {
  const { remoteAddress, remotePort } = socket
  if (remoteAddress === undefined || remotePort === undefined) return 'unknown address'
  return formatAddress({ host: remoteAddress, port: remotePort })
}

function closedError(): UnderstudyError {
  return new UnderstudyError('CLOSED', 'the transport of this node is closed')
}

function abortedError(address: string, signal: AbortSignal | undefined): UnderstudyError {
  return new UnderstudyError('ABORTED', `connecting to ${address} was aborted`, { cause: signal?.reason })
}

function tooManyError(connectionsMax: number): UnderstudyError {
  return new UnderstudyError('UNAVAILABLE', `${connectionsMax} connections are open; no more are taken`)
}
