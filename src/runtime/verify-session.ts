import { decodeMessage, type Message } from '../codec/messages.js'
import { limits } from '../core/limits.js'
import type { VerifyRange } from '../core/verify.js'
import { toUnderstudyError, UnderstudyError } from '../errors.js'
import type { Link } from '../link/link.js'
import type { Clock, Timer } from '../ports/clock.js'
import type { EngineSnapshot } from '../ports/engine.js'
import type { ShardData } from './shard-data.js'
import { SnapshotContent } from './verify-content.js'

/**
 * The side of a comparison that answers: a snapshot at the marked entry, digests of its ranges, keys where they differ.
 * Nothing here waits for the comparison: blocks are applied, acknowledged and read meanwhile as ever.
 */
export class VerifySession {
  private readonly link: Link
  private readonly data: ShardData
  private readonly clock: Clock
  private readonly hello: Message<'hello'>
  private view: EngineSnapshot | undefined
  private unwatch: (() => void) | undefined
  private busy: Promise<void> | undefined
  private timer: Timer | undefined

  constructor(parts: {
    readonly link: Link
    readonly data: ShardData
    readonly clock: Clock
    readonly hello: Message<'hello'>
  }) {
    this.link = parts.link
    this.data = parts.data
    this.clock = parts.clock
    this.hello = parts.hello
  }

  async run(): Promise<void> {
    this.expire(limits.requestTimeoutMs, 'nothing was asked for')
    this.link.handle((name, payload) => {
      switch (name) {
        case 'verifyArm':
          this.arm(decodeMessage('verifyArm', payload))
          return
        case 'verifyAsk':
          this.answer(decodeMessage('verifyAsk', payload))
          return
        default:
          throw new UnderstudyError('PROTOCOL', `${name} is not expected from a node that compares`)
      }
    })
    try {
      await this.link.closed
    } finally {
      this.timer?.cancel()
      this.unwatch?.()
      // A read of the engine ends before its snapshot is taken from it.
      await this.busy
      await this.view?.close()
    }
  }

  private arm({ request, timeoutMs }: Message<'verifyArm'>): void {
    if (this.unwatch !== undefined) throw new UnderstudyError('PROTOCOL', 'a second position to compare at')
    const { applier, engine } = this.data
    const { node, boot } = this.hello
    this.unwatch = applier.watch({
      origin: { node, boot },
      request,
      reached: () => {
        if (this.link.isClosed) return
        try {
          this.view = engine.snapshot()
        } catch (error) {
          this.link.fail(toUnderstudyError(error, 'taking a snapshot'))
          return
        }
        this.link.send('verifySnapshot', { position: this.view.position, families: this.view.families })
        this.expire(limits.snapshotIdleMs, 'nothing was asked for')
      },
    })
    this.expire(
      Math.min(timeoutMs, limits.writeTimeoutMsMax),
      () => `the position to compare at is not applied here; ${applier.applied.sequence} is`,
    )
    this.link.send('verifyArmed', { applied: applier.applied.sequence })
  }

  /** One request at a time: the asking node paces. */
  private answer(ask: Message<'verifyAsk'>): void {
    const { view } = this
    if (view === undefined) throw new UnderstudyError('PROTOCOL', 'asked before there is a snapshot')
    if (this.busy !== undefined) throw new UnderstudyError('PROTOCOL', 'a request before the answer to the one before')
    const family = view.families.find((one) => one.id === ask.family.id && one.name === ask.family.name)
    if (family === undefined) throw new UnderstudyError('UNKNOWN_FAMILY', `no column family ${ask.family.name} here`)
    const content = new SnapshotContent(this.data.engine, view)
    this.expire(limits.snapshotIdleMs, 'nothing was asked for')
    const work = async () => {
      const [start] = ask.starts
      if (start === undefined) throw new UnderstudyError('PROTOCOL', 'asked for no range')
      if (ask.want === 'digests') {
        this.link.send('verifyDigests', { ranges: await content.digests(family, rangesOf(ask)) })
      } else this.link.send('verifyKeys', await content.keys(family, { start, end: ask.end }))
    }
    this.busy = work()
      .catch((error) => this.link.fail(toUnderstudyError(error, 'reading what is compared')))
      .finally(() => {
        this.busy = undefined
      })
  }

  /** A snapshot holds the engine's old versions: nobody keeps one for nothing. */
  private expire(afterMs: number, why: string | (() => string)): void {
    this.timer?.cancel()
    this.timer = this.clock.setTimer(afterMs, () => {
      if (this.busy !== undefined) return
      const reason = typeof why === 'string' ? why : why()
      this.link.fail({ code: 'TIMEOUT', message: `${reason} within ${afterMs} ms: the comparison is over here` })
    })
  }
}

function rangesOf({ starts, end }: Message<'verifyAsk'>): VerifyRange[] {
  return starts.map((start, index) => ({ start, end: starts[index + 1] ?? end }))
}
