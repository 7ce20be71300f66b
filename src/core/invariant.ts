/** Thrown when this program contradicts itself: a bug of ours, never a condition of the world. On in production. */
export class InvariantViolation extends Error {
  override readonly name = 'InvariantViolation'
}

/** Stops at the first sign of our own bug. The message says what must hold, not what went wrong. */
export function invariant(condition: unknown, mustHold: string): asserts condition {
  if (!condition) throw new InvariantViolation(`invariant violated: ${mustHold}`)
}
