import { backoffMs } from './backoff.js'
import { limits } from './limits.js'
import type { Position } from './position.js'

/**
 * What a destination remembers of an unfinished bootstrap. `first` is where its journal begins; `highest` the newest
 * snapshot position that any chunk came from: before the journal is replayed up to it, the content is no state that
 * ever was (B1).
 */
export interface BootstrapPlan {
  readonly historyId: string
  readonly first: Position
  readonly highest: Position
}

export type SourceVerdict = 'fits' | 'start-over' | 'behind'

/**
 * May a (further) snapshot be used by this bootstrap? The source proves that it has `first` in its history before it
 * hands one out; here the position is held against it once more.
 */
export function judgeSnapshot(plan: BootstrapPlan | undefined, historyId: string, position: Position): SourceVerdict {
  if (plan === undefined) return 'fits'
  if (plan.historyId !== historyId) return 'start-over'
  return position.sequence < plan.first.sequence ? 'behind' : 'fits'
}

export interface SourceCandidate {
  readonly node: string
  readonly address: string
  readonly primary: boolean
  readonly durable: number
  /** Named by an operator. */
  readonly preferred?: boolean
}

/**
 * The order in which sources are asked: those that can go on with what was begun, those that failed least and longest
 * ago, then the one that was asked for, standbys before the primary. Last of all whoever handed out what the primary
 * does not have: to begin with it again would never end (B2).
 */
export class SourceChooser {
  private readonly failures = new Map<string, number>()
  /** Said no to what was begun here, until that is given up. */
  private readonly refusing = new Set<string>()
  private readonly diverged = new Set<string>()
  private readonly failedSinceProgress = new Set<string>()
  private attempt = 0
  private lastFailed: string | undefined

  /** Undefined if there is nobody to ask now. */
  choose(candidates: readonly SourceCandidate[]): SourceCandidate | undefined {
    return [...candidates].sort(
      (a, b) =>
        Number(this.diverged.has(a.node)) - Number(this.diverged.has(b.node)) ||
        Number(this.refusing.has(a.node)) - Number(this.refusing.has(b.node)) ||
        Number(a.node === this.lastFailed) - Number(b.node === this.lastFailed) ||
        (this.failures.get(a.node) ?? 0) - (this.failures.get(b.node) ?? 0) ||
        Number(b.preferred === true) - Number(a.preferred === true) ||
        Number(a.primary) - Number(b.primary) ||
        (a.node < b.node ? -1 : 1),
    )[0]
  }

  /** How long to wait before the next attempt, 1 s to 60 s with jitter. */
  onFailure(node: string, random: number): number {
    this.failures.set(node, (this.failures.get(node) ?? 0) + 1)
    this.lastFailed = node
    return this.pause(node, random)
  }

  /** As `onFailure`, of a source that cannot go on with what was begun: nothing is wrong with it. */
  onRefusal(node: string, random: number): number {
    this.refusing.add(node)
    return this.pause(node, random)
  }

  /** None of them can go on with what was begun: it has to be given up. */
  allRefuse(candidates: readonly SourceCandidate[]): boolean {
    return candidates.every((candidate) => this.refusing.has(candidate.node))
  }

  onStartedOver(): void {
    this.refusing.clear()
  }

  /** What these handed out is not in the history of the primary. */
  onDiverged(nodes: Iterable<string>): void {
    for (const node of nodes) this.diverged.add(node)
  }

  private pause(node: string, random: number): number {
    this.failedSinceProgress.add(node)
    const waitMs = backoffMs(this.attempt, limits.bootstrapBackoffMinMs, limits.bootstrapBackoffMaxMs, random)
    this.attempt += 1
    return Math.max(limits.bootstrapBackoffMinMs, waitMs)
  }

  /** Data arrived: the back-off begins anew (F12). */
  onProgress(): void {
    this.attempt = 0
    this.lastFailed = undefined
    this.failedSinceProgress.clear()
  }

  /** Is there a source that has not failed since data last arrived? It need not wait for another one's back-off. */
  hasUntried(candidates: readonly SourceCandidate[]): boolean {
    return candidates.some((candidate) => !this.failedSinceProgress.has(candidate.node))
  }
}
