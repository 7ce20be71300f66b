import { type ChannelCredentials, credentials, Metadata, status } from '@grpc/grpc-js'
import { limits } from '../../core/limits.js'
import { isFailure, UnderstudyError } from '../../errors.js'
import type { Clock } from '../../ports/clock.js'
import type { CoordinatorCall } from '../../ports/coordinator.js'
import type { Logger } from '../../ports/logger.js'
import { CallScope } from './call-scope.js'
import { Endpoint } from './endpoint.js'
import { judge, RpcFailure, refusal, unavailable } from './failures.js'
import { type Method, methods } from './protocol.js'

export interface EtcdAccess {
  /** `host:port` of members, in the order in which they are tried. */
  readonly endpoints: readonly string[]
  /** Present: connections are encrypted. PEM. */
  readonly tls?: { readonly ca?: Buffer; readonly cert?: Buffer; readonly key?: Buffer }
  readonly username?: string
  readonly password?: string
}

type Style = 'unary' | 'stream'

/** Calls to whichever member of etcd answers. Knows nothing of what the calls are for. */
export class EtcdClient {
  private readonly endpoints: readonly Endpoint[]
  private readonly access: EtcdAccess
  private readonly clock: Clock
  private readonly logger: Logger
  private index = 0
  /** Undefined: to be asked for. Empty: none is needed. */
  private token: string | undefined

  constructor(access: EtcdAccess, options: { readonly clock: Clock; readonly logger: Logger }) {
    const channel = credentialsOf(access)
    this.access = access
    this.clock = options.clock
    this.logger = options.logger
    this.endpoints = access.endpoints.map((address) => new Endpoint(address, channel, options.clock))
    if (access.username === undefined) this.token = ''
  }

  /**
   * For requests that may be repeated: goes from member to member until one answers or the time is over. Failures are
   * coded errors.
   */
  async call<Request, Response>(
    method: Method<Request, Response>,
    request: Request,
    call: CoordinatorCall,
    closing: AbortSignal,
    style: Style = 'unary',
  ): Promise<Response> {
    const scope = new CallScope(this.clock, call, closing)
    let last: RpcFailure | undefined
    try {
      for (let tries = 0; ; tries++) {
        // Each member gets its share of the time that is left.
        const timeoutMs = scope.remainingMs / (this.endpoints.length - (tries % this.endpoints.length))
        const endpoint = this.current
        try {
          return await this.attempt(endpoint, method, request, { timeoutMs, signal: scope.signal }, style)
        } catch (error) {
          if (!(error instanceof RpcFailure)) throw error
          last = error
          if (judge(error) !== 'elsewhere') throw refusal(error)
          this.turnFrom(endpoint)
        }
        const round = Math.floor((tries + 1) / this.endpoints.length)
        if ((tries + 1) % this.endpoints.length === 0) await scope.pause(pauseMs(round))
      }
    } catch (error) {
      if (error === scope.signal.reason && last !== undefined && scope.error.failure === 'TIMEOUT') {
        throw unavailable(last)
      }
      throw error
    } finally {
      scope.end()
    }
  }

  /**
   * For requests that must not be repeated: sent once, to a member that is connected. The outcome of the error is
   * `none` only where the request never left, or was refused.
   */
  async callOnce<Request, Response>(
    method: Method<Request, Response>,
    request: Request,
    call: CoordinatorCall,
    closing: AbortSignal,
  ): Promise<Response> {
    const scope = new CallScope(this.clock, call, closing)
    try {
      for (let logins = 0; ; logins++) {
        const endpoint = await this.connected(scope)
        const metadata = await this.metadataFor(endpoint, scope)
        if (scope.signal.aborted) throw scope.error
        const startMs = this.clock.nowMs()
        try {
          return await endpoint.call(method, request, {
            metadata,
            timeoutMs: scope.remainingMs,
            signal: scope.signal,
          })
        } catch (error) {
          this.suspect(endpoint, startMs, error)
          if (!(error instanceof RpcFailure)) throw scope.error.withOutcome('unknown')
          const verdict = judge(error)
          if (verdict === 'token' && logins === 0 && this.access.username !== undefined) {
            this.token = undefined
            continue
          }
          if (verdict !== 'elsewhere') throw refusal(error)
          this.turnFrom(endpoint)
          const code = error.status === status.DEADLINE_EXCEEDED ? 'TIMEOUT' : 'UNAVAILABLE'
          throw new UnderstudyError(code, error.message, { cause: error, outcome: 'unknown' })
        }
      }
    } finally {
      scope.end()
    }
  }

  /** The member that is tried next. */
  get current(): Endpoint {
    return this.endpoints[this.index]!
  }

  /** This member did not answer: the next call goes to the next one. */
  turnFrom(endpoint: Endpoint): void {
    if (this.current === endpoint) this.index = (this.index + 1) % this.endpoints.length
  }

