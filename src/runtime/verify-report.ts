import type { FailureCode } from '../core/failure.js'
import type { Position } from '../core/position.js'
import type { ComparedState, DifferenceKind } from '../core/verify.js'
import type { WaitOptions } from './handle.js'

export interface VerifyOptions extends WaitOptions {
  /** Of the content that each node reads, per second. */
  readonly maxBytesPerSecond?: number
  /** So many differences of each node are named; what is beyond them is not looked for. */
  readonly differencesMax?: number
  /** A few times per second. Must not throw. */
  readonly onProgress?: (progress: VerifyProgress) => void
}

export interface VerifyProgress {
  /** `waiting`: the nodes come to one position. */
  readonly phase: 'waiting' | 'comparing'
  readonly family: string | undefined
  readonly entries: number
  readonly bytes: number
  /** A rough size of everything, for a bar. */
  readonly bytesExpected: number | undefined
  readonly differences: number
}

export interface VerifyDifference {
  readonly node: string
  readonly family: string
  /** Undefined where a whole family differs. */
  readonly key: Uint8Array | undefined
  /** `missing-here`: the node that was asked lacks it. */
  readonly kind: DifferenceKind
}

export interface VerifiedNode {
  readonly node: string
  readonly address: string
  readonly state: ComparedState
  /** Why it was not compared (to the end). */
  readonly failure: { readonly code: FailureCode; readonly message: string } | undefined
  readonly differences: number
  /** It has more differences than are named. */
  readonly more: boolean
}

export interface VerifyResult {
  /** `equal` only if every other node was compared to the end, and none differs. */
  readonly verdict: 'equal' | 'different' | 'incomplete'
  /** The node that was asked: the others are compared with it. */
  readonly node: string
  /** Where all of them were; undefined if nobody else answered. */
  readonly position: Position | undefined
  readonly nodes: readonly VerifiedNode[]
  readonly differences: readonly VerifyDifference[]
  /** Content of the node that was asked, as far as it was read. */
  readonly families: number
  readonly entries: number
  readonly bytes: number
  readonly durationMs: number
}
