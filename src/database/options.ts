import type { AbstractDatabaseOptions, AbstractOpenOptions } from 'abstract-level'
import { type Epoch, parsePosition } from '../core/position.js'
import type { Durability } from '../core/record.js'
import { UnderstudyError } from '../errors.js'
import type { EngineKind } from '../ports/engine.js'
import type {
  Consistency,
  NodeHandle,
  ReadOptions as ShardReadOptions,
  WaitOptions,
  WriteOptions,
} from '../runtime/handle.js'

/** A position as users have it: from `db.position`, or as text (`3@a.1042`) from a header or a log. */
export type PositionLike = { readonly epoch: Epoch; readonly sequence: number } | string

/** Options of get, getMany, has, hasMany and iterators, beside those of abstract-level. */
export interface ReadOptions {
  readonly minPosition?: PositionLike | undefined
  readonly maxLagMs?: number | undefined
  /** Default: `linearizable` on a primary, `local` on a standby; see docs/GUARANTEES.md. */
  readonly consistency?: Consistency | undefined
  /** Ends a wait for `minPosition`, and one for the primary's lease. */
  readonly timeoutMs?: number | undefined
  readonly signal?: AbortSignal | undefined
}

/** Options of put, del, batch and clear, beside those of abstract-level. */
export interface WriteCallOptions {
  readonly timeoutMs?: number | undefined
  readonly signal?: AbortSignal | undefined
  readonly waitFor?: WriteOptions['waitFor'] | undefined
  readonly forward?: boolean | undefined
}

/** Where a node takes part, how it is reached and what its writes wait for. Checked by whoever starts the node. */
export interface NodeOptions {
  readonly cluster?: string | undefined
  readonly node?: string | undefined
  readonly listen?: string | undefined
  readonly advertise?: string | undefined
  readonly coordinator?: string | undefined
  readonly durability?: Durability | undefined
  readonly inSyncMin?: number | undefined
  readonly engine?: EngineKind | undefined
}

export interface OpenOptions extends AbstractOpenOptions, NodeOptions {
  /** Default `main`. */
  readonly shard?: string | undefined
  /** Gives up opening; so does `close()`. */
  readonly signal?: AbortSignal | undefined
  /** Gives up opening with `TIMEOUT`. Absent: it waits, for a primary or a bootstrap for example, until ended. */
  readonly openTimeoutMs?: number | undefined
  /** Writes on a standby are sent on to the primary unless this is false. */
  readonly forwardWrites?: boolean | undefined
}

export interface DatabaseOptions<K, V> extends AbstractDatabaseOptions<K, V>, Omit<OpenOptions, 'passive'> {}

/**
 * Starts a node in `location`, or takes up what is there. `createIfMissing: false` and nothing there rejects with a
 * message that it does not exist; `errorIfExists: true` and something there with one that it exists.
 */
export type NodeStarter = (location: string, options: OpenOptions, signal: AbortSignal) => Promise<NodeHandle>

/** Undefined for most writes: nothing is allocated for what nobody asked for. */
export function writeOptionsOf(options: WriteCallOptions, forwardWrites: boolean): WriteOptions | undefined {
  const { timeoutMs, signal, waitFor, forward } = options
  if (timeoutMs === undefined && signal == null && waitFor === undefined && forward === undefined && forwardWrites) {
    return undefined
  }
  return {
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
    ...(signal == null ? {} : { signal }),
    ...(waitFor === undefined ? {} : { waitFor }),
    forward: forward ?? forwardWrites,
  }
}

/** Undefined for a read of what is here now. */
export function freshnessOf(options: ReadOptions & { readonly snapshot?: unknown }): ShardReadOptions | undefined {
  const { minPosition, maxLagMs, consistency } = options
  if (minPosition === undefined && maxLagMs === undefined) return undefined
  if (options.snapshot != null) {
    throw new UnderstudyError(
      'BAD_REQUEST',
      'a read from a snapshot cannot be made fresher: leave out minPosition and maxLagMs',
    )
  }
  return {
    ...(minPosition === undefined ? {} : { minPosition: positionOf(minPosition) }),
    ...(maxLagMs === undefined ? {} : { maxLagMs }),
    ...(consistency === undefined ? {} : { consistency }),
    ...waitOf(options),
  }
}

const consistencies: ReadonlySet<unknown> = new Set<Consistency>(['linearizable', 'confirmed', 'local'])

/** Users of plain JavaScript may pass anything. */
export function consistencyOf(options: { readonly consistency?: Consistency | undefined }): Consistency | undefined {
  const { consistency } = options
  if (consistency === undefined || consistencies.has(consistency)) return consistency
  throw new UnderstudyError(
    'BAD_REQUEST',
    `consistency is linearizable, confirmed or local, not ${JSON.stringify(consistency)}`,
  )
}

export function waitOf(options: ReadOptions): WaitOptions {
  const { timeoutMs, signal } = options
  return { ...(timeoutMs === undefined ? {} : { timeoutMs }), ...(signal == null ? {} : { signal }) }
}

export function positionOf(position: PositionLike): { readonly epoch: Epoch; readonly sequence: number } {
  if (typeof position !== 'string') return position
  const parsed = parsePosition(position)
  if (parsed !== undefined) return parsed
  throw new UnderstudyError('BAD_REQUEST', `"${position}" is not a position; expected one like 3@a.1042`)
}
