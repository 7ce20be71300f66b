import type { EpochStart } from './entry.js'
import { type Epoch, epochZero, formatEpoch } from './position.js'

/** What the name of a side file says: where cut entries begin, and in which epoch they were written. */
export interface DivergentName {
  readonly epoch: Epoch
  /** First sequence that the other history does not have. */
  readonly sequence: number
  /** 0, or a further number where the same beginning was cut with another end. */
  readonly copy: number
}

/** `divergent-3@a-101.journal`. */
export function formatDivergentName(name: DivergentName): string {
  const copy = name.copy === 0 ? '' : `.${name.copy}`
  return `divergent-${formatEpoch(name.epoch)}-${name.sequence}${copy}.journal`
}

/** Undefined for names of other files. */
export function parseDivergentName(text: string): DivergentName | undefined {
  const match =
    /^divergent-(\d{1,16})(?:@([A-Za-z0-9][A-Za-z0-9._-]{0,31}))?-(\d{1,16})(?:\.(\d{1,4}))?\.journal$/.exec(text)
  if (match === null) return undefined
  const number = Number(match[1])
  const sequence = Number(match[3])
  if (!Number.isSafeInteger(number) || !Number.isSafeInteger(sequence)) return undefined
  return { epoch: { number, node: match[2] ?? '' }, sequence, copy: Number(match[4] ?? 0) }
}

/** The epoch in which a history wrote `sequence`. */
export function epochOf(epochs: readonly EpochStart[], sequence: number): Epoch {
  return epochs.findLast((start) => start.firstSequence <= sequence)?.epoch ?? epochZero
}
