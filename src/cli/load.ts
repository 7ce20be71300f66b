/** Writes to a node over HTTP as many clients would, and keeps the books on what became of every write. */
import type { Outcome } from '../core/failure.js'
import { invariant } from '../core/invariant.js'
import { limits } from '../core/limits.js'
import { UnderstudyError } from '../errors.js'
import { type HttpAnswer, HttpClient, type HttpRequest, NoAnswer, refusalOf } from './http-client.js'
import { counterName, keyName, valueText } from './load-content.js'
import { LoadLedger, type LoadWrite, type WriteOutcome } from './load-ledger.js'
import type { ClientTls } from './node-client.js'

export interface LoadOptions {
  /** Requests in flight. */
  readonly writers: number
  readonly valueBytes: number
  /** Operations per second at most; absent: as fast as the node answers. */
  readonly operationsPerSecond?: number
  /** Of 100 requests, how many are batches, and of how many keys. */
  readonly batchPercent: number
  readonly batchKeys: number
  /** Keys that are overwritten again and again. */
  readonly counters: number
  readonly requestTimeoutMs?: number
  /** For targets with `https://`. */
  readonly tls?: ClientTls
  /** Of every request: who asks. */
  readonly headers?: Readonly<Record<string, string>>
  /** How long a request took from its first attempt to its acknowledgement, and of how many operations it was. */
  readonly onAcknowledged?: (ms: number, operations: number) => void
  /** 0 to 1, for the choice between single writes, batches and counters. */
  readonly random: () => number
}

/** The first write that was acknowledged by a target. */
export interface FirstAcknowledged {
  readonly atMs: number
}

export interface LoadFailure {
  count: number
  /** The newest of them in words. */
  message: string
}

interface Target {
  /** Asked in turn. */
  readonly urls: readonly string[]
  /** Resolved when writes go elsewhere. */
  readonly left: Promise<void>
  readonly leave: () => void
  readonly first: Promise<FirstAcknowledged>
  readonly onAcknowledged: (atMs: number) => void
}

type Turn = { readonly write: LoadWrite; readonly request: HttpRequest }

const retryMs = 20

export class Load {
  readonly ledger: LoadLedger
  /** Answers that were no success, by code and outcome, with how often they came (retries included). */
  readonly failures = new Map<string, LoadFailure>()
  lastAcknowledgedMs: number | undefined
  /** Longest time without an acknowledgement, begun or ended since `watchGap`. */
  longestGapMs = 0
  private readonly options: LoadOptions
  private readonly client: HttpClient
  private target: Target
  private running: Promise<unknown> | undefined
  private readonly underWay = new Set<Promise<void>>()
  private stopping = false
  private nextSlotMs = 0
  private attempts = 0

  constructor(urls: string | readonly string[], options: LoadOptions) {
    invariant(options.writers <= limits.loadWritersMax, 'more writers than the load may have')
    this.options = options
    this.ledger = new LoadLedger(options.counters)
    this.client = new HttpClient({
      connectionsMax: options.writers,
      timeoutMs: options.requestTimeoutMs ?? limits.writeTimeoutMs + limits.requestTimeoutMs,
      ...(options.tls === undefined ? {} : { tls: options.tls }),
    })
    this.target = createTarget(urls)
  }

  /** Resolves with the first write that the present target acknowledges; rejects when there is none in time. */
  async untilFirstAcknowledged(timeoutMs = 60_000): Promise<FirstAcknowledged> {
    const { urls, first } = this.target
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<undefined>((resolve) => {
      timer = setTimeout(() => resolve(undefined), timeoutMs)
    })
    const found = await Promise.race([first, late])
    clearTimeout(timer)
    if (found !== undefined) return found
    throw new UnderstudyError('TIMEOUT', `${urls.join(', ')} acknowledged no write within ${timeoutMs} ms`, {
      hint: this.describeFailures(),
    })
  }

  /** The answers that were no success, one line for each kind. */
  describeFailures(): string {
    return [...this.failures].map(([name, { count, message }]) => `${count}x ${name}: ${message}`).join('\n')
  }

  /**
   * Writes go to another node, or to several in turn, from now on; what was refused before is sent there. Requests that
   * the old target has not answered stay under way, and whatever comes of them is noted, but no writer waits for them.
   */
  switchTo(urls: string | readonly string[]): void {
    const old = this.target
    this.target = createTarget(urls)
    old.leave()
  }

  /** From now on `longestGapMs` is measured; a gap that has begun before counts with all of its length. */
  watchGap(): void {
    this.longestGapMs = 0
  }

  /** Writes `keys` new keys in batches and resolves when all of them are acknowledged. */
  async fill(keys: number): Promise<void> {
    invariant(this.running === undefined, 'the load is running')
    const end = this.ledger.keys + keys
    this.stopping = false
    await this.runWriters(() => {
      const left = end - this.ledger.keys
      return left <= 0 ? undefined : this.batch(this.ledger.begin(Math.min(left, this.options.batchKeys)))
    })
  }

  /** Begins the mix of writes that goes on until `stop`. */
  start(): void {
    invariant(this.running === undefined, 'the load is running')
    this.stopping = false
    this.nextSlotMs = performance.now()
    this.running = this.runWriters(() => this.nextTurn())
    // Seen by `stop`; a writer fails only by a bug.
    this.running.catch(() => undefined)
  }

