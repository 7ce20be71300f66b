import type { Metadata } from '@grpc/grpc-js'
import { type ServiceError, status } from '@grpc/grpc-js'
import { limits } from '../../core/limits.js'
import { UnderstudyError } from '../../errors.js'
import type { Clock, Timer } from '../../ports/clock.js'
import type { Endpoint } from './endpoint.js'
import { RpcFailure } from './failures.js'
import { methods, type WatchEvent, type WatchRequest, type WatchResponse } from './protocol.js'

/** `read-again`: what is watched cannot be followed from here on without reading it anew. */
export type WatchEnd = 'read-again' | 'closed'

export interface PrefixWatchOptions {
  readonly endpoint: Endpoint
  readonly metadata: Metadata
  readonly key: Buffer
  readonly rangeEnd: Buffer
  /** The first revision that is not known yet. */
  readonly startRevision: number
  readonly probeMs: number
  readonly clock: Clock
  readonly closing: AbortSignal
  /** The member has begun to watch. */
  onCreated(): void
  /** False: read again. */
  onEvents(events: readonly WatchEvent[]): boolean
}

/**
 * Follows all keys of a prefix on one member, until that breaks (rejects), or its history ends (`read-again`). A member
 * that is cut off from the others ends the watch by itself (`hasleader`); one that is cut off from us is noticed because
 * it must answer to signs of life.
 */
export function watchPrefix(options: PrefixWatchOptions): Promise<WatchEnd> {
  const { endpoint, clock, closing, probeMs } = options
  if (closing.aborted) return Promise.resolve('closed')
  return new Promise((resolve, reject) => {
    const stream = endpoint.stream<WatchRequest, WatchResponse>(methods.watch, options.metadata)
    let probe: Timer | undefined
    let ended = false
    let missed = 0

    const end = (settle: () => void) => {
      if (ended) return
      ended = true
      probe?.cancel()
      closing.removeEventListener('abort', onClose)
      stream.cancel()
      settle()
    }
    const fail = (error: RpcFailure | UnderstudyError) => end(() => reject(error))
    const onClose = () => end(() => resolve('closed'))
    // Probes are counted, not time: a process that stood still has not listened, and must not blame the other side.
    const onProbe = () => {
      if (missed >= limits.coordinatorProbesMissedMax) {
        endpoint.renew()
        const details = `the watch has been silent for ${missed * probeMs} ms`
        fail(new RpcFailure(endpoint.address, { code: status.DEADLINE_EXCEEDED, details }))
        return
      }
      missed += 1
      stream.write({ progressRequest: {} })
      probe = clock.setTimer(probeMs, onProbe)
    }
    const onData = (response: WatchResponse) => {
      if (ended) return
      missed = 0
      endpoint.heard()
      if (response.canceled) {
        if (response.compactRevision !== '0') return end(() => resolve('read-again'))
        const details = response.cancelReason || 'the watch was cancelled'
        const code = /permission denied/.test(details)
          ? status.PERMISSION_DENIED
          : /auth token|user name is empty|auth store is old/.test(details)
            ? status.UNAUTHENTICATED
            : status.UNAVAILABLE
        return fail(new RpcFailure(endpoint.address, { code, details }))
      }
      if (response.created) options.onCreated()
      if (response.events.length === 0) return
      try {
        if (!options.onEvents(response.events)) end(() => resolve('read-again'))
      } catch (error) {
        if (!(error instanceof UnderstudyError)) throw error
        fail(error)
      }
    }
    closing.addEventListener('abort', onClose, { once: true })
    stream.on('data', onData)
    stream.on('error', (error: ServiceError) => fail(new RpcFailure(endpoint.address, error)))
    stream.on('end', () => {
      fail(new RpcFailure(endpoint.address, { code: status.UNAVAILABLE, details: 'the watch ended' }))
    })
    const { key, rangeEnd, startRevision } = options
    stream.write({ createRequest: { key, rangeEnd, startRevision: String(startRevision) } })
    probe = clock.setTimer(probeMs, onProbe)
  })
}
