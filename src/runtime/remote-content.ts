import { decodeMessage, type Message } from '../codec/messages.js'
import type { Family } from '../core/entry.js'
import { limits } from '../core/limits.js'
import type { Position } from '../core/position.js'
import { compareBytes } from '../core/rewind.js'
import type { RangeDigest, VerifyRange } from '../core/verify.js'
import { UnderstudyError } from '../errors.js'
import type { Link } from '../link/link.js'
import type { Listing, VerifyContent } from './verify-content.js'

/** Another node's content, asked for over a session of purpose `verify`. */
export class RemoteContent implements VerifyContent {
  readonly position: Position
  readonly families: readonly Family[]
  private readonly link: Link
  private readonly signal: AbortSignal

  constructor(link: Link, snapshot: Message<'verifySnapshot'>, signal: AbortSignal) {
    this.link = link
    this.signal = signal
    this.position = snapshot.position
    this.families = snapshot.families
  }

  async digests(family: Family, ranges: readonly VerifyRange[]): Promise<readonly RangeDigest[]> {
    const starts = ranges.map((range) => range.start)
    const payload = await this.ask({ want: 'digests', family, starts, end: ranges.at(-1)?.end }, 'verifyDigests')
    const answer = decodeMessage('verifyDigests', payload)
    if (answer.ranges.length !== ranges.length) {
      throw this.wrong(`${answer.ranges.length} digests, asked for ${ranges.length}`)
    }
    return answer.ranges
  }

  async keys(family: Family, { start, end }: VerifyRange): Promise<Listing> {
    const payload = await this.ask({ want: 'keys', family, starts: [start], end }, 'verifyKeys')
    const { entries, nextKey } = decodeMessage('verifyKeys', payload)
    let before: Uint8Array | undefined
    for (const { key } of entries) {
      const isIn = compareBytes(key, start) >= 0 && (end === undefined || compareBytes(key, end) < 0)
      if (!isIn || (before !== undefined && compareBytes(before, key) >= 0)) throw this.wrong('keys out of order')
      before = key
    }
    // It must lead on, or the comparison would go round for ever.
    if (nextKey !== undefined && (before === undefined || compareBytes(nextKey, before) <= 0)) {
      throw this.wrong('a list that does not go on')
    }
    return { entries, nextKey }
  }

  private async ask(request: Message<'verifyAsk'>, answer: 'verifyDigests' | 'verifyKeys'): Promise<Uint8Array> {
    this.link.send('verifyAsk', request)
    const [, payload] = await this.link.expectOneOf([answer], limits.verifyTimeoutMs, this.signal)
    return payload
  }

  private wrong(what: string): UnderstudyError {
    return new UnderstudyError('PROTOCOL', `${this.link.remote}: ${what}`)
  }
}
