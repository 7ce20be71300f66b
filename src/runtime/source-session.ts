import { encodeChunk, packedEntryBytes } from '../codec/chunk.js'
import { crc32 } from '../codec/digest.js'
import { decodeMessage, type Message, type MessageName } from '../codec/messages.js'
import type { Pacer } from '../core/checkpoint-transfer.js'
import type { Family } from '../core/entry.js'
import { limits } from '../core/limits.js'
import type { Position } from '../core/position.js'
import type { ShardRecord } from '../core/record.js'
import { toUnderstudyError, UnderstudyError } from '../errors.js'
import type { Link } from '../link/link.js'
import type { Clock, Timer } from '../ports/clock.js'
import type { Engine, EngineSnapshot } from '../ports/engine.js'
import type { Journal } from '../ports/journal.js'
import type { Logger } from '../ports/logger.js'
import { CheckpointSource } from './checkpoint-source.js'
import type { Checkpoints } from './checkpoints.js'
import type { Feeder } from './feeder.js'
import { pause } from './pause.js'
import { answerSubscribe } from './subscription.js'

/** Any healthy node's side of a bootstrap: a snapshot in chunks, and the journal from its position on. */
export class SourceSession {
  private readonly link: Link
  private readonly journal: Journal
  private readonly engine: Engine
  private readonly clock: Clock
  private readonly record: () => ShardRecord
  private readonly committed: () => number
  private readonly holdSlot: (slot: string, sequence: number) => Promise<void>
  private snapshot: { readonly id: number; readonly view: EngineSnapshot } | undefined
  private readonly pacer: Pacer
  private snapshotCount = 0
  private readonly checkpoint: CheckpointSource
  private feeder: Feeder | undefined
  private busy = false
  private idle: Timer | undefined

  constructor(parts: {
    readonly link: Link
    readonly journal: Journal
    readonly engine: Engine
    readonly clock: Clock
    readonly record: () => ShardRecord
    readonly committed: () => number
    /** Durable when it resolves: a restart of this node must not forget what a bootstrap needs. */
    readonly holdSlot: (slot: string, sequence: number) => Promise<void>
    readonly checkpoints: Checkpoints | undefined
    /** Of the files of the engine here, if it has any to hand out. */
    readonly format: string | undefined
    readonly logger: Logger
    readonly pacer: Pacer
  }) {
    this.link = parts.link
    this.journal = parts.journal
    this.engine = parts.engine
    this.clock = parts.clock
    this.record = parts.record
    this.committed = parts.committed
    this.holdSlot = parts.holdSlot
    this.pacer = parts.pacer
    this.checkpoint = new CheckpointSource(parts)
  }

  async run(): Promise<void> {
    this.link.onPulse = () => this.tellCommitted()
    this.link.handle((name, payload) => this.receive(name, payload))
    this.watchIdle()
    try {
      await this.link.closed
    } finally {
      this.idle?.cancel()
      await this.dropSnapshot()
      await this.checkpoint.drop()
    }
  }

  /** Committed has advanced: more of the journal may be shown. */
  pump(): void {
    this.feeder?.pump()
    this.tellCommitted()
  }

  private tellCommitted(): void {
    if (this.feeder !== undefined)
      this.link.send('committed', { epoch: this.record().epoch, sequence: this.committed() })
  }

  private receive(name: MessageName | 'block', payload: Uint8Array): void {
    switch (name) {
      case 'snapshotStart':
        this.exclusive(() => this.start(decodeMessage('snapshotStart', payload)))
        return
      case 'chunkRequest':
        this.exclusive(() => this.sendChunk(decodeMessage('chunkRequest', payload)))
        return
      case 'fetchKeys':
        this.exclusive(() => this.sendKeys(decodeMessage('fetchKeys', payload)))
        return
      case 'snapshotComplete':
        this.refuseSecond()
        this.dropSnapshot().catch((error) => this.link.fail(toUnderstudyError(error, 'closing a snapshot')))
        return
      case 'checkpointStart':
        this.exclusive(() => this.startCheckpoint(decodeMessage('checkpointStart', payload)))
        return
      case 'fileRequest':
        this.watchIdle()
        this.checkpoint.request(payload)
        return
      case 'checkpointDone':
        this.exclusive(() => this.checkpoint.done(decodeMessage('checkpointDone', payload)))
        return
      case 'subscribe':
        this.exclusive(() => this.subscribe(decodeMessage('subscribe', payload)))
        return
      case 'credit':
        this.feeder?.grant(decodeMessage('credit', payload).bytes)
        return
      default:
        throw new UnderstudyError('PROTOCOL', `${name} is not expected from a node that bootstraps`)
    }
  }

  /** One request at a time: the destination paces, and a source's memory holds one chunk for it. */
  private exclusive(work: () => Promise<void>): void {
    this.refuseSecond()
    this.busy = true
    this.watchIdle()
    work().then(
      () => {
        this.busy = false
      },
      (error) => this.link.fail(toUnderstudyError(error, 'serving a bootstrap')),
    )
  }

  private refuseSecond(): void {
    if (this.busy) throw new UnderstudyError('PROTOCOL', 'a request before the answer to the one before')
  }

