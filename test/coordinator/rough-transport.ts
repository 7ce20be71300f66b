import { UnderstudyError } from '#src/errors.js'
import type { Connection, Transport } from '#src/ports/transport.js'

/** Connections that are opened through it fare as a test wants, whatever transport is below. */
export class RoughTransport implements Transport {
  private readonly inner: Transport
  private readonly open = new Set<{ lose(): void }>()
  private out = true
  private back = true
  private refuses = false
  private delayMs = 0

  constructor(inner: Transport) {
    this.inner = inner
  }

  cut(how: 'refused' | 'silent'): void {
    if (how === 'silent') {
      this.out = false
      this.back = false
      return
    }
    this.refuses = true
    this.loseAll()
  }

  /** What is sent arrives; nothing comes back. */
  loseReplies(): void {
    this.back = false
  }

  delay(delayMs: number): void {
    this.delayMs = delayMs
  }

  /** What was lost stays lost: connections that have lost something are broken. */
  heal(): void {
    if (!this.out || !this.back) this.loseAll()
    this.out = true
    this.back = true
    this.refuses = false
    this.delayMs = 0
  }

  async connect(address: string, options: Parameters<Transport['connect']>[1]): Promise<Connection> {
    if (this.refuses) throw new UnderstudyError('UNAVAILABLE', `cannot reach ${address}: refused`)
    if (!this.out || !this.back) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, options.timeoutMs)
        options.signal?.addEventListener('abort', () => {
          clearTimeout(timer)
          resolve()
        })
      })
      throw new UnderstudyError('TIMEOUT', `${address} has not answered within ${options.timeoutMs} ms`)
    }
    const connection = await this.inner.connect(address, options)
    let onClose: ((error: Error | undefined) => void) | undefined
    const wrapped = {
      lose: () => {
        this.open.delete(wrapped)
        // Its other end hears it when the transport below says so, and gets nothing more from here.
        connection.close()
        onClose?.(new UnderstudyError('UNAVAILABLE', 'the connection was lost'))
        onClose = undefined
      },
    }
    this.open.add(wrapped)
    const later = (work: () => void) => {
      if (this.delayMs === 0) work()
      else setTimeout(work, this.delayMs)
    }
    return {
      get remote() {
        return connection.remote
      },
      get unsentBytes() {
        return connection.unsentBytes
      },
      start: (handlers) => {
        onClose = (error) => handlers.onClose(error)
        connection.start({
          onFrame: (frame) => {
            if (this.back) later(() => handlers.onFrame(frame))
          },
          onClose: (error) => later(() => onClose?.(error)),
        })
      },
      send: (type, ...payload) => {
        if (this.out) later(() => connection.send(type, ...payload))
      },
      close: (error) => {
        this.open.delete(wrapped)
        connection.close(error)
      },
    }
  }

  accept(acceptor: (connection: Connection) => void): void {
    this.inner.accept(acceptor)
  }

  close(): Promise<void> {
    return this.inner.close()
  }

  private loseAll(): void {
    for (const one of [...this.open]) one.lose()
  }
}
