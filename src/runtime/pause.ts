import type { Clock } from '../ports/clock.js'

/** Resolves after `delayMs`; at once where there is nothing to wait for. */
export async function pause(clock: Clock, delayMs: number): Promise<void> {
  if (delayMs <= 0) return
  await new Promise<void>((resolve) => {
    clock.setTimer(delayMs, resolve)
  })
}
