import { request as httpRequest, type IncomingMessage } from 'node:http'
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
  const parsed = parse(answer)
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
