import type { Clock, Timer } from '../ports/clock.js'

export const nodeClock: Clock = Object.freeze({
  nowMs: () => performance.now(),
  wallMs: () => Date.now(),
  setTimer(delayMs: number, fn: () => void): Timer {
    const timer = setTimeout(fn, delayMs)
    timer.unref()
    return { cancel: () => clearTimeout(timer) }
  },
  defer(fn: () => void): void {
    setImmediate(fn)
  },
})
