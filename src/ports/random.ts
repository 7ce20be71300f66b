/** Randomness as the runtime sees it; a simulation seeds it. */
export interface Random {
  /** In [0, 1). */
  next(): number
  /** `count` unpredictable bytes as lower-case hexadecimal digits. */
  hex(count: number): string
}
