/**
 * Many clients that write and read through all nodes at once over kept-alive connections and note what they saw. Half
 * of them stay with their node whatever happens to it, the others go where they are answered.
 */
import { setMaxListeners } from 'node:events'
import { HttpClient, NoAnswer, refusalOf } from '#src/cli/http-client.js'
import { parsePosition } from '#src/core/position.js'
import type { RegisterOperation, RegisterOutcome } from '#src/sim/register-history.js'
import type { Monitor } from './monitor.js'
import type { Acknowledged, RoundBook } from './round-book.js'
import { pass } from './times.js'

export interface ClientsOptions {
  readonly nodes: readonly string[]
  readonly urlOf: (node: string) => string
  readonly monitor: Monitor
  readonly random: () => number
  readonly writers: number
  readonly readers: number
  /** Of all writers together, and of all readers. */
  readonly writesPerSecond: number
  readonly readsPerSecond: number
  /** Keys that are overwritten, deleted and read. */
  readonly registers: number
  readonly timeoutMs: number
  /**
   * `linearizable`: nodes that cannot answer so refuse. `watched`: with the static coordinator, which promises nothing;
   * a read counts if its node was primary of one epoch before and after it.
   */
  readonly reads: 'linearizable' | 'watched'
}

/** After an answer that was no success. */
const backOffMs = 25
const probeEveryMs = 20
const probesMax = 100
const filler = '.'.repeat(100)

export class Clients {
  private readonly options: ClientsOptions
  private readonly client: HttpClient
  private running: Promise<unknown> | undefined
  private stopping = new AbortController()

  constructor(options: ClientsOptions) {
    this.options = options
    const { writers, readers, timeoutMs } = options
    this.client = new HttpClient({ connectionsMax: writers + readers + probesMax, timeoutMs })
  }

  start(book: RoundBook): void {
    const { writers, readers, nodes } = this.options
    this.stopping = new AbortController()
    const { signal } = this.stopping
    // Each client waits for it.
    setMaxListeners(0, signal)
    const home = (index: number) => nodes[index % nodes.length]!
    const isFaithful = (index: number) => Math.floor(index / nodes.length) % 2 === 0
    this.running = Promise.all([
      this.probe(book, signal),
      ...Array.from({ length: writers }, (_, index) => this.write(book, index, home(index), isFaithful(index), signal)),
      ...Array.from({ length: readers }, (_, index) => this.read(book, index, home(index), isFaithful(index), signal)),
    ])
    // Seen by `stop`; a client fails only by a bug of the test.
    this.running.catch(() => undefined)
  }

  /** Resolves when the last request is answered or given up. */
  async stop(): Promise<void> {
    this.stopping.abort()
    await this.running
    this.running = undefined
  }

  close(): void {
    this.stopping.abort()
    this.client.close()
  }

  /** What is there at the end is part of the history: a write that was lost without being read later is found too. */
  async readAll(book: RoundBook, primary: string): Promise<void> {
    for (let index = 0; index < this.options.registers; index++) {
      const operation = await this.get(book, book.registerKey(index), `end at ${primary}`, primary)
      if (operation === undefined) throw new Error(`${primary} does not answer a read at the end of the round`)
      book.operations.push(operation)
    }
  }

  private async write(book: RoundBook, index: number, home: string, faithful: boolean, signal: AbortSignal) {
    const { nodes, random, registers, writers, writesPerSecond } = this.options
    let node = home
    let nextMs = performance.now() + random() * ((1000 * writers) / writesPerSecond)
    while (!signal.aborted) {
      await pass(nextMs - performance.now(), signal)
      if (signal.aborted) return
      nextMs = Math.max(nextMs, performance.now() - 100) + (1000 * writers) / writesPerSecond
      const client = `writer ${index}@${node}`
      const choice = random()
      const key = choice < 0.5 ? undefined : book.registerKey(Math.floor(random() * registers))
      const outcome =
        key === undefined
          ? await this.writeUnique(book, client, node)
          : await this.writeRegister(book, key, client, node, choice < 0.95 ? 'put' : 'del')
      if (outcome === 'ok') continue
      await pass(backOffMs, signal)
      if (!faithful) node = nodes[(nodes.indexOf(node) + 1) % nodes.length]!
    }
  }

  /** Writes that wait for no other one, to all nodes in turn: they show when the first is taken again. */
  private async probe(book: RoundBook, signal: AbortSignal) {
    const { nodes } = this.options
    const open = new Set<Promise<unknown>>()
    for (let index = 0; !signal.aborted; index++) {
      const node = nodes[index % nodes.length]!
      if (open.size < probesMax) {
        const done = this.writeUnique(book, `probe@${node}`, node).finally(() => open.delete(done))
        open.add(done)
      }
      await pass(probeEveryMs, signal)
    }
    await Promise.all(open)
  }

