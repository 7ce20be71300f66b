import { decodeMessage, decodeMessageAndRest, type Message } from '../codec/messages.js'
import {
  type FileRange,
  type FileToFetch,
  Pacer,
  rangeBytesFor,
  refuseFiles,
  TransferPlan,
} from '../core/checkpoint-transfer.js'
import { limits } from '../core/limits.js'
import { toUnderstudyError, UnderstudyError } from '../errors.js'
import type { Link } from '../link/link.js'
import type { Clock } from '../ports/clock.js'
import type { File } from '../ports/file-system.js'
import type { Logger } from '../ports/logger.js'
import type { IncomingFiles } from './incoming-files.js'
import type { SourceInbox } from './source-inbox.js'

/** What a source hands out: a checkpoint and its files. */
export interface OfferedCheckpoint {
  readonly checkpoint: Message<'checkpoint'>
  readonly files: readonly FileToFetch[]
}

/** Asks a source for a checkpoint; answers why it has none, if it has none. */
export async function askForCheckpoint(
  link: Link,
  request: Message<'checkpointStart'>,
  signal: AbortSignal,
): Promise<OfferedCheckpoint | Message<'checkpointRefused'>> {
  link.send('checkpointStart', request)
  const [name, payload] = await link.expectOneOf(
    ['checkpoint', 'checkpointRefused'],
    limits.checkpointTimeoutMs,
    signal,
  )
  if (name === 'checkpointRefused') return decodeMessage('checkpointRefused', payload)
  const checkpoint = decodeMessage('checkpoint', payload)
  const protocolError = (what: string) => new UnderstudyError('PROTOCOL', `checkpoint of ${link.remote}: ${what}`)
  if (checkpoint.fileCount > limits.checkpointFilesMax) throw protocolError(`${checkpoint.fileCount} files`)
  const files: FileToFetch[] = []
  while (files.length < checkpoint.fileCount) {
    const part = await link.expect('checkpointFiles', limits.requestTimeoutMs, signal)
    if (part.files.length === 0) throw protocolError(`${files.length} of ${checkpoint.fileCount} files are listed`)
    files.push(...part.files)
  }
  if (files.length > checkpoint.fileCount) throw protocolError('more files than announced')
  const refusal = refuseFiles(files, checkpoint)
  if (refusal !== undefined) throw protocolError(refusal)
  return { checkpoint, files }
}

export interface CheckpointTransferParts {
  readonly link: Link
  readonly inbox: SourceInbox
  readonly offer: OfferedCheckpoint
  readonly incoming: IncomingFiles
  /** Marks what this node's own disk refused. */
  readonly own: <T>(work: Promise<T>) => Promise<T>
  readonly clock: Clock
  readonly logger: Logger
  readonly maxBytesPerSecond: number | undefined
  /** Once: so much was here before, and is verified now. */
  readonly onKept: (bytes: number) => void
  /** On the disk, not verified yet. */
  readonly onBytes: (bytes: number) => void
  /** So many bytes were of no use. */
  readonly onDamaged: (bytes: number) => void
}

interface Part {
  readonly range: FileRange
  readonly parts: readonly Uint8Array[]
}

interface OpenFile {
  readonly file: Promise<File>
  /** Parts that have come and are not being written yet. */
  readonly waiting: Part[]
  busy: boolean
}

/** Takes the parts that can go to the disk in one write. */
function takeRun(waiting: Part[]): Part[] {
  waiting.sort((a, b) => a.range.offset - b.range.offset)
  let count = 1
  while (count < waiting.length && endOf(waiting[count - 1]!) === waiting[count]!.range.offset) count += 1
  return waiting.splice(0, count)
}

function endOf({ range }: Part): number {
  return range.offset + range.bytes
}

/**
 * Fetches the files of a checkpoint: several parts at a time, each written as it came, each file synced, read back and
 * held against the list before it counts. What was whole before an interruption is not fetched again.
 */
export class CheckpointTransfer {
  private readonly parts: CheckpointTransferParts
  private readonly plan: TransferPlan
  private readonly pacer: Pacer
  private readonly open = new Map<number, OpenFile>()
  private failure: unknown
  private readonly working = new Set<Promise<void>>()
  private heardMs: number

  constructor(parts: CheckpointTransferParts) {
    this.parts = parts
    this.heardMs = parts.clock.nowMs()
    this.pacer = new Pacer(parts.maxBytesPerSecond)
    this.plan = new TransferPlan(parts.offer.files, {
      rangeBytes: rangeBytesFor(parts.maxBytesPerSecond, {
        bytes: limits.fileRangeBytes,
        bytesMin: limits.fileRangeBytesMin,
      }),
      requestsMax: limits.fileRequestsMax,
      filesMax: limits.filesInFlightMax,
      attemptsMax: limits.fileAttemptsMax,
    })
  }

