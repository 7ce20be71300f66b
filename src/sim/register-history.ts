/** What clients saw of single keys: each key is a register that is read, written and deleted. */

/**
 * `ok`: it was answered. `none`: it has not happened and will not. `unknown`: no answer, or one that leaves it open; it
 * may take effect at any time after it was called, also long after the client gave up.
 */
export type RegisterOutcome = 'ok' | 'none' | 'unknown'

export interface RegisterOperation {
  readonly key: string
  /** Who called it and where, for people. */
  readonly client: string
  readonly kind: 'get' | 'put' | 'del'
  /** Of a put what was written, of a get what was read (undefined: nothing is there). No two puts share a value. */
  readonly value: string | undefined
  /** On one clock for all clients: before the request was sent, after the answer was there. */
  readonly calledMs: number
  readonly returnedMs: number
  readonly outcome: RegisterOutcome
}

/** One line for each operation, in the order of the calls. */
export function describeHistory(operations: readonly RegisterOperation[]): string {
  const sorted = [...operations].sort((a, b) => a.calledMs - b.calledMs)
  const startMs = sorted[0]?.calledMs ?? 0
  const at = (ms: number) => (ms - startMs).toFixed(2)
  return sorted
    .map((operation) => {
      const { client, calledMs, returnedMs, outcome } = operation
      const end = outcome === 'unknown' ? 'no end' : at(returnedMs)
      return `${`${at(calledMs)} .. ${end}`.padEnd(24)} ${client.padEnd(16)} ${describeOperation(operation)}`
    })
    .join('\n')
}

function describeOperation({ kind, value, outcome }: RegisterOperation): string {
  const end = outcome === 'ok' ? '' : outcome === 'none' ? '  failed, has not happened' : '  outcome unknown'
  if (kind === 'put') return `put ${value}${end}`
  if (kind === 'del') return `del${end}`
  return outcome === 'ok' ? `get -> ${value ?? 'nothing'}` : `get${end}`
}
