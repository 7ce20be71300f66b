import { Refusal } from './live.js'
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
    const text = await post(
      'v1/switchover',
      body,
      tokens,
      AbortSignal.any([signal, AbortSignal.timeout(answerTimeoutMs)]),
    )
    const { epoch, primary, pauseMs } = JSON.parse(text) as Switched
    const pause = `Writes paused for ${Math.round(pauseMs)} ms; none was lost.`
    return { tone: 'good', title: `${primary} is primary now`, text: `Epoch ${epoch}. ${pause}` }
  } catch (error) {
    return failed(error, 'The switchover did not happen', 'Whether it happened is not known')
  }
}

interface Verified {
  readonly verdict?: 'equal' | 'different' | 'incomplete'
  readonly position?: string
  readonly entries?: number
  readonly nodes?: ReadonlyArray<{
    readonly node: string
    readonly state?: string
    readonly differences?: number
    readonly failure?: { readonly message?: string }
  }>
}

export async function verify(tokens: Tokens, signal: AbortSignal): Promise<Result> {
  try {
    const text = await post('v1/verify', '{}', tokens, AbortSignal.any([signal, AbortSignal.timeout(verifyTimeoutMs)]))
    // Where progress is streamed, the result is the last line.
    const last = text.trim().split('\n').at(-1) ?? ''
    return verified(JSON.parse(last) as Verified)
  } catch (error) {
    if (error instanceof Refusal && (error.status === 404 || error.status === 501 || error.status === 405)) {
      return {
        tone: 'warn',
        title: 'This node cannot verify',
        text: 'Its version does not have that command. Nothing was compared.',
        ...(error.code === undefined ? {} : { code: error.code }),
      }
    }
    return failed(error, 'Nothing was compared to the end', 'Nothing was compared to the end')
  }
}

function verified(result: Verified): Result {
  const { verdict, position, nodes = [], entries } = result
  const compared = entries === undefined ? '' : ` ${entries.toLocaleString('en-US')} keys were compared.`
  const at = position === undefined ? '' : ` at position ${position}`
  if (verdict === 'equal') return { tone: 'good', title: 'All nodes hold the same', text: `Equal${at}.${compared}` }
  const details = nodes
    .filter(({ differences, failure }) => (differences ?? 0) > 0 || failure !== undefined)
    .map(({ node, differences, failure }) => `${node}: ${failure?.message ?? `${differences} differences`}`)
    .join('; ')
  if (verdict === 'different') {
    const hint = 'understudy verify names every key that differs; build the node that is wrong anew'
    return { tone: 'bad', title: 'The nodes differ', text: `They differ${at}: ${details}.${compared}`, hint }
  }
  if (verdict === 'incomplete') {
    return { tone: 'warn', title: 'Not every node could be compared', text: `${details}.${compared}` }
  }
  return { tone: 'warn', title: 'Answered', text: JSON.stringify(result) }
}

function failed(error: unknown, title: string, unknownTitle: string): Result {
  if (error instanceof Refusal) {
    return {
      tone: 'bad',
      title: error.outcome === 'unknown' ? unknownTitle : title,
      text: error.message,
      ...(error.code === undefined ? {} : { code: error.code }),
      ...(error.hint === undefined ? {} : { hint: error.hint }),
    }
  }
  const text =
    error instanceof DOMException && error.name === 'TimeoutError'
      ? 'The node did not answer in time.'
      : 'The connection to the node broke.'
  return { tone: 'bad', title: unknownTitle, text, hint: 'look at the roles of the nodes before you try again' }
}

async function post(path: string, body: string, tokens: Tokens, signal: AbortSignal): Promise<string> {
  const token = tokens.admin
  const response = await fetch(new URL(path, document.baseURI), {
    method: 'POST',
    headers: {
      'Content-Type': 'application/json',
      ...(token === undefined ? {} : { Authorization: `Bearer ${token}` }),
    },
    body,
    signal,
    cache: 'no-store',
  })
  if (!response.ok) throw await Refusal.of(response)
  return response.text()
}
