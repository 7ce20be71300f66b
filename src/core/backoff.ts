/** Exponential back-off with full jitter between half and all of the step; `random` is in [0, 1). */
export function backoffMs(attempt: number, minMs: number, maxMs: number, random: number): number {
  const step = Math.min(maxMs, minMs * 2 ** Math.min(attempt, 30))
  return Math.round(step / 2 + (step / 2) * random)
}