  /** The order is fixed: pin the journal, then take the snapshot, then read the position from inside of it (F2, F6). */
  private async start(request: Message<'snapshotStart'>): Promise<void> {
    await this.dropSnapshot()
    await this.pin(request)
    const view = this.engine.snapshot()
    this.snapshotCount += 1
    this.snapshot = { id: this.snapshotCount, view }
    this.link.send('snapshot', {
      id: this.snapshotCount,
      position: view.position,
      families: view.families,
      familyIdNext: view.familyIdNext,
      sizeEstimateBytes: await this.engine.sizeEstimateBytes(),
      epochs: this.journal.epochs.filter((start) => start.firstSequence <= view.position.sequence),
      record: this.record(),
    })
  }

  private async startCheckpoint(request: Message<'checkpointStart'>): Promise<void> {
    await this.pin(request)
    await this.checkpoint.start(request)
  }

  /** Proves that a bootstrap that has begun did so in the history here (B1), and keeps the journal that it needs. */
  private async pin(request: { readonly slot: string; readonly first: Position | undefined }): Promise<void> {
    const { first } = request
    if (first !== undefined) {
      const here = await this.journal.positionAt(first.sequence)
      if (here === undefined || here.chain !== first.chain) {
        const tooOld = first.sequence < this.journal.base.sequence
        throw new UnderstudyError(
          tooOld ? 'TOO_OLD' : 'DIVERGED',
          tooOld
            ? `the journal here begins after ${this.journal.base.sequence}; the bootstrap began at ${first.sequence}`
            : `position ${first.sequence} of the bootstrap is not in the history here`,
        )
      }
    }
    await this.holdSlot(
      request.slot,
      Math.min(first?.sequence ?? Number.MAX_SAFE_INTEGER, this.engine.applied.sequence),
    )
  }

  /** The open snapshot, if it is the one asked for and holds the family. */
  private viewOf(request: { readonly snapshot: number; readonly family: Family }): EngineSnapshot {
    const { snapshot } = this
    if (snapshot === undefined || snapshot.id !== request.snapshot) {
      throw new UnderstudyError('NOT_READY', `snapshot ${request.snapshot} is not open here (any more)`)
    }
    // Families are matched by name; the id must say the same, or the two nodes do not speak of one history (F7).
    const family = snapshot.view.families.find((one) => one.name === request.family.name)
    if (family === undefined || family.id !== request.family.id) {
      throw new UnderstudyError(
        'UNKNOWN_FAMILY',
        `there is no column family ${request.family.name} with id ${request.family.id} in this snapshot`,
      )
    }
    return snapshot.view
  }

  /** As many of the keys as fit into one answer, at least one. */
  private async sendKeys(request: Message<'fetchKeys'>): Promise<void> {
    const view = this.viewOf(request)
    const { snapshot, family, keys } = request
    const entries: Array<[Uint8Array, Uint8Array]> = []
    let bytes = 0
    let answered = 0
    for (const key of keys) {
      const value = await this.engine.get(family.id, key, view)
      answered += 1
      if (value === undefined) continue
      entries.push([key, value])
      bytes += packedEntryBytes(key, value)
      if (bytes >= limits.chunkBytes) break
    }
    const packed = encodeChunk(entries)
    const head = { snapshot, family: family.id, answered, entryCount: entries.length, checksum: crc32(packed) }
    this.link.send('fetchedKeys', head, packed)
  }

  private async sendChunk(request: Message<'chunkRequest'>): Promise<void> {
    const view = this.viewOf(request)
    const bytesMax = Math.min(request.bytesMax, limits.chunkBytesMax)
    const chunk = await this.engine.readChunk(view, request.family.id, request.start, bytesMax)
    await pause(this.clock, this.pacer.take(this.clock.nowMs(), chunk.bytes.length))
    this.link.send(
      'chunk',
      {
        snapshot: request.snapshot,
        family: request.family.id,
        entryCount: chunk.entryCount,
        checksum: crc32(chunk.bytes),
        nextKey: chunk.nextKey,
      },
      chunk.bytes,
    )
  }

  /** A source that is not asked by a follower shows its committed prefix and nothing beyond (C1). */
  private async subscribe(request: Message<'subscribe'>): Promise<void> {
    this.feeder = await answerSubscribe(this.link, this.journal, request, {
      epoch: this.record().epoch,
      epochStart: 0,
      committed: this.committed(),
      limit: () => Math.min(this.committed(), this.journal.durable.sequence),
    })
    this.feeder?.pump()
  }

  private async dropSnapshot(): Promise<void> {
    const { snapshot } = this
    this.snapshot = undefined
    await snapshot?.view.close()
  }

  /** A destination that asks for nothing gives its snapshot back: it holds the engine's old versions. */
  private watchIdle(): void {
    this.idle?.cancel()
    this.idle = this.clock.setTimer(limits.snapshotIdleMs, () => {
      if ((this.snapshot !== undefined || this.checkpoint.isHolding) && !this.busy) {
        this.link.fail({ code: 'TIMEOUT', message: `nothing was asked for within ${limits.snapshotIdleMs} ms` })
      }
    })
  }
}
