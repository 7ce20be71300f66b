import type { Chain, Epoch, Position } from './position.js'

/** One change. Keys, values and families are what the primary resolved: every node does the same with them. */
export type Operation =
  | { readonly type: 'put'; readonly family: number; readonly key: Uint8Array; readonly value: Uint8Array }
  | { readonly type: 'del'; readonly family: number; readonly key: Uint8Array }
  /** Deletes start <= key < end. */
  | { readonly type: 'delRange'; readonly family: number; readonly start: Uint8Array; readonly end: Uint8Array }
  | { readonly type: 'createFamily'; readonly family: number; readonly name: string }
  | { readonly type: 'dropFamily'; readonly family: number }

/** Who asked for an entry: the node and its process start. `boot` is 16 hexadecimal digits. */
export interface Origin {
  readonly node: string
  readonly boot: string
}

/** An atomic batch. (origin, request) names it once and for all, so that a write sent twice is applied once. */
export interface Entry {
  readonly origin: Origin
  readonly request: number
  readonly operations: readonly Operation[]
}

/** Header of the group-commit unit. Positions are sequences; `chainBefore` is the hash up to this block. */
export interface BlockHeader {
  readonly epoch: Epoch
  readonly firstSequence: number
  readonly entryCount: number
  readonly payloadBytes: number
  readonly timestampMs: number
  /** Committed sequence that the primary knew when it encoded the block. */
  readonly committed: number
  /** Sequence up to which the primary that encoded the block had fsynced its own journal. */
  readonly flushedBefore: number
  readonly chainBefore: Chain
  /** The first block of an epoch: one entry without operations, appended by a new primary. */
  readonly epochStart: boolean
}

/** A block with its bytes: the same on disk, on the wire and on every node. */
export interface Block {
  readonly header: BlockHeader
  readonly bytes: Uint8Array
  /** Position after this block. */
  readonly end: Position
}

/** Where an epoch begins in a history: `firstSequence` is the sequence of its epoch-start entry. */
export interface EpochStart {
  readonly epoch: Epoch
  readonly firstSequence: number
}

/** A column family. Ids are never reused; 0 is the default family, which always exists. */
export interface Family {
  readonly id: number
  readonly name: string
}

export const defaultFamily: Family = Object.freeze({ id: 0, name: 'default' })
