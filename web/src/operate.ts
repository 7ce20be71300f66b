import { Refusal } from './live.js'
import { formatBytes, plural } from './model/format.js'
import type { Tokens } from './tokens.js'

export interface Result {
  readonly tone: 'good' | 'warn' | 'bad'
  readonly title: string
  readonly text: string
  readonly code?: string
  readonly hint?: string
}

/** The node gives up before that; without an answer by then nobody here knows what happened. */
const switchoverTimeoutMs = 10_000
const answerTimeoutMs = 25_000
/** All data are read; it ends sooner when the dialog is left. */
const verifyTimeoutMs = 3_600_000

interface Switched {
  readonly epoch: string
  readonly primary: string
  readonly pauseMs: number
}

export async function switchover(to: string, tokens: Tokens, signal: AbortSignal): Promise<Result> {
  try {
    const body = JSON.stringify({ to, timeoutMs: switchoverTimeoutMs })
    const limit = AbortSignal.any([signal, AbortSignal.timeout(answerTimeoutMs)])
    const response = await post('v1/switchover', body, tokens, limit)
    const { epoch, primary, pauseMs } = (await response.json()) as Switched
    const pause = `Writes paused for ${Math.round(pauseMs)} ms; none was lost.`
    return { tone: 'good', title: `${primary} is primary now`, text: `Epoch ${epoch}. ${pause}` }
  } catch (error) {
    return failed(error, 'The switchover did not happen', 'Whether it happened is not known')
  }
}

interface VerifyProgress {
  readonly entries: number
  readonly bytes: number
  readonly bytesExpected?: number
  readonly differences: number
}

interface Verified {
  readonly verdict: 'equal' | 'different' | 'incomplete'
  readonly position?: string | null
  readonly entries: number
  readonly nodes: ReadonlyArray<{
    readonly node: string
    readonly differences: number
    readonly more: boolean
    readonly failure?: { readonly message: string }
  }>
  readonly differences: ReadonlyArray<{
    readonly node: string
    readonly family: string
    readonly key?: string
    readonly keyBase64?: string
    readonly kind: string
  }>
}

type VerifyLine =
  | ({ readonly type: 'progress' } & VerifyProgress)
  | ({ readonly type: 'result' } & Verified)
  | { readonly type: 'error'; readonly error: Readonly<Record<string, unknown>> }

const unfinished = 'Nothing was compared to the end'
const keysShownMax = 5

/** Calls `onProgress` with a sentence while it goes on. */
export async function verify(tokens: Tokens, signal: AbortSignal, onProgress: (text: string) => void): Promise<Result> {
  try {
    const limit = AbortSignal.any([signal, AbortSignal.timeout(verifyTimeoutMs)])
    const response = await post('v1/verify', '{}', tokens, limit, 'application/x-ndjson')
    for await (const text of linesOf(response)) {
      const line = JSON.parse(text) as VerifyLine
      if (line.type === 'progress') onProgress(progressed(line))
      else if (line.type === 'error') return refused(Refusal.from(response.status, line.error), unfinished, unfinished)
      else return verified(line)
    }
    return { tone: 'bad', title: unfinished, text: 'The answer ended before the result.' }
  } catch (error) {
    if (error instanceof Refusal && (error.status === 404 || error.status === 501 || error.status === 405)) {
      return {
        tone: 'warn',
        title: 'This node cannot verify',
        text: 'Its version does not have that command. Nothing was compared.',
        ...(error.code === undefined ? {} : { code: error.code }),
      }
    }
    return failed(error, unfinished, unfinished)
  }
}

async function* linesOf(response: Response): AsyncGenerator<string> {
  if (response.body === null) return
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader()
  let rest = ''
  for (;;) {
    const { done, value } = await reader.read()
    const lines = (rest + (value ?? '')).split('\n')
    rest = done ? '' : (lines.pop() ?? '')
    for (const line of lines) if (line !== '') yield line
    if (done) return
  }
}

function progressed({ entries, bytes, bytesExpected, differences }: VerifyProgress): string {
  const all = bytesExpected === undefined ? '' : ` of about ${formatBytes(Math.max(bytes, bytesExpected))}`
  return `Comparing: ${plural(entries, 'key')}, ${formatBytes(bytes)}${all}, ${plural(differences, 'difference')}.`
}

function verified({ verdict, position, nodes, entries, differences }: Verified): Result {
  const compared = `${plural(entries, 'key')} compared`
  const at = typeof position === 'string' ? ` at position ${position}` : ''
  if (verdict === 'equal') return { tone: 'good', title: 'All nodes hold the same', text: `${compared}${at}.` }
  const details = nodes
    .filter((node) => node.differences > 0 || node.failure !== undefined)
    .map(({ node, differences: count, more, failure }) =>
      failure === undefined
        ? `${node} has ${more ? 'more than ' : ''}${plural(count, 'difference')}`
        : `${node}: ${failure.message}`,
    )
    .join('; ')
  const keys = differences
    .slice(0, keysShownMax)
    .map(
      ({ node, family, key, keyBase64, kind }) =>
        `${key ?? keyBase64 ?? 'the whole family'} in ${family} (${node}: ${kind})`,
    )
  const named = keys.length === 0 ? '' : ` Among them: ${keys.join(', ')}.`
  if (verdict === 'different') {
    const hint =
      '`understudy verify` names every key that differs; erase the data of the node that is wrong, and it is built anew'
    return { tone: 'bad', title: 'The nodes differ', text: `${details}. ${compared}${at}.${named}`, hint }
  }
  return { tone: 'warn', title: 'Not every node could be compared', text: `${details}. ${compared}${at}.${named}` }
}

function failed(error: unknown, title: string, unknownTitle: string): Result {
  if (error instanceof Refusal) return refused(error, title, unknownTitle)
  const text =
    error instanceof DOMException && error.name === 'TimeoutError'
      ? 'The node did not answer in time.'
      : 'The connection to the node broke.'
  return { tone: 'bad', title: unknownTitle, text, hint: 'look at the roles of the nodes before you try again' }
}

function refused({ message, code, hint, outcome }: Refusal, title: string, unknownTitle: string): Result {
  return {
    tone: 'bad',
    title: outcome === 'unknown' ? unknownTitle : title,
    text: message,
    ...(code === undefined ? {} : { code }),
    ...(hint === undefined ? {} : { hint }),
  }
}

async function post(
  path: string,
  body: string,
  tokens: Tokens,
  signal: AbortSignal,
  accept = 'application/json',
): Promise<Response> {
  const token = tokens.admin
  const response = await fetch(new URL(path, document.baseURI), {
    method: 'POST',
    headers: {
      'Content-Type': 'application/json',
      Accept: accept,
      ...(token === undefined ? {} : { Authorization: `Bearer ${token}` }),
    },
    body,
    signal,
    cache: 'no-store',
  })
  if (!response.ok) throw await Refusal.of(response)
  return response
}
