import type { Outcome } from './failure.js'
import { compareEpochs, type Epoch, sameEpoch } from './position.js'

/** Where a node's own request may be. */
type Fate =
  /** In no journal, now and for ever unless it is sent. */
  | { readonly type: 'nowhere' }
  /** Handed to the primary of `epoch`, in the node's `turn`-th way to a primary: it may be in that epoch's journal. */
  | { readonly type: 'sent'; readonly epoch: Epoch; readonly turn: number }
  /** The primary of `epoch` says that it is committed; `sequence` is not applied here yet. */
  | { readonly type: 'told'; readonly epoch: Epoch; readonly sequence: number }
  /** Committed and applied here, whatever becomes of anybody. */
  | { readonly type: 'seen' }

interface OwnRequest {
  readonly fate: Fate
  /** The primary appends it in the very turn in which it receives it, so that a barrier behind it settles it. */
  readonly direct: boolean
}

/** A way to a primary: a session with it, or this node's own role. `epochStart` is the sequence of its first block. */
interface Way {
  readonly epoch: Epoch
  readonly epochStart: number
  readonly turn: number
}

/**
 * What a node knows of the fate of the writes that were made on it, while any of them is unanswered (S9). It sees every
 * entry that is applied here, so a request is known to be in the history as soon as its own entry is.
 *
 * That one is not in the history, and never will be, is known in two ways only. Both rest on blocks that are
 * committed and applied here, so that this node has seen everything before them:
 * - The first block of a higher epoch than the request was sent in: a forward is appended in the epoch that it names or
 *   not at all, and epochs only rise along a history.
 * - A barrier: an entry of this node, sent in a later session of the same epoch. The primary ends the older session
 *   before it reads from the newer one, and appends in the order in which it received.
 * Until then a request that was sent is never sent again; and nothing is sent in an epoch before its first block is
 * applied here, so that no request is ever in two epochs.
 */
export class OwnRequests {
  private readonly requests = new Map<number, OwnRequest>()
  /** Those that are nowhere, oldest first. */
  private readonly unsent = new Set<number>()
  /** Those that were told and not seen. */
  private readonly awaited = new Set<number>()
  /** Those that may be somewhere and were not seen. */
  private uncertain = 0
  private way: Way | undefined
  private turns = 0
  /** The first block of the way's epoch is applied here. */
  private open = false
  private barrierWanted = false
  private barrier: number | undefined

  /** A request that is nowhere yet. */
  add(request: number, options: { readonly direct: boolean }): void {
    this.put(request, { fate: { type: 'nowhere' }, direct: options.direct })
  }

  /** A request that this node itself appended as primary of `epoch`; at `committed`, if it is known to be committed. */
  addAppended(request: number, epoch: Epoch, committed: number | undefined): void {
    const fate: Fate =
      committed === undefined ? { type: 'sent', epoch, turn: 0 } : { type: 'told', epoch, sequence: committed }
    this.put(request, { fate, direct: true })
  }

  remove(request: number): void {
    const known = this.requests.get(request)
    if (known === undefined) return
    this.forget(request, known.fate)
    this.requests.delete(request)
  }

  /** True while an entry that is applied here may be one of these requests. */
  get isWatching(): boolean {
    return this.uncertain > 0 || this.barrier !== undefined
  }

  /** What may be said of a request to whoever waits for it no longer. */
  outcomeOf(request: number): Outcome {
    switch (this.requests.get(request)?.fate.type) {
      case 'sent':
        return 'unknown'
      case 'told':
      case 'seen':
        return 'done'
      default:
        return 'none'
    }
  }

  isSeen(request: number): boolean {
    return this.requests.get(request)?.fate.type === 'seen'
  }

  /** How many ways there were, the present one included: says on which of them something was sent. */
  get turn(): number {
    return this.turns
  }

  /** False once the request is known to be nowhere, or was sent another way: an answer that comes so late says nothing. */
  isAnswerable(request: number, turn: number): boolean {
    const fate = this.requests.get(request)?.fate
    return fate !== undefined && fate.type !== 'nowhere' && (fate.type !== 'sent' || fate.turn === turn)
  }

  // The way to a primary

