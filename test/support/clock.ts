import type { Clock } from '#src/ports/clock.js'

/** The system's time, for tests of adapters. */
export const testClock: Clock = {
  nowMs: () => performance.now(),
  wallMs: () => Date.now(),
  setTimer(delayMs, fn) {
    const timer = setTimeout(fn, delayMs)
    return { cancel: () => clearTimeout(timer) }
  },
  defer(fn) {
    setImmediate(fn)
  },
}
