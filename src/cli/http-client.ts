/** Requests to a node over kept-alive connections, with what is known of those that fail. */
import { Agent, type IncomingHttpHeaders, type IncomingMessage, request } from 'node:http'
import { Agent as SecureAgent, request as secureRequest } from 'node:https'
import type { Outcome } from '../core/failure.js'
import { UnderstudyError } from '../errors.js'
import type { ClientTls } from './node-client.js'

export interface HttpRequest {
  readonly method: 'GET' | 'PUT' | 'POST' | 'DELETE'
  /** Path and query, percent-encoded. */
  readonly path: string
  readonly body?: string | Uint8Array
  readonly headers?: Readonly<Record<string, string>>
  readonly timeoutMs?: number
}

export interface HttpAnswer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
}

/** What a node said about a request that it did not carry out. */
export interface Refusal {
  readonly code: string
  readonly message: string
  readonly hint: string | undefined
  readonly outcome: Outcome
}

const answerBytesMax = 4 * 1024 * 1024

/** The request got no answer. `outcome` says whether a write in it may have happened. */
export class NoAnswer extends UnderstudyError {}

export class HttpClient {
  private readonly agent: Agent
  private readonly secureAgent: SecureAgent
  private readonly timeoutMs: number

  /** `tls`: for addresses with `https://`; without an authority those of the system are taken. */
  constructor(options: { readonly connectionsMax: number; readonly timeoutMs: number; readonly tls?: ClientTls }) {
    this.timeoutMs = options.timeoutMs
    const kept = { keepAlive: true, maxSockets: options.connectionsMax }
    this.agent = new Agent(kept)
    this.secureAgent = new SecureAgent({ ...kept, ...options.tls })
  }

  /** The whole answer, whatever its status is. */
  async send(url: string, what: HttpRequest): Promise<HttpAnswer> {
    const answer = await this.open(url, what)
    const pieces: Buffer[] = []
    let bytes = 0
    try {
      for await (const piece of answer) {
        bytes += (piece as Buffer).length
        if (bytes > answerBytesMax) throw new Error(`the answer is longer than ${answerBytesMax} bytes`)
        pieces.push(piece as Buffer)
      }
    } catch (error) {
      throw noAnswer(url, what, error)
    }
    return { status: answer.statusCode ?? 0, headers: answer.headers, body: Buffer.concat(pieces) }
  }

  /** The answer as a stream that the caller reads or destroys. */
  open(url: string, what: HttpRequest): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const { method, path, body } = what
      const length = body === undefined ? 0 : Buffer.byteLength(body)
      const address = new URL(path, url)
      const isSecure = address.protocol === 'https:'
      const outgoing = (isSecure ? secureRequest : request)(address, {
        method,
        agent: isSecure ? this.secureAgent : this.agent,
        headers: { ...what.headers, ...(length > 0 ? { 'content-length': length } : {}) },
      })
      const timeoutMs = what.timeoutMs ?? this.timeoutMs
      outgoing.setTimeout(timeoutMs, () => outgoing.destroy(new Error(`no answer within ${timeoutMs} ms`)))
      outgoing.on('response', resolve)
      outgoing.on('error', (error) => reject(noAnswer(url, what, error)))
      outgoing.end(body)
    })
  }

  /** The answer's JSON; throws what the node said if it refused. */
  async json<T>(url: string, what: HttpRequest): Promise<T> {
    const answer = await this.send(url, what)
    if (answer.status >= 200 && answer.status < 300) return JSON.parse(answer.body.toString()) as T
    const { code, message, hint, outcome } = refusalOf(answer)
    throw new NoAnswer('UNAVAILABLE', `${what.method} ${url}${what.path}: ${code}: ${message}`, {
      outcome,
      ...(hint === undefined ? {} : { hint }),
    })
  }

  close(): void {
    this.agent.destroy()
    this.secureAgent.destroy()
  }
}

export function refusalOf(answer: HttpAnswer): Refusal {
  let said: Record<string, unknown> = {}
  try {
    const parsed: unknown = JSON.parse(answer.body.toString())
    if (typeof parsed === 'object' && parsed !== null) said = parsed as Record<string, unknown>
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
  }
  const { code, message, hint, outcome } = said
  return {
    code: typeof code === 'string' ? code : `HTTP_${answer.status}`,
    message: typeof message === 'string' ? message : answer.body.subarray(0, 200).toString(),
    hint: typeof hint === 'string' ? hint : undefined,
    // An answer that does not say it leaves it open.
    outcome: outcome === 'none' || outcome === 'done' ? outcome : 'unknown',
  }
}

/** Only a connection that was never made proves that nothing has happened. */
function noAnswer(url: string, what: HttpRequest, error: unknown): NoAnswer {
  const { syscall, message } = error as NodeJS.ErrnoException
  return new NoAnswer('UNAVAILABLE', `${what.method} ${url}${what.path.slice(0, 80)}: ${message}`, {
    outcome: syscall === 'connect' ? 'none' : 'unknown',
    cause: error,
  })
}
