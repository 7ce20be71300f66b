import { request as httpRequest, type IncomingHttpHeaders, type IncomingMessage } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { type FailureCode, failureCodes, type Outcome } from '../core/failure.js'
import { limits } from '../core/limits.js'
import { UnderstudyError } from '../errors.js'
import type { LossEstimate, NodeStatus } from '../runtime/handle.js'

export interface NodeAddress {
  /** With scheme, without a slash at the end. */
  readonly url: string
  /** The token, or the secret of the cluster: what stands behind `Bearer`. */
  readonly secret: string | undefined
  /** Of this client, for https; absent: the authorities of Node.js, and no certificate. */
  readonly tls?: ClientTls
}

export interface ClientTls {
  readonly ca?: Buffer
  readonly cert?: Buffer
  readonly key?: Buffer
}

export interface Promoted {
  readonly epoch: string
  readonly position: string
  readonly mayLose: LossEstimate | null
}

export interface SwitchedOver {
  readonly epoch: string
  readonly primary: string
  readonly pauseMs: number
}

export interface InSyncChanged {
  readonly inSync: readonly string[]
  readonly recordVersion: number
  readonly epoch: string
}

export interface OperateOptions {
  readonly shard: string | undefined
  readonly timeoutMs: number
}

export async function askStatus(node: NodeAddress, timeoutMs: number = limits.askTimeoutMs): Promise<NodeStatus> {
  const status = (await ask(node, 'GET', '/v1/status', undefined, timeoutMs)) as Partial<NodeStatus>
  if (typeof status.node === 'string' && Array.isArray(status.shards) && Array.isArray(status.members)) {
    return status as NodeStatus
  }
  throw notANode(node.url, 'its answer is no status')
}

export function askPromote(
  node: NodeAddress,
  options: OperateOptions & { readonly force: boolean },
): Promise<Promoted> {
  const { shard, timeoutMs, force } = options
  return ask(node, 'POST', `/v1/promote${query(shard)}`, { force, timeoutMs }, timeoutMs) as Promise<Promoted>
}

export function askSwitchover(
  node: NodeAddress,
  options: OperateOptions & { readonly to: string | undefined },
): Promise<SwitchedOver> {
  const { shard, timeoutMs, to } = options
  const body = { ...(to === undefined ? {} : { to }), timeoutMs }
  return ask(node, 'POST', `/v1/switchover${query(shard)}`, body, timeoutMs) as Promise<SwitchedOver>
}

export function askInSyncRemove(
  node: NodeAddress,
  options: OperateOptions & { readonly remove: string },
): Promise<InSyncChanged> {
  const { shard, timeoutMs, remove } = options
  return ask(node, 'POST', `/v1/in-sync${query(shard)}`, { remove, timeoutMs }, timeoutMs) as Promise<InSyncChanged>
}

export interface RawAnswer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly text: string
}

/** Whatever a node answers to a GET, as it is. */
export async function askRaw(
  node: NodeAddress,
  path: string,
  timeoutMs: number = limits.askTimeoutMs,
): Promise<RawAnswer> {
  const signal = AbortSignal.timeout(timeoutMs)
  try {
    const response = await open(node, 'GET', path, undefined, signal, { accept: '*/*' })
    return { status: response.statusCode ?? 0, headers: response.headers, text: await readAll(response, node.url) }
  } catch (error) {
    if (error instanceof UnderstudyError) throw error
    throw noAnswer(node.url, error, signal.aborted, false)
  }
}

/** The beginning of an answer that does not end by itself: what comes within `forMs`, and not more than `bytesMax`. */
export async function askBeginning(
  node: NodeAddress,
  path: string,
  bounds: { readonly forMs: number; readonly bytesMax: number },
): Promise<RawAnswer> {
  const over = AbortSignal.timeout(bounds.forMs)
  let response: IncomingMessage
  try {
    response = await open(node, 'GET', path, undefined, over, { accept: 'text/event-stream' })
  } catch (error) {
    throw noAnswer(node.url, error, over.aborted, false)
  }
  let text = ''
  try {
    for await (const piece of response as AsyncIterable<Buffer>) {
      text += piece.toString()
      if (text.length > bounds.bytesMax) break
    }
  } catch (error) {
    if (!over.aborted) throw noAnswer(node.url, error, false, false)
  } finally {
    response.destroy()
  }
  return { status: response.statusCode ?? 0, headers: response.headers, text }
}

