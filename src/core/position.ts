/**
 * Number raised by each promotion. The node is part of it, so that two promotions that happen apart can never
 * share an epoch; the number decides first, the node's name second.
 */
export interface Epoch {
  readonly number: number
  readonly node: string
}

/** Running 128-bit hash of the journal, 32 lower-case hexadecimal digits. */
export type Chain = string

/** How far a history reaches: always the end of a block. */
export interface Position {
  readonly epoch: Epoch
  readonly sequence: number
  readonly chain: Chain
}

/** Before every promotion. */
export const epochZero: Epoch = Object.freeze({ number: 0, node: '' })

export function compareEpochs(a: Epoch, b: Epoch): number {
  if (a.number !== b.number) return a.number < b.number ? -1 : 1
  if (a.node === b.node) return 0
  return a.node < b.node ? -1 : 1
}

export function sameEpoch(a: Epoch, b: Epoch): boolean {
  return a.number === b.number && a.node === b.node
}

export function higherEpoch(a: Epoch, b: Epoch): Epoch {
  return compareEpochs(a, b) >= 0 ? a : b
}

/** The epoch that `node` takes at its next promotion: above everything that it has seen. */
export function nextEpoch(seen: Epoch, node: string): Epoch {
  return { number: seen.number + 1, node }
}

export function samePosition(a: Position, b: Position): boolean {
  return a.sequence === b.sequence && a.chain === b.chain && sameEpoch(a.epoch, b.epoch)
}

/** Order by (epoch, sequence): which of two ends of the same history is the longer one. */
export function comparePositions(a: Position, b: Position): number {
  return compareEpochs(a.epoch, b.epoch) || a.sequence - b.sequence
}

/** `3@a`: number and node. */
export function formatEpoch(epoch: Epoch): string {
  return epoch.node === '' ? String(epoch.number) : `${epoch.number}@${epoch.node}`
}

/** `3@a.1042`: what people see and send back as a position; the chain stays between nodes. */
export function formatPosition(position: { readonly epoch: Epoch; readonly sequence: number }): string {
  return `${formatEpoch(position.epoch)}.${position.sequence}`
}

/** The inverse of `formatPosition`; undefined for anything else. */
export function parsePosition(text: string): { readonly epoch: Epoch; readonly sequence: number } | undefined {
  const match = /^(\d{1,16})(?:@([A-Za-z0-9][A-Za-z0-9._-]{0,31}))?\.(\d{1,16})$/.exec(text)
  if (match === null) return undefined
  const number = Number(match[1])
  const sequence = Number(match[3])
  if (!Number.isSafeInteger(number) || !Number.isSafeInteger(sequence)) return undefined
  return { epoch: { number, node: match[2] ?? '' }, sequence }
}
