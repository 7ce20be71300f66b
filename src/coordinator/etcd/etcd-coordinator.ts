import { invariant } from '../../core/invariant.js'
import { limits } from '../../core/limits.js'
import type { ShardRecord } from '../../core/record.js'
import { toUnderstudyError, type UnderstudyError } from '../../errors.js'
import type { Clock } from '../../ports/clock.js'
import type {
  AutomaticCoordinator,
  CoordinatorCall,
  CoordinatorEvent,
  RecordState,
  Registration,
  SwapResult,
} from '../../ports/coordinator.js'
import type { Logger } from '../../ports/logger.js'
import type { Random } from '../../ports/random.js'
import { CallScope } from './call-scope.js'
import { type EtcdAccess, EtcdClient, pauseMs } from './client.js'
import type { Endpoint } from './endpoint.js'
import { judge, RpcFailure, refusal, unavailable } from './failures.js'
import { Keys } from './keys.js'
import { watchPrefix } from './prefix-watch.js'
import { type KeyValue, methods, type RangeResponse, type TxnRequest, type TxnResponse } from './protocol.js'
import { Registrar } from './registrar.js'
import { decodeCoordinatorId, decodeRecord, encodeRecord } from './values.js'
import { revisionOf, View } from './view.js'

export interface EtcdCoordinatorOptions extends EtcdAccess {
  readonly cluster: string
  /** Time to live of the registration. */
  readonly registrationMs: number
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
}

export function createEtcdCoordinator(options: EtcdCoordinatorOptions): EtcdCoordinator {
  return new EtcdCoordinator(options)
}

/** Records and members in etcd (release 3.4 or later), below `/understudy/<cluster>/`. */
export class EtcdCoordinator implements AutomaticCoordinator {
  readonly kind = 'automatic'
  readonly description: string
  private readonly keys: Keys
  private readonly clock: Clock
  private readonly random: Random
  private readonly logger: Logger
  private readonly probeMs: number
  private readonly client: EtcdClient
  private readonly registrar: Registrar
  private readonly view: View
  private readonly listeners = new Set<(event: CoordinatorEvent) => void>()
  private readonly closing = new AbortController()
  /** Why there is no connection, once that was told; undefined while it is not known yet. */
  private broken: UnderstudyError | undefined
  private connected = false
  private watching: Promise<void> | undefined
  private closed: Promise<void> | undefined

  constructor(options: EtcdCoordinatorOptions) {
    const { endpoints, tls, clock, registrationMs } = options
    invariant(endpoints.length > 0 && endpoints.length <= limits.coordinatorEndpointsMax, 'etcd has endpoints')
    this.description = `etcd://${endpoints.join(',')}${tls === undefined ? '' : ' (TLS)'}`
    this.clock = clock
    this.random = options.random
    this.logger = options.logger.child({ coordinator: 'etcd' })
    this.keys = new Keys(options.cluster)
    this.probeMs = Math.min(limits.coordinatorProbeMsMax, registrationMs / 8)
    const { logger, keys } = this
    this.client = new EtcdClient(options, { clock, logger })
    this.view = new View(keys, logger)
    this.registrar = new Registrar({ client: this.client, keys, clock, logger, registrationMs })
  }

  get registeredUntilMs(): number {
    return this.registrar.registeredUntilMs
  }

  start(): void {
    if (this.watching !== undefined || this.closed !== undefined) return
    this.watching = this.keepWatching()
    this.registrar.start()
  }

  subscribe(listener: (event: CoordinatorEvent) => void): () => void {
    this.listeners.add(listener)
    if (this.connected) {
      for (const event of [{ type: 'connected' } as const, ...this.view.present()]) listener(event)
    } else if (this.broken !== undefined) listener({ type: 'disconnected', error: this.broken })
    return () => this.listeners.delete(listener)
  }

  async read(shard: string, options: CoordinatorCall): Promise<RecordState> {
    const key = this.keys.shard(shard)
    const endMs = this.clock.nowMs() + options.timeoutMs
    for (;;) {
      const call = { ...options, timeoutMs: Math.max(1, endMs - this.clock.nowMs()) }
      const state = this.stateOf(shard, await this.txn(this.bothOf(key), call))
      if (state !== undefined) return state
      await this.createId(call)
    }
  }

  async swap(
    shard: string,
    expectedRevision: number,
    next: ShardRecord,
    options: CoordinatorCall,
  ): Promise<SwapResult> {
    const key = this.keys.shard(shard)
    const { coordinatorId } = next
    // After a wipe the revisions begin anew: the number alone could be that of another store's record.
    const request: TxnRequest = {
      compare: [
        { result: 'EQUAL', target: 'MOD', key, modRevision: expectedRevision },
        { result: 'EQUAL', target: 'VALUE', key: this.keys.coordinatorId, value: Buffer.from(coordinatorId) },
      ],
      success: [{ requestPut: { key, value: encodeRecord(next) } }],
      failure: this.bothOf(key).success,
    }
    const startMs = this.clock.nowMs()
    const answer = await this.client.callOnce(methods.txn, request, options, this.closing.signal)
    if (answer.succeeded) {
      const revision = revisionOf(answer.header?.revision ?? '')
      return { swapped: true, state: { coordinatorId, record: next, revision } }
    }
    const leftMs = Math.max(1, options.timeoutMs - (this.clock.nowMs() - startMs))
    const state = this.stateOf(shard, answer) ?? (await this.read(shard, { ...options, timeoutMs: leftMs }))
    return { swapped: false, state }
  }

  register(member: Registration): void {
    this.registrar.register(member)
  }

