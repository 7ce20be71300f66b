/** Time as the runtime sees it. Simulated clusters bring their own. */
export interface Clock {
  /** Monotonic milliseconds, with fractions; meaningful only as a difference within one process. */
  nowMs(): number
  /** Milliseconds since 1970; may jump. For people and headers, never for decisions. */
  wallMs(): number
  /**
   * Calls `fn` once after `delayMs`. Timers do not keep the process alive, except where somebody outside waits for
   * what they bound (`keepsAlive`): a program must not end in the middle of an `await`.
   */
  setTimer(delayMs: number, fn: () => void, options?: { readonly keepsAlive?: boolean }): Timer
  /** Calls `fn` after the input that is ready now has been taken in: the moment to close a gathered group. */
  defer(fn: () => void): void
}

export interface Timer {
  cancel(): void
}