/** One node's comparison with all others: lines of progress, then the result. Ends when `signal` does. */
export async function askVerify(
  node: NodeAddress,
  options: { readonly shard: string | undefined; readonly body: unknown; readonly signal: AbortSignal },
  onLine: (line: Readonly<Record<string, unknown>>) => void,
): Promise<void> {
  const body = JSON.stringify(options.body)
  const path = `/v1/verify${query(options.shard)}`
  for await (const lines of askLines(node, path, { method: 'POST', body, signal: options.signal })) {
    for (const line of lines) {
      if (line.type === 'error') throw refusal(line.error as Record<string, unknown>, node.url, 200)
      onLine(line)
    }
  }
}

/** A batch that a node commits. */
export async function askWrite(
  node: NodeAddress,
  path: string,
  body: string,
  signal: AbortSignal,
): Promise<{ readonly position: string }> {
  const late = AbortSignal.any([signal, AbortSignal.timeout(limits.writeTimeoutMs + limits.requestTimeoutMs)])
  let response: IncomingMessage
  let text: string
  try {
    response = await open(node, 'POST', path, body, late)
    text = await readAll(response, node.url)
  } catch (error) {
    if (error instanceof UnderstudyError) throw error
    throw noAnswer(node.url, error, late.aborted, true)
  }
  return checked(parse(text), node.url, response.statusCode ?? 0) as { readonly position: string }
}

/** An answer in NDJSON, as it comes; whoever stops reading ends it. */
export async function* askLines(
  node: NodeAddress,
  path: string,
  options: {
    readonly method?: 'GET' | 'POST'
    readonly body?: string
    readonly headers?: Readonly<Record<string, string>>
    readonly signal: AbortSignal
  },
): AsyncGenerator<ReadonlyArray<Readonly<Record<string, unknown>>>> {
  const { url } = node
  const { method = 'GET', body, signal, headers = {} } = options
  let response: IncomingMessage
  try {
    response = await open(node, method, path, body, signal, { ...headers, accept: 'application/x-ndjson' })
  } catch (error) {
    throw noAnswer(url, error, false, false)
  }
  try {
    const status = response.statusCode ?? 0
    if (status !== 200) checked(parse(await readAll(response, url)), url, status)
    let rest: Buffer = Buffer.alloc(0)
    for await (const piece of response as AsyncIterable<Buffer>) {
      const end = piece.lastIndexOf(0x0a)
      if (end === -1) {
        rest = Buffer.concat([rest, piece])
        if (rest.length > limits.frameBytesMax) throw notANode(url, 'a line of its answer does not end')
        continue
      }
      const whole = Buffer.concat([rest, piece.subarray(0, end)]).toString()
      rest = Buffer.from(piece.subarray(end + 1))
      yield whole.split('\n').map((line) => {
        const parsed = parse(line)
        if (parsed === undefined) throw notANode(url, 'its answer is no NDJSON')
        return parsed
      })
    }
    if (rest.length > 0) throw notANode(url, 'its answer ends within a line')
  } catch (error) {
    if (error instanceof UnderstudyError) throw error
    throw noAnswer(url, error, false, false)
  } finally {
    response.destroy()
  }
}

function query(shard: string | undefined): string {
  return shard === undefined ? '' : `?shard=${encodeURIComponent(shard)}`
}

/** The answer's JSON. A refusal is thrown as the coded error that the node sent. */
async function ask(
  node: NodeAddress,
  method: 'GET' | 'POST',
  path: string,
  body: unknown,
  timeoutMs: number,
): Promise<unknown> {
  const { url } = node
  const text = body === undefined ? undefined : JSON.stringify(body)
  // The node's own time-out comes first, so that its answer says what happened.
  const signal = AbortSignal.timeout(method === 'GET' ? timeoutMs : timeoutMs + limits.askTimeoutMs)
  let status: number
  let answer: string
  try {
    const response = await open(node, method, path, text, signal)
    status = response.statusCode ?? 0
    answer = await readAll(response, url)
  } catch (error) {
    if (error instanceof UnderstudyError) throw error
    throw noAnswer(url, error, signal.aborted, method === 'POST')
  }
  return checked(parse(answer), url, status)
}

