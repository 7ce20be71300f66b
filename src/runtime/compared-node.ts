import { decodeMessage } from '../codec/messages.js'
import type { Family } from '../core/entry.js'
import type { Failure } from '../core/failure.js'
import { limits } from '../core/limits.js'
import { compareBytes } from '../core/rewind.js'
import {
  compareListings,
  divideRange,
  type FoundDifference,
  type ListedEntry,
  nextStep,
  sameRange,
  type VerifyRange,
} from '../core/verify.js'
import { toUnderstudyError, UnderstudyError } from '../errors.js'
import type { Link } from '../link/link.js'
import type { MemberAddress } from '../ports/coordinator.js'
import { RemoteContent } from './remote-content.js'
import type { PlannedRange, SnapshotContent, VerifyContent } from './verify-content.js'
import type { VerifiedNode, VerifyDifference } from './verify-report.js'

/** One of the other nodes in a comparison: what it was asked, what differs there, or why it was left out. */
export class ComparedNode {
  readonly differences: VerifyDifference[] = []
  content: VerifyContent | undefined
  private readonly member: MemberAddress
  private readonly dial: (member: MemberAddress, signal: AbortSignal) => Promise<Link>
  private readonly differencesMax: number
  private readonly signal: AbortSignal
  private link: Link | undefined
  private failure: Failure | undefined
  private more = false

  constructor(parts: {
    readonly member: MemberAddress
    readonly dial: ComparedNode['dial']
    readonly differencesMax: number
    readonly signal: AbortSignal
  }) {
    this.member = parts.member
    this.dial = parts.dial
    this.differencesMax = parts.differencesMax
    this.signal = parts.signal
  }

  /** There is more to be learnt from it. */
  get isOpen(): boolean {
    return this.content !== undefined && this.failure === undefined && !this.more
  }

  report(): VerifiedNode {
    const { member, failure, differences, more } = this
    const state = differences.length > 0 ? 'different' : failure === undefined ? 'equal' : 'not-compared'
    return { node: member.node, address: member.address, state, failure, differences: differences.length, more }
  }

  /** From then on it does not miss the entry. False: it takes no part, and `report` says why. */
  async arm(request: number, timeoutMs: number): Promise<boolean> {
    return this.attempt(async () => {
      this.link = await this.dial(this.member, this.signal)
      this.link.send('verifyArm', { request, timeoutMs })
      await this.link.expect('verifyArmed', limits.requestTimeoutMs, this.signal)
    })
  }

  async awaitSnapshot(timeoutMs: number): Promise<void> {
    const { link } = this
    if (link === undefined || this.failure !== undefined) return
    await this.attempt(async () => {
      // Its own time-out comes first, and says how far it is.
      const wait = timeoutMs + limits.requestTimeoutMs
      const [, payload] = await link.expectOneOf(['verifySnapshot'], wait, this.signal)
      this.content = new RemoteContent(link, decodeMessage('verifySnapshot', payload), this.signal)
    })
  }

  async compare(here: SnapshotContent, family: Family, ranges: readonly PlannedRange[]): Promise<void> {
    const { content } = this
    if (content === undefined) return
    await this.attempt(async () => {
      const digests = await content.digests(family, ranges)
      for (const [index, range] of ranges.entries()) {
        if (sameRange(range.digest, digests[index]!)) continue
        const before = this.differences.length
        await this.narrow(here, content, family, range, range.keys)
        if (this.differences.length === before && !this.more) {
          throw new UnderstudyError(
            'CORRUPTION',
            `${this.member.node} gave other digests for the same keys of family ${family.name}: what one of the nodes reads changes from one read to the next`,
          )
        }
        if (this.more) return
      }
    })
  }

  note(difference: FoundDifference): void {
    if (this.differences.length >= this.differencesMax) this.more = true
    else this.differences.push({ node: this.member.node, ...difference })
  }

  giveUp(failure: Failure): void {
    this.failure ??= failure
    this.content = undefined
    this.close()
  }

  close(): void {
    this.link?.close()
  }

  /** Divides what differs until it is small enough to be looked at key by key. */
  private async narrow(
    here: SnapshotContent,
    there: VerifyContent,
    family: Family,
    range: VerifyRange,
    keysHere: readonly Uint8Array[],
  ): Promise<void> {
    if (nextStep(keysHere.length) === 'list') {
      await this.list(here, there, family, range)
      return
    }
    const parts = divideRange(range, keysHere)
    const digestsHere = await here.digests(family, parts)
    const digestsThere = await there.digests(family, parts)
    for (const [index, part] of parts.entries()) {
      if (sameRange(digestsHere[index]!, digestsThere[index]!)) continue
      await this.narrow(
        here,
        there,
        family,
        part,
        keysHere.filter((key) => isIn(key, part)),
      )
      if (this.more) return
    }
  }

  private async list(here: SnapshotContent, there: VerifyContent, family: Family, range: VerifyRange): Promise<void> {
    const own = await allOf(here, family, range)
    let start: Uint8Array | undefined = range.start
    while (start !== undefined && !this.more) {
      const { entries, nextKey } = await there.keys(family, { start, end: range.end })
      const part: VerifyRange = { start, end: nextKey ?? range.end }
      const ownPart = own.filter(({ key }) => isIn(key, part))
      for (const difference of compareListings(family.name, ownPart, entries)) this.note(difference)
      start = nextKey
    }
  }

  /** What goes wrong with one node does not end the comparison of the others. */
  private async attempt(work: () => Promise<void>): Promise<boolean> {
    try {
      await work()
      return true
    } catch (error) {
      // What is no failure of the world is a bug of ours, and ends everything.
      if (!(error instanceof UnderstudyError)) throw toUnderstudyError(error, `comparing with ${this.member.node}`)
      this.giveUp({ code: error.failure, message: error.message })
      return false
    }
  }
}

function isIn(key: Uint8Array, { start, end }: VerifyRange): boolean {
  return compareBytes(key, start) >= 0 && (end === undefined || compareBytes(key, end) < 0)
}

/** Few: only a small range is listed. */
async function allOf(content: SnapshotContent, family: Family, range: VerifyRange): Promise<ListedEntry[]> {
  const all: ListedEntry[] = []
  let start: Uint8Array | undefined = range.start
  while (start !== undefined) {
    const { entries, nextKey } = await content.keys(family, { start, end: range.end })
    all.push(...entries)
    start = nextKey
  }
  return all
}
