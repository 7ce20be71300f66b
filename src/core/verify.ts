/** What a comparison of nodes decides: where ranges end, what to do with one that differs, and what is said of it. */
import type { Family } from './entry.js'
import { limits } from './limits.js'
import { compareBytes } from './rewind.js'

/** What lies in a range of keys of one family. Equal digests of equal counts mean equal content. */
export interface RangeDigest {
  readonly count: number
  /** Of the packed entries in key order; 32 hexadecimal digits. */
  readonly digest: string
  /** False: there is more than a range may hold, and reading stopped. It equals no other range. */
  readonly isWhole: boolean
}

/** Keys from `start` on, up to `end`; undefined: to the end of the family. */
export interface VerifyRange {
  readonly start: Uint8Array
  readonly end: Uint8Array | undefined
}

export interface ListedEntry {
  readonly key: Uint8Array
  /** Of key and value. */
  readonly digest: string
}

export const differenceKinds = [
  /** The node that was asked has the key, the other one does not. */
  'missing-there',
  'missing-here',
  'value',
  'family-missing-there',
  'family-missing-here',
  /** Both have a family of that name, under different ids. */
  'family-id',
] as const
export type DifferenceKind = (typeof differenceKinds)[number]

export interface FoundDifference {
  readonly family: string
  readonly key: Uint8Array | undefined
  readonly kind: DifferenceKind
}

export function sameRange(a: RangeDigest, b: RangeDigest): boolean {
  return a.isWhole && b.isWhole && a.count === b.count && a.digest === b.digest
}

/** Cuts a family into ranges while its entries go by in key order. */
export class RangePlanner {
  private entries = 0
  private bytes = 0

  /** True if the range ends before this entry: its key begins the next one. */
  endsBefore(entryBytes: number): boolean {
    const isFull = this.entries >= limits.verifyRangeEntries || this.bytes >= limits.verifyRangeBytes
    if (isFull) {
      this.entries = 0
      this.bytes = 0
    }
    this.entries += 1
    this.bytes += entryBytes
    return isFull
  }
}

/** A range that differs is listed key by key if it is small here, and divided otherwise. */
export function nextStep(countHere: number): 'list' | 'divide' {
  return countHere <= limits.verifyListEntries ? 'list' : 'divide'
}

/**
 * Divides a range at keys that are in it here, into at most `verifyFanOut` parts of about equal count. The parts cover
 * it without a gap, whatever keys the other node has. Each is smaller here than the range was.
 */
export function divideRange(range: VerifyRange, keysHere: readonly Uint8Array[]): VerifyRange[] {
  const parts = Math.min(limits.verifyFanOut, keysHere.length)
  const starts = [range.start]
  for (let part = 1; part < parts; part++) {
    const key = keysHere[Math.floor((part * keysHere.length) / parts)]!
    if (compareBytes(key, starts.at(-1)!) > 0) starts.push(key)
  }
  return starts.map((start, index) => ({ start, end: starts[index + 1] ?? range.end }))
}

/**
 * Differences of two lists in key order, both of the whole range. What is listed as far as a key only is compared as
 * far as that: the caller goes on behind it.
 */
export function compareListings(
  family: string,
  here: readonly ListedEntry[],
  there: readonly ListedEntry[],
): FoundDifference[] {
  const found: FoundDifference[] = []
  let left = 0
  let right = 0
  while (left < here.length || right < there.length) {
    const [one, other] = [here[left], there[right]]
    const order = one === undefined ? 1 : other === undefined ? -1 : compareBytes(one.key, other.key)
    if (order < 0) found.push({ family, key: one!.key, kind: 'missing-there' })
    else if (order > 0) found.push({ family, key: other!.key, kind: 'missing-here' })
    else if (one!.digest !== other!.digest) found.push({ family, key: one!.key, kind: 'value' })
    if (order <= 0) left += 1
    if (order >= 0) right += 1
  }
  return found
}

/** Families are matched by name (F7); those that both have under one id are compared further. */
export function compareFamilies(
  here: readonly Family[],
  there: readonly Family[],
): { readonly differences: FoundDifference[]; readonly shared: Family[] } {
  const differences: FoundDifference[] = []
  const shared: Family[] = []
  for (const family of here) {
    const other = there.find((one) => one.name === family.name)
    if (other?.id === family.id) shared.push(family)
    else {
      const kind = other === undefined ? 'family-missing-there' : 'family-id'
      differences.push({ family: family.name, key: undefined, kind })
    }
  }
  for (const family of there) {
    if (here.some((one) => one.name === family.name)) continue
    differences.push({ family: family.name, key: undefined, kind: 'family-missing-here' })
  }
  return { differences, shared }
}

/** What became of one of the other nodes. */
export type ComparedState =
  | 'equal'
  | 'different'
  /** It could not be compared, or not to the end. */
  | 'not-compared'

/** Only when every node was compared to the end and none differs are they equal (F46). */
export function verdictOf(states: readonly ComparedState[]): 'equal' | 'different' | 'incomplete' {
  if (states.includes('different')) return 'different'
  return states.length > 0 && states.every((state) => state === 'equal') ? 'equal' : 'incomplete'
}