  /** Resolves when all files are here and verified; after a rejection nothing is written any more. */
  async run(signal: AbortSignal): Promise<void> {
    const { inbox, incoming, offer, onKept } = this.parts
    let kept = 0
    await this.disk(
      incoming.reconcile(offer.files, (file) => {
        this.plan.keep(file)
        kept += offer.files[file]!.bytes
      }),
    )
    onKept(kept)
    inbox.onPiece = (payload, tail) => this.receive(payload, tail)
    try {
      await this.fetch(signal)
    } finally {
      inbox.onPiece = undefined
      await Promise.all(this.working)
      for (const { file } of this.open.values()) await file.then((one) => one.close()).catch(() => undefined)
    }
  }

  private async fetch(signal: AbortSignal): Promise<void> {
    const { clock, inbox, link } = this.parts
    let asked: FileRange | undefined
    let askAtMs = 0
    this.heardMs = clock.nowMs()
    while (!this.plan.isDone) {
      if (this.failure !== undefined) throw this.failure
      if (signal.aborted || inbox.ended) {
        throw inbox.error ?? new UnderstudyError('UNAVAILABLE', `${link.remote} ended the connection`)
      }
      const nowMs = clock.nowMs()
      if (asked === undefined) {
        asked = this.plan.ask()
        if (asked !== undefined) askAtMs = nowMs + this.pacer.take(nowMs, asked.bytes)
      }
      if (asked !== undefined && askAtMs <= nowMs) {
        if (this.awaited === 0) this.heardMs = nowMs
        this.awaited += 1
        link.send('fileRequest', asked)
        asked = undefined
        continue
      }
      this.checkSilence(nowMs)
      await inbox.wake.wait(asked === undefined ? limits.pollMs : Math.max(1, Math.ceil(askAtMs - nowMs)))
    }
  }

  /** Parts that were asked for and have not come. */
  private awaited = 0

  private checkSilence(nowMs: number): void {
    const silenceMs = limits.chunkTimeoutMs * limits.chunkTimeoutsMax
    if (this.awaited === 0 || nowMs - this.heardMs < silenceMs) return
    throw new UnderstudyError('TIMEOUT', `${this.parts.link.remote}: no part of a file within ${silenceMs} ms`)
  }

  /** Of this node's own file system: no reason to ask another source. */
  private disk<T>(work: Promise<T>): Promise<T> {
    return this.parts.own(
      work.catch((error) => {
        throw toUnderstudyError(error, 'storing the files of a checkpoint')
      }),
    )
  }

  private receive(payload: Uint8Array, tail: readonly Uint8Array[]): void {
    const { link, inbox, clock } = this.parts
    const [{ file, offset }, rest] = decodeMessageAndRest('filePiece', payload)
    const parts = rest.length > 0 ? [rest, ...tail] : tail
    const range = { file, offset, bytes: parts.reduce((sum, part) => sum + part.length, 0) }
    if (!this.plan.expects(range)) {
      throw new UnderstudyError('PROTOCOL', `${link.remote}: part of file ${file} at ${offset} was not asked for`)
    }
    this.plan.received(range)
    this.awaited -= 1
    this.heardMs = clock.nowMs()
    let open = this.open.get(file)
    if (open === undefined) {
      open = { file: this.parts.incoming.create(this.parts.offer.files[file]!.name), waiting: [], busy: false }
      this.open.set(file, open)
    }
    open.waiting.push({ range, parts })
    if (open.busy) return
    open.busy = true
    const work: Promise<void> = this.store(file, open)
      .catch((error) => {
        this.failure ??= error
      })
      .finally(() => {
        this.working.delete(work)
        inbox.wake.signal()
      })
    this.working.add(work)
  }

  /** One write at a time for each file, of all that has come and lies together: the kernel lets in no second one. */
  private async store(index: number, open: OpenFile): Promise<void> {
    const { inbox, onBytes } = this.parts
    const file = await this.disk(open.file)
    while (open.waiting.length > 0) {
      const run = takeRun(open.waiting)
      await this.disk(
        file.write(
          run.flatMap(({ parts }) => parts),
          run[0]!.range.offset,
        ),
      )
      let whole = false
      for (const { range } of run) {
        onBytes(range.bytes)
        whole = this.plan.written(range)
      }
      if (whole) return this.verify(index, file)
      inbox.wake.signal()
    }
    open.busy = false
  }

  private async verify(index: number, file: File): Promise<void> {
    const { incoming, offer, link, logger, onDamaged } = this.parts
    const expected = offer.files[index]!
    this.open.delete(index)
    if (await this.disk(incoming.finish(file, expected))) {
      this.plan.verified(index)
      return
    }
    onDamaged(expected.bytes)
    logger.warn({ source: link.remote, file: expected.name }, 'a file is not what was announced and is fetched again')
    if (this.plan.damaged(index)) return
    throw new UnderstudyError(
      'CORRUPTION',
      `${expected.name} from ${link.remote}: expected checksum ${expected.checksum}, found another ${limits.fileAttemptsMax} times`,
      { hint: 'the source, the network or the disk here is at fault; another source is asked' },
    )
  }
}
