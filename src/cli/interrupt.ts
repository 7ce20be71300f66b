import { UnderstudyError } from '../errors.js'

/**
 * Aborted by Ctrl-C and SIGTERM, so that a command ends what it began; a second one ends the process at once. `end`
 * gives the signals back.
 */
export function onInterrupt(hint?: string): { readonly signal: AbortSignal; end(): void } {
  const abort = new AbortController()
  const names = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
  const stop = (name: NodeJS.Signals): void => {
    if (abort.signal.aborted) process.exit(1)
    abort.abort(new UnderstudyError('ABORTED', `ended by ${name}`, hint === undefined ? {} : { hint }))
  }
  for (const name of names) process.on(name, stop)
  return {
    signal: abort.signal,
    end() {
      for (const name of names) process.off(name, stop)
    },
  }
}

/** What aborted it, where something else failed because of that. */
export function reasonOf(signal: AbortSignal, error: unknown): unknown {
  return signal.aborted && signal.reason instanceof UnderstudyError ? signal.reason : error
}
