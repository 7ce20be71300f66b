import type { LivePicture, PictureHistory, PictureSample, TimelineEvent } from '../../src/server/live-picture.js'
import { EventStreamParser } from './model/event-stream.js'
import { type Connection, staleMs } from './model/freshness.js'
import { mergeSamples } from './model/plot-data.js'
import { mergeEvents } from './model/timeline-view.js'
import type { Tokens } from './tokens.js'

export interface Live {
  readonly connection: Connection
  /** The last picture, however old. */
  readonly picture: LivePicture | undefined
  /** When it came, of this page's own clock. */
  readonly pictureAtMs: number | undefined
  readonly samples: readonly PictureSample[]
  readonly events: readonly TimelineEvent[]
}

const samplesMax = 900
const eventsMax = 200
const retryMs = [500, 1_000, 2_000, 3_000, 5_000] as const

/** Keeps the one stream of pictures open, as long as the page is. */
export class LiveConnection {
  private readonly url: URL
  private readonly tokens: Tokens
  private readonly listeners = new Set<() => void>()
  private stream: AbortController | undefined
  private attempts = 0
  private timer: number | undefined
  private watchdog: number | undefined
  live: Live = {
    connection: { kind: 'connecting' },
    picture: undefined,
    pictureAtMs: undefined,
    samples: [],
    events: [],
  }

  constructor(url: URL, tokens: Tokens) {
    this.url = url
    this.tokens = tokens
  }

  subscribe(listener: () => void): () => void {
    this.listeners.add(listener)
    return () => this.listeners.delete(listener)
  }

  /** Connects now: at the beginning, with another token, or because somebody asks for it. */
  connect(): void {
    clearTimeout(this.timer)
    this.stream?.abort()
    const stream = new AbortController()
    this.stream = stream
    this.read(stream.signal).then(
      () => this.onEnd(stream, { kind: 'lost', message: 'The node ended the connection' }),
      (error: unknown) => this.onEnd(stream, failureOf(error)),
    )
  }

  private async read(signal: AbortSignal): Promise<void> {
    this.watch()
    const token = this.tokens.read
    const headers = token === undefined ? {} : { Authorization: `Bearer ${token}` }
    const response = await fetch(this.url, { headers, signal, cache: 'no-store' })
    if (!response.ok || response.body === null) throw await Refusal.of(response)
    const parser = new EventStreamParser()
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader()
    for (;;) {
      const { done, value } = await reader.read()
      if (done) return
      for (const { event, data } of parser.push(value)) this.onEvent(event, JSON.parse(data))
      this.watch()
    }
  }

  /** A connection on which nothing comes is as good as none: the other side may be gone without a word. */
  private watch(): void {
    clearTimeout(this.watchdog)
    this.watchdog = window.setTimeout(() => this.connect(), 2 * staleMs)
  }

  private onEvent(event: string, data: unknown): void {
    this.attempts = 0
    if (event === 'history') {
      const { samples, events } = data as PictureHistory
      this.change({
        samples: mergeSamples(this.live.samples, samples, samplesMax),
        events: mergeEvents(this.live.events, events, eventsMax),
      })
    } else if (event === 'picture') {
      const picture = data as LivePicture
      this.change({
        connection: { kind: 'live' },
        picture,
        pictureAtMs: performance.now(),
        samples: mergeSamples(this.live.samples, [picture.sample], samplesMax),
        events: mergeEvents(this.live.events, picture.events, eventsMax),
      })
    } else if (event === 'failure') {
      this.change({ connection: { kind: 'refused', message: messageOf(data) } })
    }
  }

  private onEnd(stream: AbortController, connection: Connection): void {
    // Another one has taken its place.
    if (this.stream !== stream) return
    clearTimeout(this.watchdog)
    this.change({ connection })
    if (connection.kind === 'token') return
    const waitMs = retryMs[Math.min(this.attempts, retryMs.length - 1)]!
    this.attempts += 1
    this.timer = window.setTimeout(() => this.connect(), waitMs)
  }

  private change(change: Partial<Live>): void {
    this.live = { ...this.live, ...change }
    for (const listener of this.listeners) listener()
  }
}

/** The node answered, with a coded error. */
export class Refusal extends Error {
  readonly status: number
  readonly code: string | undefined
  readonly hint: string | undefined
  readonly outcome: string | undefined

  private constructor(status: number, body: Readonly<Record<string, unknown>>) {
    super(typeof body.message === 'string' ? body.message : `it answered with status ${status}`)
    this.status = status
    this.code = typeof body.code === 'string' ? body.code : undefined
    this.hint = typeof body.hint === 'string' ? body.hint : undefined
    this.outcome = typeof body.outcome === 'string' ? body.outcome : undefined
  }

  static async of(response: Response): Promise<Refusal> {
    const body: unknown = await response.json().catch(() => undefined)
    return Refusal.from(response.status, typeof body === 'object' && body !== null ? { ...body } : {})
  }

  static from(status: number, body: Readonly<Record<string, unknown>>): Refusal {
    return new Refusal(status, body)
  }
}

function failureOf(error: unknown): Connection {
  if (!(error instanceof Refusal)) return { kind: 'lost', message: 'The node cannot be reached' }
  if (error.status === 401 || error.status === 403) return { kind: 'token', message: error.message }
  return { kind: 'refused', message: messageOf(error) }
}

function messageOf(error: unknown): string {
  const { message, hint } = error as { readonly message?: string; readonly hint?: string }
  return `${message ?? 'it has no picture'}${hint === undefined ? '' : ` (${hint})`}.`
}
