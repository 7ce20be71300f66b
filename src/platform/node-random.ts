import { randomBytes, randomInt } from 'node:crypto'
import type { Random } from '../ports/random.js'

/** `randomInt` takes ranges below 2^48: more digits than any use here needs. */
const steps = 2 ** 47

export const nodeRandom: Random = Object.freeze({
  next: () => randomInt(steps) / steps,
  hex: (count: number) => randomBytes(count).toString('hex'),
})