  /** One attempt at one member, logged in. Rejects with an `RpcFailure` or the signal's reason. */
  async attempt<Request, Response>(
    endpoint: Endpoint,
    method: Method<Request, Response>,
    request: Request,
    options: { readonly timeoutMs: number; readonly signal: AbortSignal },
    style: Style = 'unary',
  ): Promise<Response> {
    const startMs = this.clock.nowMs()
    for (let logins = 0; ; logins++) {
      const metadata = await this.metadataOf(endpoint, options)
      const timeoutMs = Math.max(1, options.timeoutMs - (this.clock.nowMs() - startMs))
      const attempt = { metadata, timeoutMs, signal: options.signal }
      try {
        return style === 'unary'
          ? await endpoint.call(method, request, attempt)
          : await endpoint.callStream(method, request, attempt)
      } catch (error) {
        if (!(error instanceof RpcFailure)) {
          this.suspect(endpoint, startMs, error)
          throw error
        }
        if (judge(error) === 'token' && logins === 0 && this.access.username !== undefined) {
          this.token = undefined
          continue
        }
        this.suspect(endpoint, startMs, error)
        throw error
      }
    }
  }

  /** What goes with every request: the token, and that a member without a leader shall not pretend to serve. */
  async metadataOf(
    endpoint: Endpoint,
    options: { readonly timeoutMs: number; readonly signal: AbortSignal },
  ): Promise<Metadata> {
    if (this.token === undefined) this.token = await this.login(endpoint, options)
    const metadata = new Metadata()
    metadata.set('hasleader', 'true')
    if (this.token !== '') metadata.set('token', this.token)
    return metadata
  }

  /** Nothing has come for long although it was asked: perhaps the connection leads nowhere any more. */
  private suspect(endpoint: Endpoint, startMs: number, error: unknown): void {
    const late = error instanceof RpcFailure ? error.status === status.DEADLINE_EXCEEDED : isFailure(error, 'TIMEOUT')
    if (!late) return
    this.turnFrom(endpoint)
    const silentMs = this.clock.nowMs() - Math.max(startMs, endpoint.repliedMs)
    if (silentMs >= limits.coordinatorSilenceMs * 0.9) endpoint.renew()
  }

  /** The next login asks for a new token. */
  forgetToken(): void {
    if (this.access.username !== undefined) this.token = undefined
  }

  close(): void {
    for (const endpoint of this.endpoints) endpoint.renew()
  }

  private async metadataFor(endpoint: Endpoint, scope: CallScope): Promise<Metadata> {
    try {
      return await this.metadataOf(endpoint, { timeoutMs: scope.remainingMs, signal: scope.signal })
    } catch (error) {
      if (!(error instanceof RpcFailure)) throw error
      this.turnFrom(endpoint)
      throw judge(error) === 'elsewhere' ? unavailable(error) : refusal(error)
    }
  }

  private async login(
    endpoint: Endpoint,
    options: { readonly timeoutMs: number; readonly signal: AbortSignal },
  ): Promise<string> {
    const { username = '', password = '' } = this.access
    try {
      const attempt = { metadata: new Metadata(), ...options }
      const { token } = await endpoint.call(methods.authenticate, { name: username, password }, attempt)
      return token
    } catch (error) {
      if (!(error instanceof RpcFailure) || !error.details.includes('authentication is not enabled')) throw error
      this.logger.warn({ endpoint: endpoint.address }, 'etcd asks nobody for a password, though one is configured')
      return ''
    }
  }

  /** A member with a connection that stands. */
  private async connected(scope: CallScope): Promise<Endpoint> {
    for (let tries = 0; ; tries++) {
      const endpoint = this.current
      const share = scope.remainingMs / (this.endpoints.length - (tries % this.endpoints.length))
      if (await endpoint.ready(Math.min(share, limits.coordinatorConnectTimeoutMs), scope.signal)) return endpoint
      if (scope.signal.aborted || scope.remainingMs === 0) {
        if (scope.signal.aborted && scope.error.failure !== 'TIMEOUT') throw scope.error
        throw new UnderstudyError('UNAVAILABLE', `etcd at ${endpoint.address}: no connection in time`)
      }
      this.turnFrom(endpoint)
      const round = Math.floor((tries + 1) / this.endpoints.length)
      if ((tries + 1) % this.endpoints.length === 0) await scope.pause(pauseMs(round))
    }
  }
}

/** Between two rounds over all members. */
export function pauseMs(round: number): number {
  return Math.min(limits.coordinatorRetryMaxMs, limits.reconnectMinMs * 2 ** Math.min(round - 1, 10))
}

function credentialsOf({ tls }: EtcdAccess): ChannelCredentials {
  if (tls === undefined) return credentials.createInsecure()
  try {
    return credentials.createSsl(tls.ca ?? null, tls.key ?? null, tls.cert ?? null)
  } catch (error) {
    throw new UnderstudyError('CONFIG', `certificates for etcd cannot be used: ${(error as Error).message}`, {
      cause: error,
    })
  }
}