  private async read(book: RoundBook, index: number, home: string, faithful: boolean, signal: AbortSignal) {
    const { monitor, random, registers, readers, readsPerSecond } = this.options
    let nextMs = performance.now() + random() * ((1000 * readers) / readsPerSecond)
    while (!signal.aborted) {
      await pass(nextMs - performance.now(), signal)
      if (signal.aborted) return
      nextMs = Math.max(nextMs, performance.now() - 100) + (1000 * readers) / readsPerSecond
      const node = faithful ? home : (monitor.primary ?? home)
      const key = book.registerKey(Math.floor(random() * registers))
      const before = monitor.epochOf(node)
      const operation = await this.get(book, key, `reader ${index}@${node}`, node)
      if (operation === undefined) await pass(backOffMs, signal)
      else if (operation.confirmed) book.operations.push(operation)
      else if (before === undefined) book.unconfirmed += 1
      else
        monitor.confirm(node, before, operation.returnedMs, (confirmed) => {
          if (confirmed) book.operations.push(operation)
          else book.unconfirmed += 1
        })
    }
  }

  private async writeUnique(book: RoundBook, client: string, node: string): Promise<RegisterOutcome> {
    const number = book.uniqueBegun++
    const body = `${number}${filler}`
    const { outcome } = await this.send(book, client, node, 'PUT', book.uniqueKey(number), body)
    book.unique.push({ number, outcome })
    return outcome
  }

  private async writeRegister(
    book: RoundBook,
    key: string,
    client: string,
    node: string,
    kind: 'put' | 'del',
  ): Promise<RegisterOutcome> {
    const value = kind === 'put' ? `v${book.valuesBegun++}` : undefined
    const sent = await this.send(book, client, node, kind === 'put' ? 'PUT' : 'DELETE', key, value)
    book.operations.push({ key, client, kind, value, ...sent })
    return sent.outcome
  }

  private async send(
    book: RoundBook,
    client: string,
    node: string,
    method: 'PUT' | 'DELETE',
    key: string,
    body: string | undefined,
  ): Promise<{ readonly outcome: RegisterOutcome; readonly calledMs: number; readonly returnedMs: number }> {
    const calledMs = performance.now()
    const outcome = await this.attempt(book, { client, key, calledMs }, node, {
      method,
      path: `/v1/kv/${encodeURIComponent(key)}`,
      ...(body === undefined ? {} : { body }),
    })
    if (outcome === 'unknown') book.unknown += 1
    if (outcome === 'none') book.refused += 1
    return { outcome, calledMs, returnedMs: performance.now() }
  }

  private async attempt(
    book: RoundBook,
    write: Pick<Acknowledged, 'client' | 'key' | 'calledMs'>,
    node: string,
    request: Parameters<HttpClient['send']>[1],
  ): Promise<RegisterOutcome> {
    try {
      const answer = await this.client.send(this.options.urlOf(node), request)
      if (answer.status >= 200 && answer.status < 300) {
        const position = parsePosition(String(answer.headers['understudy-position']))
        if (position === undefined) throw new Error(`an acknowledgement of ${node} names no position`)
        book.acknowledge({ ...position, ...write, returnedMs: performance.now() })
        return 'ok'
      }
      const { code, outcome, message } = refusalOf(answer)
      book.fail(`write: ${code} (${outcome})`, message)
      // Committed, and not yet readable there: known to have happened, and not acknowledged.
      return outcome === 'done' ? 'unknown' : outcome
    } catch (error) {
      if (!(error instanceof NoAnswer)) throw error
      book.fail(`write: no answer (${error.outcome})`, error.message)
      return error.outcome === 'none' ? 'none' : 'unknown'
    }
  }

  /** Undefined: no answer, or a refusal. `confirmed`: the node itself says that the read is linearizable. */
  private async get(
    book: RoundBook,
    key: string,
    client: string,
    node: string,
  ): Promise<(RegisterOperation & { readonly confirmed: boolean }) | undefined> {
    const { reads, random, urlOf } = this.options
    // Some rest on the lease, some on a round trip to the set.
    const consistency = random() < 0.75 ? 'linearizable' : 'confirmed'
    const calledMs = performance.now()
    try {
      const answer = await this.client.send(urlOf(node), {
        method: 'GET',
        path: `/v1/kv/${encodeURIComponent(key)}${reads === 'linearizable' ? `?consistency=${consistency}` : ''}`,
      })
      const returnedMs = performance.now()
      const isMissing = answer.status === 404 && refusalOf(answer).code === 'UNDERSTUDY_NOT_FOUND'
      if (answer.status !== 200 && !isMissing) {
        const { code, message } = refusalOf(answer)
        book.fail(`read: ${code}`, message)
        return undefined
      }
      const value = isMissing ? undefined : answer.body.toString()
      const confirmed = reads === 'linearizable'
      return { key, client, kind: 'get', value, calledMs, returnedMs, outcome: 'ok', confirmed }
    } catch (error) {
      if (!(error instanceof NoAnswer)) throw error
      book.fail('read: no answer', error.message)
      return undefined
    }
  }
}
