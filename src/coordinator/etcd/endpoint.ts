import {
  type ChannelCredentials,
  Client,
  type ClientDuplexStream,
  connectivityState,
  type Metadata,
  type ServiceError,
  status,
} from '@grpc/grpc-js'
import { limits } from '../../core/limits.js'
import type { Clock } from '../../ports/clock.js'
import { RpcFailure } from './failures.js'
import type { Method } from './protocol.js'

export interface Attempt {
  readonly metadata: Metadata
  readonly timeoutMs: number
  /** Ends the attempt with the signal's reason. */
  readonly signal: AbortSignal
}

/** One member of etcd, and the connection to it. */
export class Endpoint {
  readonly address: string
  /** When the last answer came. */
  repliedMs = Number.NEGATIVE_INFINITY
  private readonly credentials: ChannelCredentials
  private readonly clock: Clock
  private client: Client | undefined

  constructor(address: string, credentials: ChannelCredentials, clock: Clock) {
    this.address = address
    this.credentials = credentials
    this.clock = clock
  }

  /** One request, one answer. Rejects with an `RpcFailure`, or with the signal's reason. */
  call<Request, Response>(method: Method<Request, Response>, request: Request, attempt: Attempt): Promise<Response> {
    return this.bounded<Response>(attempt, (settle) =>
      this.open().makeUnaryRequest(
        method.path,
        method.serialize,
        method.deserialize,
        request,
        attempt.metadata,
        (error, response) => {
          if (error === null) settle.answered(response!)
          else settle.failed(error)
        },
      ),
    )
  }

  /** As `call`, where the protocol has streams in both directions: the first answer is the answer. */
  callStream<Request, Response>(
    method: Method<Request, Response>,
    request: Request,
    attempt: Attempt,
  ): Promise<Response> {
    return this.bounded<Response>(attempt, (settle) => {
      const stream = this.stream(method, attempt.metadata)
      stream.on('data', (response: Response) => {
        settle.answered(response)
        stream.cancel()
      })
      stream.on('error', (error: ServiceError) => settle.failed(error))
      stream.on('end', () => settle.failed({ code: status.UNAVAILABLE, details: 'the stream ended' }))
      stream.write(request)
      return stream
    })
  }

  stream<Request, Response>(
    method: Method<Request, Response>,
    metadata: Metadata,
  ): ClientDuplexStream<Request, Response> {
    return this.open().makeBidiStreamRequest(method.path, method.serialize, method.deserialize, metadata)
  }

  /** Connects; false if that failed or has not worked in time. A request that is made when it is true leaves at once. */
  async ready(timeoutMs: number, signal: AbortSignal): Promise<boolean> {
    const channel = this.open().getChannel()
    const endMs = this.clock.nowMs() + timeoutMs
    for (;;) {
      if (signal.aborted) return false
      const state = channel.getConnectivityState(true)
      if (state === connectivityState.READY) return true
      if (state === connectivityState.TRANSIENT_FAILURE || state === connectivityState.SHUTDOWN) return false
      const leftMs = endMs - this.clock.nowMs()
      if (leftMs <= 0) {
        // A connection attempt that is never answered would not end by itself.
        if (state === connectivityState.CONNECTING) this.renew()
        return false
      }
      await new Promise<void>((resolve) => {
        const timer = this.clock.setTimer(Math.max(1, leftMs), done, { keepsAlive: true })
        function done() {
          timer.cancel()
          signal.removeEventListener('abort', done)
          resolve()
        }
        signal.addEventListener('abort', done, { once: true })
        channel.watchConnectivityState(state, Number.POSITIVE_INFINITY, done)
      })
    }
  }

  heard(): void {
    this.repliedMs = this.clock.nowMs()
  }

  /** The next call makes a new connection; those under way go on where they are. */
  renew(): void {
    this.client?.close()
    this.client = undefined
  }

  private open(): Client {
    this.client ??= new Client(`dns:${this.address}`, this.credentials, {
      // A shared pool would hand a connection that nothing passes over to the next channel.
      'grpc.use_local_subchannel_pool': 1,
      // What is sent again, and where, is decided by who knows whether that is safe.
      'grpc.enable_retries': 0,
      'grpc.service_config_disable_resolution': 1,
      // Proxies from the environment are meant for the web.
      'grpc.enable_http_proxy': 0,
      'grpc.initial_reconnect_backoff_ms': limits.reconnectMinMs,
      'grpc.max_reconnect_backoff_ms': limits.coordinatorRetryMaxMs,
      // Slower than the least that etcd allows (5 s): whoever pings more often is thrown out.
      'grpc.keepalive_time_ms': limits.coordinatorPingMs,
      'grpc.keepalive_timeout_ms': limits.coordinatorConnectTimeoutMs,
      'grpc.max_receive_message_length': limits.coordinatorMessageBytesMax,
    })
    return this.client
  }

  private bounded<Response>(
    attempt: Attempt,
    begin: (settle: {
      answered(response: Response): void
      failed(error: Pick<ServiceError, 'code' | 'details'>): void
    }) => { cancel(): void },
  ): Promise<Response> {
    const { signal, timeoutMs } = attempt
    if (signal.aborted) return Promise.reject(signal.reason)
    return new Promise((resolve, reject) => {
      let settled = false
      const settle = (end: () => void) => {
        if (settled) return
        settled = true
        timer.cancel()
        signal.removeEventListener('abort', onAbort)
        end()
      }
      const failed = (error: Pick<ServiceError, 'code' | 'details'>) =>
        settle(() => reject(new RpcFailure(this.address, error)))
      const onAbort = () => {
        settle(() => reject(signal.reason))
        call.cancel()
      }
      const timer = this.clock.setTimer(
        timeoutMs,
        () => {
          failed({ code: status.DEADLINE_EXCEEDED, details: `no answer within ${Math.round(timeoutMs)} ms` })
          call.cancel()
        },
        { keepsAlive: true },
      )
      signal.addEventListener('abort', onAbort, { once: true })
      const call = begin({
        answered: (response) => {
          this.heard()
          settle(() => resolve(response))
        },
        failed: (error) => {
          // Statuses of the library itself say nothing of the other side.
          if (error.code !== status.UNAVAILABLE && error.code !== status.CANCELLED) this.heard()
          failed(error)
        },
      })
    })
  }
}
