import { UnderstudyError } from '../errors.js'
import type { OpenOptions } from './options.js'

export interface OpeningSignal {
  readonly signal: AbortSignal
  /** To be called when opening has ended, however. */
  readonly ended: () => void
}

/** Aborts when the database is closed, the caller's signal aborts or the time is over, whichever comes first. */
export function openingSignal(closed: AbortSignal, options: OpenOptions): OpeningSignal {
  const late = new AbortController()
  const { openTimeoutMs, signal } = options
  const timer =
    openTimeoutMs === undefined
      ? undefined
      : setTimeout(() => {
          late.abort(
            new UnderstudyError('TIMEOUT', `the database did not open within ${openTimeoutMs} ms`, {
              hint: 'is the coordinator reachable, and a primary elected? see the log of this node',
            }),
          )
        }, openTimeoutMs)
  return {
    signal: AbortSignal.any([closed, late.signal, ...(signal == null ? [] : [signal])]),
    ended: () => clearTimeout(timer),
  }
}