  close(): Promise<void> {
    this.closed ??= this.end()
    return this.closed
  }

  private async end(): Promise<void> {
    const { connected } = this
    this.closing.abort()
    this.connected = false
    this.listeners.clear()
    await Promise.all([this.watching, this.registrar.close(connected)])
    this.client.close()
  }

  private txn(request: TxnRequest, call: CoordinatorCall): Promise<TxnResponse> {
    return this.client.call(methods.txn, request, call, this.closing.signal)
  }

  /** One linearizable look at the store's id and the record. */
  private bothOf(key: Buffer): TxnRequest {
    const ranges = [{ requestRange: { key: this.keys.coordinatorId } }, { requestRange: { key } }]
    return { compare: [], success: ranges, failure: [] }
  }

  /** Undefined: the store has no id yet. */
  private stateOf(shard: string, answer: TxnResponse): RecordState | undefined {
    const [id, record] = answer.responses.map(({ responseRange }) => responseRange?.kvs[0])
    if (id === undefined) return undefined
    const coordinatorId = decodeCoordinatorId(id.key.toString(), id.value)
    if (record === undefined) return { coordinatorId, record: undefined, revision: 0 }
    const key = this.keys.shard(shard).toString()
    return { coordinatorId, record: decodeRecord(key, record.value), revision: revisionOf(record.modRevision) }
  }

  /** Whoever comes first makes the store's id (S6). Repeated, it does nothing. */
  private createId(call: CoordinatorCall): Promise<TxnResponse> {
    return this.txn(this.creationOfId(), call)
  }

  private creationOfId(): TxnRequest {
    const key = this.keys.coordinatorId
    return {
      compare: [{ result: 'EQUAL', target: 'MOD', key, modRevision: 0 }],
      success: [{ requestPut: { key, value: Buffer.from(this.random.hex(16)) } }],
      failure: [],
    }
  }

  /** Reads everything and follows it, on one member after another, until close. */
  private async keepWatching(): Promise<void> {
    let failures = 0
    while (!this.closing.signal.aborted) {
      const endpoint = this.client.current
      try {
        await this.watchOn(endpoint, () => {
          failures = 0
        })
        continue
      } catch (error) {
        if (this.closing.signal.aborted) return
        this.onBroken(endpoint, error)
      }
      failures += 1
      const delayMs = pauseMs(failures) * (0.5 + this.random.next() / 2)
      const scope = new CallScope(this.clock, { timeoutMs: delayMs + 1_000 }, this.closing.signal)
      await scope.pause(delayMs)
      scope.end()
    }
  }

  private async watchOn(endpoint: Endpoint, onWatching: () => void): Promise<void> {
    const patience = { timeoutMs: limits.coordinatorConnectTimeoutMs, signal: this.closing.signal }
    // Also where it is not ready: the failure of the call says why.
    await endpoint.ready(patience.timeoutMs, patience.signal)
    const { kvs, revision } = await this.load(endpoint, patience)
    const metadata = await this.client.metadataOf(endpoint, patience)
    this.view.replace(kvs)
    await watchPrefix({
      endpoint,
      metadata,
      key: this.keys.prefix,
      rangeEnd: this.keys.prefixEnd,
      startRevision: revision + 1,
      probeMs: this.probeMs,
      clock: this.clock,
      closing: this.closing.signal,
      onCreated: () => {
        onWatching()
        this.onWatching(endpoint)
      },
      onEvents: (events) => {
        const told = this.view.apply(events)
        for (const event of told ?? []) this.emit(event)
        return told !== undefined
      },
    })
  }

  /** All keys as they are now: linearizable, so that a member which lags behind cannot hide what was told before. */
  private async load(
    endpoint: Endpoint,
    patience: { readonly timeoutMs: number; readonly signal: AbortSignal },
  ): Promise<{ readonly kvs: readonly KeyValue[]; readonly revision: number }> {
    const request = { key: this.keys.prefix, rangeEnd: this.keys.prefixEnd }
    const range = (): Promise<RangeResponse> => this.client.attempt(endpoint, methods.range, request, patience)
    let answer = await range()
    if (!answer.kvs.some(({ key }) => key.equals(this.keys.coordinatorId))) {
      await this.client.attempt(endpoint, methods.txn, this.creationOfId(), patience)
      answer = await range()
    }
    return { kvs: answer.kvs, revision: revisionOf(answer.header?.revision ?? '') }
  }

  private onWatching(endpoint: Endpoint): void {
    if (!this.connected) {
      this.connected = true
      this.broken = undefined
      this.logger.info({ endpoint: endpoint.address }, 'connected to etcd')
      this.emit({ type: 'connected' })
    }
    for (const event of this.view.present()) this.emit(event)
  }

  private onBroken(endpoint: Endpoint, thrown: unknown): void {
    this.client.turnFrom(endpoint)
    const error = codedError(thrown)
    if (thrown instanceof RpcFailure && judge(thrown) === 'token') this.client.forgetToken()
    const isNews = this.connected || this.broken === undefined
    this.connected = false
    this.broken = error
    if (!isNews) return
    this.logger.warn({ error: error.message, code: error.code }, 'disconnected from etcd')
    this.emit({ type: 'disconnected', error })
  }

  private emit(event: CoordinatorEvent): void {
    if (event.type === 'members') this.registrar.onMembers(event.members)
    for (const listener of this.listeners) listener(event)
  }
}

function codedError(thrown: unknown): UnderstudyError {
  if (!(thrown instanceof RpcFailure)) return toUnderstudyError(thrown, 'watching etcd')
  return judge(thrown) === 'elsewhere' ? unavailable(thrown) : refusal(thrown)
}