/** The answer of a node that did what it was asked; what it refused is thrown. */
function checked(
  parsed: Record<string, unknown> | undefined,
  url: string,
  status: number,
): Readonly<Record<string, unknown>> {
  if (parsed === undefined) throw notANode(url, `it answers ${status} without a JSON object`)
  if (status >= 200 && status < 300) return parsed
  throw refusal(parsed, url, status)
}

function open(
  { url, secret, tls }: NodeAddress,
  method: string,
  path: string,
  body: string | undefined,
  signal: AbortSignal,
  headers: Readonly<Record<string, string>> = {},
): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const send = url.startsWith('https:') ? httpsRequest : httpRequest
    const outgoing = send(`${url}${path}`, {
      method,
      signal,
      agent: false,
      ...(url.startsWith('https:') ? tls : {}),
      headers: {
        accept: 'application/json',
        ...headers,
        ...(body === undefined
          ? {}
          : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }),
        ...(secret === undefined ? {} : { authorization: `Bearer ${secret}` }),
      },
    })
    outgoing.on('response', resolve)
    outgoing.on('error', reject)
    outgoing.end(body)
  })
}

async function readAll(response: IncomingMessage, url: string): Promise<string> {
  const pieces: Buffer[] = []
  let bytes = 0
  for await (const piece of response as AsyncIterable<Buffer>) {
    bytes += piece.length
    if (bytes > limits.answerBytesMax) throw notANode(url, `its answer is longer than ${limits.answerBytesMax} bytes`)
    pieces.push(piece)
  }
  return Buffer.concat(pieces).toString()
}

function parse(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}

function refusal(said: Readonly<Record<string, unknown>>, url: string, status: number): UnderstudyError {
  const { code, message, hint, outcome, retryable, primary } = said
  const failure = typeof code === 'string' ? code.replace('UNDERSTUDY_', '') : ''
  if (!(failureCodes as readonly string[]).includes(failure) || typeof message !== 'string') {
    return notANode(url, `it answers ${status} without a code of this release`)
  }
  return new UnderstudyError(failure as FailureCode, message, {
    ...(typeof hint === 'string' ? { hint } : {}),
    ...(typeof outcome === 'string' ? { outcome: outcome as Outcome } : {}),
    ...(typeof retryable === 'boolean' ? { retryable } : {}),
    ...(typeof primary === 'string' ? { primary } : {}),
  })
}

function notANode(url: string, why: string): UnderstudyError {
  return new UnderstudyError('PROTOCOL', `${url} is no node of this release: ${why}`, { hint: 'check --url' })
}

function noAnswer(url: string, cause: unknown, isLate: boolean, isChange: boolean): UnderstudyError {
  const { syscall, code, message } = cause as NodeJS.ErrnoException
  if (code === 'ERR_INVALID_CHAR') {
    return new UnderstudyError('CONFIG', 'the secret holds characters that cannot stand in a header', { cause })
  }
  if (code !== undefined && /CERT|SIGNED|ISSUER|SIGNATURE|ALTNAME/.test(code)) {
    const asked = code.startsWith('ERR_SSL_')
    return new UnderstudyError(
      'UNAUTHORIZED',
      `${url}: ${asked ? 'it does not accept the certificate of this client' : 'its certificate is not accepted'}: ${message}`,
      {
        cause,
        hint: asked
          ? 'check --cert and --key'
          : 'check --ca: it must be the authority that signed the certificate of the node',
      },
    )
  }
  if (code === 'EPROTO' || code?.startsWith('ERR_SSL_') === true) {
    return new UnderstudyError('PROTOCOL', `${url} does not speak TLS: ${message}`, { cause, hint: 'use http://' })
  }
  const neverSent = syscall === 'connect' || syscall === 'getaddrinfo'
  const outcome = isChange && !neverSent ? 'unknown' : 'none'
  if (isLate) return new UnderstudyError('TIMEOUT', `${url} does not answer in time`, { cause, outcome })
  // A name with several addresses fails with one error for each of them.
  const causes =
    cause instanceof AggregateError ? cause.errors.map((one) => (one as Error).message).join('; ') : message
  return new UnderstudyError('UNAVAILABLE', `${url} does not answer: ${causes}`, {
    cause,
    outcome,
    ...(code === 'ECONNREFUSED' ? { hint: 'no node listens there; is it running, and is --url right?' } : {}),
  })
}
