import { limits } from '../core/limits.js'

/** Bounds of a transport that may be configured. Times in milliseconds. */
export interface TransportLimits {
  /** Time that a connection has to prove itself once it was upgraded. */
  readonly handshakeTimeoutMs: number
  readonly handshakesMax: number
  readonly connectionsMax: number
  /** Time that a closed connection has to send what was handed over and to hear the other side's end. */
  readonly closeTimeoutMs: number
  /** Unsent bytes beyond which a connection is given up: above what credit lets a sender have in flight. */
  readonly unsentBytesMax: number
}

export function transportLimits(overrides: Partial<TransportLimits> = {}): TransportLimits {
  return {
    handshakeTimeoutMs: limits.handshakeTimeoutMs,
    handshakesMax: limits.handshakesMax,
    connectionsMax: limits.connectionsMax,
    closeTimeoutMs: limits.connectionLingerMs,
    unsentBytesMax: limits.sendBufferBytesMax + limits.frameBytesMax,
    ...overrides,
  }
}
