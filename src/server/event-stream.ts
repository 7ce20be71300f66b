import type { ServerResponse } from 'node:http'
import { limits } from '../core/limits.js'

export interface EventStreamOptions {
  /** Called at every heartbeat; false ends the stream: the reader's credentials are no longer what they were. */
  readonly isAllowed: () => boolean
  readonly heartbeatMs?: number
  readonly unsentBytesMax?: number
}

/**
 * Server-sent events to one reader. It never waits for the reader: what piles up is bounded, and one that lets more
 * pile up is dropped. Ends with its connection.
 */
export class EventStream {
  readonly #raw: ServerResponse
  readonly #options: EventStreamOptions
  readonly #heartbeat: NodeJS.Timeout
  readonly #onEnd: Array<() => void> = []
  #isOpen = true

  constructor(raw: ServerResponse, options: EventStreamOptions) {
    this.#raw = raw
    this.#options = options
    raw.writeHead(200, {
      'Content-Type': 'text/event-stream; charset=utf-8',
      'Cache-Control': 'no-store',
      // Proxies that gather an answer before they pass it on are told not to.
      'X-Accel-Buffering': 'no',
    })
    raw.once('close', () => this.#ended())
    raw.on('error', () => this.#ended())
    this.#heartbeat = setInterval(() => this.#beat(), options.heartbeatMs ?? limits.eventsHeartbeatMs)
    this.#write(`retry: ${limits.eventsRetryMs}\n\n`)
  }

  get isOpen(): boolean {
    return this.#isOpen
  }

  onEnd(action: () => void): void {
    if (this.#isOpen) this.#onEnd.push(action)
    else action()
  }

  send(name: string, data: unknown, id?: string): void {
    const head = id === undefined ? '' : `id: ${id}\n`
    // JSON has no line ends of its own: one data line is enough.
    this.#write(`${head}event: ${name}\ndata: ${JSON.stringify(data)}\n\n`)
  }

  /** Tells the reader that the node is closing, and ends the answer. */
  end(): void {
    if (!this.#isOpen) return
    this.send('closing', {})
    this.#ended()
    this.#raw.end()
  }

  #beat(): void {
    if (!this.#options.isAllowed()) {
      this.#ended()
      this.#raw.end()
      return
    }
    this.#write(': heartbeat\n\n')
  }

  #write(text: string): void {
    if (!this.#isOpen) return
    this.#raw.write(text)
    if (this.#raw.writableLength <= (this.#options.unsentBytesMax ?? limits.eventsUnsentBytesMax)) return
    this.#ended()
    this.#raw.destroy()
  }

  #ended(): void {
    if (!this.#isOpen) return
    this.#isOpen = false
    clearInterval(this.#heartbeat)
    for (const action of this.#onEnd) action()
  }
}
