import { decodeMessage } from '../codec/messages.js'
import { UnderstudyError } from '../errors.js'
import type { Link } from '../link/link.js'
import type { Clock } from '../ports/clock.js'
import { Wake } from './wake.js'

/** Sorts what a source sends into chunks (awaited one at a time) and blocks (taken as they come). */
export class SourceInbox {
  readonly wake: Wake
  committed = 0
  ended = false
  error: UnderstudyError | undefined
  onBlock: ((bytes: Uint8Array) => void) | undefined
  onPiece: ((payload: Uint8Array, tail: readonly Uint8Array[]) => void) | undefined
  private readonly link: Link
  private readonly clock: Clock
  private readonly chunks: Uint8Array[] = []
  private chunkWaiter: (() => void) | undefined

  constructor(link: Link, clock: Clock) {
    this.link = link
    this.clock = clock
    this.wake = new Wake(clock)
  }

  open(): void {
    this.link.handle((name, payload, tail) => {
      if (name === 'block') this.onBlock?.(payload)
      else if (name === 'filePiece' && this.onPiece !== undefined) this.onPiece(payload, tail ?? [])
      else if (name === 'chunk') {
        this.chunks.push(payload)
        this.chunkWaiter?.()
      } else if (name === 'committed') {
        this.committed = decodeMessage('committed', payload).sequence
      } else throw new UnderstudyError('PROTOCOL', `${name} is not expected from a source`)
    })
    this.link.closed.then(
      (error) => {
        this.ended = true
        this.error = error
        this.chunkWaiter?.()
        this.wake.signal()
      },
      () => undefined,
    )
  }

  /** Undefined after the time-out. */
  async nextChunk(timeoutMs: number, signal: AbortSignal): Promise<Uint8Array | undefined> {
    if (this.chunks.length === 0 && !this.ended) {
      await new Promise<void>((resolve) => {
        const timer = this.clock.setTimer(timeoutMs, resolve)
        this.chunkWaiter = () => {
          timer.cancel()
          resolve()
        }
      })
      this.chunkWaiter = undefined
    }
    const chunk = this.chunks.shift()
    if (chunk !== undefined) return chunk
    if (this.ended || signal.aborted) {
      throw this.error ?? new UnderstudyError('UNAVAILABLE', `${this.link.remote} ended the connection`)
    }
    return undefined
  }
}