  /** Resolves when the last request is answered, whoever it was sent to. */
  async stop(): Promise<void> {
    this.stopping = true
    const { running } = this
    this.running = undefined
    await running
    await Promise.all(this.underWay)
  }

  /** Ends the load where it stands; `stop` first where the books are to be complete. */
  close(): void {
    this.stopping = true
    this.client.close()
  }

  private async runWriters(next: () => Turn | undefined): Promise<void> {
    const writer = async () => {
      while (!this.stopping) {
        const turn = next()
        if (turn === undefined) return
        await this.pace(turn.write)
        const { left } = this.target
        const startMs = performance.now()
        const done = this.carryOut(turn.request).then((outcome) => {
          this.ledger.end(turn.write, outcome)
          if (outcome === 'acknowledged') {
            this.options.onAcknowledged?.(performance.now() - startMs, operationsOf(turn.write))
          }
          this.underWay.delete(done)
        })
        this.underWay.add(done)
        await Promise.race([done, left])
      }
    }
    await Promise.all(Array.from({ length: this.options.writers }, writer))
  }

  private nextTurn(): Turn {
    const { batchPercent, batchKeys, counters, random } = this.options
    const counter = Math.floor(random() * counters)
    const choice = random() * 100
    if (choice < batchPercent) return this.batch(this.ledger.begin(batchKeys, counter))
    // Single writes: half of them to new keys, half to counters that nobody else is writing now.
    if (choice >= (100 + batchPercent) / 2) {
      const write = this.ledger.begin(0, counter)
      if (write.counter !== undefined) {
        return this.single(counterName(write.counter), write, write.counter, write.version)
      }
    }
    const write = this.ledger.begin(1)
    return this.single(keyName(write.from), write, write.from, 0)
  }

  private single(name: string, write: LoadWrite, number: number, version: number): Turn {
    const body = valueText(number, version, this.options.valueBytes)
    return { write, request: { method: 'PUT', path: `/v1/kv/${encodeURIComponent(name)}`, body } }
  }

  private batch(write: LoadWrite): Turn {
    const { valueBytes } = this.options
    const operations: Array<{ readonly type: 'put'; readonly key: string; readonly value: string }> = []
    for (let key = write.from; key < write.to; key++) {
      operations.push({ type: 'put', key: keyName(key), value: valueText(key, 0, valueBytes) })
    }
    if (write.counter !== undefined) {
      const { counter, version } = write
      operations.push({ type: 'put', key: counterName(counter), value: valueText(counter, version, valueBytes) })
    }
    return { write, request: { method: 'POST', path: '/v1/batch', body: JSON.stringify(operations) } }
  }

  /** Waits for the turn that the rate gives; a node that was slow is not made up for by a burst. */
  private async pace(write: LoadWrite): Promise<void> {
    const { operationsPerSecond } = this.options
    if (operationsPerSecond === undefined || this.running === undefined) return
    const operations = operationsOf(write)
    const nowMs = performance.now()
    const slotMs = Math.max(this.nextSlotMs, nowMs)
    this.nextSlotMs = slotMs + (operations * 1000) / operationsPerSecond
    if (slotMs > nowMs) await sleep(slotMs - nowMs)
  }

  /** Sent again only when it has certainly not happened. */
  private async carryOut(request: HttpRequest): Promise<WriteOutcome> {
    for (;;) {
      const { target } = this
      const outcome = await this.attempt(target, request)
      if (outcome === 'done') {
        const nowMs = performance.now()
        this.longestGapMs = Math.max(this.longestGapMs, nowMs - (this.lastAcknowledgedMs ?? nowMs))
        this.lastAcknowledgedMs = nowMs
        target.onAcknowledged(nowMs)
        return 'acknowledged'
      }
      if (outcome === 'unknown') return 'unknown'
      if (this.stopping) return 'refused'
      await sleep(retryMs)
    }
  }

  private async attempt(target: Target, request: HttpRequest): Promise<Outcome> {
    const { headers } = this.options
    let answer: HttpAnswer
    try {
      const url = target.urls[this.attempts++ % target.urls.length]!
      answer = await this.client.send(url, headers === undefined ? request : { ...request, headers })
    } catch (error) {
      if (!(error instanceof NoAnswer)) throw error
      this.countFailure(error.outcome === 'none' ? 'not connected' : 'no answer', error)
      return error.outcome
    }
    if (answer.status >= 200 && answer.status < 300) return 'done'
    const refusal = refusalOf(answer)
    this.countFailure(refusal.code, refusal)
    return refusal.outcome
  }

  private countFailure(what: string, failure: { readonly outcome: Outcome; readonly message: string }): void {
    const name = `${what} (${failure.outcome})`
    const known = this.failures.get(name)
    if (known === undefined) this.failures.set(name, { count: 1, message: failure.message })
    else {
      known.count += 1
      known.message = failure.message
    }
  }
}

function createTarget(urls: string | readonly string[]): Target {
  let acknowledged: (first: FirstAcknowledged) => void
  let leave: () => void
  const first = new Promise<FirstAcknowledged>((resolve) => {
    acknowledged = resolve
  })
  const left = new Promise<void>((resolve) => {
    leave = resolve
  })
  return {
    urls: typeof urls === 'string' ? [urls] : urls,
    first,
    left,
    onAcknowledged: (atMs) => acknowledged({ atMs }),
    leave: () => leave(),
  }
}

function operationsOf(write: LoadWrite): number {
  return write.to - write.from + (write.counter === undefined ? 0 : 1)
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
