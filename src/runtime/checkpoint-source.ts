import { decodeMessage, type Message } from '../codec/messages.js'
import type { Pacer } from '../core/checkpoint-transfer.js'
import { limits } from '../core/limits.js'
import type { ShardRecord } from '../core/record.js'
import { isFailure, toUnderstudyError, UnderstudyError } from '../errors.js'
import type { Link } from '../link/link.js'
import type { Clock } from '../ports/clock.js'
import type { EngineFiles } from '../ports/engine.js'
import type { File } from '../ports/file-system.js'
import type { Journal } from '../ports/journal.js'
import type { Logger } from '../ports/logger.js'
import type { Checkpoints, HeldCheckpoint } from './checkpoints.js'
import { pause } from './pause.js'

const noFiles = { code: 'ENGINE_MISMATCH', message: 'the engine here has no files to hand out' } as const

interface OpenFile {
  readonly file: Promise<File>
  /** Bytes that are not sent yet. */
  left: number
}

/** A source's side of a bootstrap by files: the list of a checkpoint, and parts of its files as they are asked for. */
export class CheckpointSource {
  private readonly link: Link
  private readonly checkpoints: Checkpoints | undefined
  private readonly format: EngineFiles['format'] | undefined
  private readonly journal: Journal
  private readonly record: () => ShardRecord
  private readonly logger: Logger
  private readonly pacer: Pacer
  private readonly clock: Clock
  private held: HeldCheckpoint | undefined
  private readonly open = new Map<number, OpenFile>()
  private reading = 0

  constructor(parts: {
    readonly link: Link
    readonly checkpoints: Checkpoints | undefined
    /** Undefined: the engine here has no files to hand out. */
    readonly format: EngineFiles['format'] | undefined
    readonly journal: Journal
    readonly record: () => ShardRecord
    readonly logger: Logger
    readonly pacer: Pacer
    readonly clock: Clock
  }) {
    this.link = parts.link
    this.checkpoints = parts.checkpoints
    this.format = parts.format
    this.journal = parts.journal
    this.record = parts.record
    this.logger = parts.logger
    this.pacer = parts.pacer
    this.clock = parts.clock
  }

  get isHolding(): boolean {
    return this.held !== undefined
  }

  /** The journal is pinned already (F2). Position and files come from one flush and cannot disagree (F6). */
  async start(request: Message<'checkpointStart'>): Promise<void> {
    await this.drop()
    const { checkpoints } = this
    const refusal = this.refuse(request)
    if (refusal !== undefined || checkpoints === undefined) {
      this.link.send('checkpointRefused', refusal ?? noFiles)
      return
    }
    let held: HeldCheckpoint
    try {
      held = await checkpoints.obtain(request.slot, request.known)
    } catch (error) {
      // What only the files need: chunks are read without them. Damage and a close concern both.
      if (!isFailure(error, 'DISK_FULL', 'IO', 'LIMIT_EXCEEDED', 'BACKPRESSURE', 'NOT_READY')) throw error
      this.logger.warn({ slot: request.slot, error: error.message, code: error.code }, 'no checkpoint could be made')
      this.link.send('checkpointRefused', { code: error.failure, message: error.message.slice(0, 1000) })
      return
    }
    if (this.link.isClosed) {
      held.close()
      return
    }
    this.held = held
    const { id, position, families, familyIdNext, files } = held
    this.link.send('checkpoint', {
      id,
      position,
      families,
      familyIdNext,
      fileCount: files.length,
      bytes: files.reduce((sum, file) => sum + file.bytes, 0),
      epochs: this.journal.epochs.filter((start) => start.firstSequence <= position.sequence),
      record: this.record(),
    })
    for (let at = 0; at < files.length; at += limits.checkpointFilesPerFrame) {
      this.link.send('checkpointFiles', { files: files.slice(at, at + limits.checkpointFilesPerFrame) })
    }
  }

  /** Several may be under way; whoever asks for more than was granted, or for what is not there, is cut off. */
  request(payload: Uint8Array): void {
    const { file, offset, bytes } = decodeMessage('fileRequest', payload)
    const { held } = this
    if (held === undefined) throw new UnderstudyError('NOT_READY', 'no checkpoint is open here (any more)')
    const stored = held.files[file]
    if (stored === undefined || offset + bytes > stored.bytes || bytes > limits.fileRangeBytesMax) {
      throw new UnderstudyError('PROTOCOL', `${bytes} bytes at ${offset} of file ${file} are not there to be asked for`)
    }
    if (this.reading >= limits.fileRequestsMax) {
      throw new UnderstudyError('PROTOCOL', `more than ${limits.fileRequestsMax} requests for files at a time`)
    }
    this.reading += 1
    this.send(held, file, offset, bytes).then(
      () => {
        this.reading -= 1
      },
      (error) => this.link.fail(toUnderstudyError(error, `reading ${stored.name} for a bootstrap`)),
    )
  }

  async done(message: Message<'checkpointDone'>): Promise<void> {
    if (this.held?.id !== message.id) return
    await this.drop()
    await this.checkpoints?.release(message.id)
  }

  async drop(): Promise<void> {
    const { held } = this
    this.held = undefined
    const open = [...this.open.values()]
    this.open.clear()
    for (const { file } of open) await file.then((one) => one.close()).catch(() => undefined)
    held?.close()
  }

  private refuse(request: Message<'checkpointStart'>): Message<'checkpointRefused'> | undefined {
    if (this.format === undefined) return noFiles
    if (this.format !== request.format) {
      return { code: 'FORMAT_VERSION', message: `the files here are ${this.format}, asked for ${request.format}` }
    }
    return undefined
  }

  private async send(held: HeldCheckpoint, index: number, offset: number, bytes: number): Promise<void> {
    await pause(this.clock, this.pacer.take(this.clock.nowMs(), bytes))
    if (this.held !== held) return
    const file = await this.fileOf(held, index)
    const piece = Buffer.allocUnsafeSlow(bytes)
    const read = await file.read(piece, offset)
    if (read < bytes) {
      const { name } = held.files[index]!
      throw new UnderstudyError('CORRUPTION', `${name}: expected ${bytes} bytes at ${offset}, found ${read}`)
    }
    if (this.held !== held) return
    this.link.send('filePiece', { file: index, offset }, piece)
    const open = this.open.get(index)
    if (open === undefined) return
    open.left -= bytes
    if (open.left > 0) return
    this.open.delete(index)
    await file.close()
  }

  private fileOf(held: HeldCheckpoint, index: number): Promise<File> {
    let open = this.open.get(index)
    if (open === undefined) {
      if (this.open.size >= limits.filesInFlightMax * 2) {
        throw new UnderstudyError('PROTOCOL', `parts of more than ${this.open.size} files are asked for at a time`)
      }
      open = { file: held.openFile(index), left: held.files[index]!.bytes }
      this.open.set(index, open)
    }
    return open.file
  }
}
