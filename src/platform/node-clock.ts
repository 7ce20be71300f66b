import type { Clock } from '../ports/clock.js'

/** The clock of this process: monotonic where time is measured, unreferenced timers unless somebody waits. */
export const nodeClock: Clock = Object.freeze({
  nowMs: () => performance.now(),
  wallMs: () => Date.now(),
  setTimer(delayMs: number, fn: () => void, options?: { readonly keepsAlive?: boolean }) {
    const timer = setTimeout(fn, delayMs)
    if (options?.keepsAlive !== true) timer.unref()
    return { cancel: () => clearTimeout(timer) }
  },
  defer(fn: () => void) {
    setImmediate(fn)
  },
})