  begin(epoch: Epoch, epochStart: number, applied: number): void {
    this.turns += 1
    this.way = { epoch, epochStart, turn: this.turns }
    this.open = false
    this.barrier = undefined
    this.barrierWanted = false
    this.advance(applied)
  }

  end(): void {
    this.way = undefined
    this.open = false
    this.barrier = undefined
    this.barrierWanted = false
  }

  /** The request to send now, if there is one. */
  get next(): number | undefined {
    if (!this.open) return undefined
    for (const request of this.unsent) return request
    return undefined
  }

  get wantsBarrier(): boolean {
    return this.open && this.barrierWanted
  }

  sent(request: number): void {
    const { way } = this
    if (way !== undefined) this.change(request, { type: 'sent', epoch: way.epoch, turn: way.turn })
  }

  barrierSent(request: number): void {
    this.barrier = request
    this.barrierWanted = false
  }

  /** True if it was the barrier that waits to be seen: another one is wanted in its place. */
  barrierRefused(request: number): boolean {
    if (this.barrier !== request) return false
    this.barrier = undefined
    this.barrierWanted = true
    return true
  }

  /** Whoever it was sent to has answered that it was not appended and will not be. */
  returned(request: number): void {
    if (this.requests.get(request)?.fate.type === 'sent') this.change(request, { type: 'nowhere' })
  }

  /** Whoever it was sent to has answered that it is committed. */
  told(request: number, sequence: number): void {
    const fate = this.requests.get(request)?.fate
    if (fate?.type === 'sent') this.change(request, { type: 'told', epoch: fate.epoch, sequence })
  }

  // What is committed and applied here

  /** An entry of this node's is applied here; the entries before it were told before. */
  seen(request: number): void {
    if (request === this.barrier) {
      this.barrier = undefined
      this.settleBefore(this.way!)
    } else if (this.requests.has(request)) this.change(request, { type: 'seen' })
  }

  /**
   * Everything up to `applied` is committed, applied here, and was told by `seen`. Returns the requests that changed
   * nothing when they were carried out, so that they have no entry, and whose effect is here all the same.
   */
  advance(applied: number): number[] {
    const { way } = this
    if (way === undefined || applied < way.epochStart) return []
    if (!this.open) {
      this.open = true
      this.openWay(way)
    }
    const there: number[] = []
    for (const request of this.awaited) {
      const fate = this.requests.get(request)?.fate
      if (fate?.type === 'told' && fate.sequence <= applied && sameEpoch(fate.epoch, way.epoch)) there.push(request)
    }
    for (const request of there) this.change(request, { type: 'seen' })
    return there
  }

  private openWay(way: Way): void {
    for (const [request, { fate, direct }] of this.requests) {
      if (fate.type !== 'sent' && fate.type !== 'told') continue
      if (compareEpochs(fate.epoch, way.epoch) < 0) this.change(request, { type: 'nowhere' })
      else if (fate.type === 'sent' && direct) this.barrierWanted = true
    }
    // The order in which they came.
    this.unsent.clear()
    for (const [request, { fate }] of this.requests) if (fate.type === 'nowhere') this.unsent.add(request)
  }

  /** The barrier of this way is here, and with it all that its primary had received in earlier sessions. */
  private settleBefore(way: Way): void {
    for (const [request, { fate, direct }] of this.requests) {
      if (fate.type === 'sent' && direct && sameEpoch(fate.epoch, way.epoch) && fate.turn < way.turn)
        this.change(request, { type: 'nowhere' })
    }
  }

  private change(request: number, fate: Fate): void {
    const known = this.requests.get(request)
    if (known === undefined) return
    this.forget(request, known.fate)
    this.put(request, { fate, direct: known.direct })
  }

  private put(request: number, own: OwnRequest): void {
    this.requests.set(request, own)
    const { type } = own.fate
    if (type === 'nowhere') this.unsent.add(request)
    if (type === 'told') this.awaited.add(request)
    if (type === 'sent' || type === 'told') this.uncertain += 1
  }

  private forget(request: number, { type }: Fate): void {
    this.unsent.delete(request)
    this.awaited.delete(request)
    if (type === 'sent' || type === 'told') this.uncertain -= 1
  }
}
