import { request as httpRequest, type IncomingHttpHeaders, type IncomingMessage } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { type FailureCode, failureCodes, type Outcome } from '../core/failure.js'
import { limits } from '../core/limits.js'
import { UnderstudyError } from '../errors.js'
import type { LossEstimate, NodeStatus } from '../runtime/handle.js'

export interface NodeAddress {
  /** With scheme, without a slash at the end. */
  readonly url: string
  readonly secret: string | undefined
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
    const response = await open(node.url, 'GET', path, undefined, node.secret, signal, '*/*')
    return { status: response.statusCode ?? 0, headers: response.headers, text: await readAll(response, node.url) }
  } catch (error) {
    if (error instanceof UnderstudyError) throw error
    throw noAnswer(node.url, error, signal.aborted, false)
  }
}

/** One node's comparison with all others: lines of progress, then the result. Ends when `signal` does. */
export async function askVerify(
  node: NodeAddress,
  options: { readonly shard: string | undefined; readonly body: unknown; readonly signal: AbortSignal },
  onLine: (line: Readonly<Record<string, unknown>>) => void,
): Promise<void> {
  const { url, secret } = node
  let response: IncomingMessage
  try {
    const path = `/v1/verify${query(options.shard)}`
    const text = JSON.stringify(options.body)
    response = await open(url, 'POST', path, text, secret, options.signal, 'application/x-ndjson')
  } catch (error) {
    throw noAnswer(url, error, false, false)
  }
  const status = response.statusCode ?? 0
  if (status < 200 || status >= 300) {
    const parsed = parse(await readAll(response, url))
    throw parsed === undefined
      ? notANode(url, `it answers ${status} without a JSON object`)
      : refusal(parsed, url, status)
  }
  let rest = ''
  try {
    for await (const piece of response as AsyncIterable<Buffer>) {
      rest += piece.toString('latin1')
      const lines = rest.split('\n')
      rest = lines.pop()!
      if (rest.length > limits.answerBytesMax) throw notANode(url, 'a line of its answer does not end')
      for (const line of lines) {
        const parsed = parse(Buffer.from(line, 'latin1').toString())
        if (parsed === undefined) throw notANode(url, 'its answer is no NDJSON')
        if (parsed.type === 'error') throw refusal(parsed.error as Record<string, unknown>, url, status)
        onLine(parsed)
      }
    }
  } catch (error) {
    if (error instanceof UnderstudyError) throw error
    throw noAnswer(url, error, false, false)
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
  const { url, secret } = node
  const text = body === undefined ? undefined : JSON.stringify(body)
  // The node's own time-out comes first, so that its answer says what happened.
  const signal = AbortSignal.timeout(method === 'GET' ? timeoutMs : timeoutMs + limits.askTimeoutMs)
  let status: number
  let answer: string
  try {
    const response = await open(url, method, path, text, secret, signal)
    status = response.statusCode ?? 0
    answer = await readAll(response, url)
  } catch (error) {
    if (error instanceof UnderstudyError) throw error
    throw noAnswer(url, error, signal.aborted, method === 'POST')
  }
  const parsed = parse(answer)
  if (parsed === undefined) throw notANode(url, `it answers ${status} without a JSON object`)
  if (status >= 200 && status < 300) return parsed
  throw refusal(parsed, url, status)
}

function open(
  url: string,
  method: string,
  path: string,
  body: string | undefined,
  secret: string | undefined,
  signal: AbortSignal,
  accept = 'application/json',
): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const send = url.startsWith('https:') ? httpsRequest : httpRequest
    const outgoing = send(`${url}${path}`, {
      method,
      signal,
      agent: false,
      headers: {
        accept,
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
