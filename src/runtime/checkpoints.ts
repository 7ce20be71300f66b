import { checkpointsToRemove, checkpointsToReplace, type KeptCheckpoint } from '../core/checkpoint-transfer.js'
import type { Family } from '../core/entry.js'
import { limits } from '../core/limits.js'
import type { Position } from '../core/position.js'
import { isFailure, toUnderstudyError, UnderstudyError } from '../errors.js'
import type { Clock, Timer } from '../ports/clock.js'
import type { Engine, StoredFile } from '../ports/engine.js'
import type { File, FileSystem } from '../ports/file-system.js'
import type { Journal } from '../ports/journal.js'
import type { Logger } from '../ports/logger.js'
import type { Random } from '../ports/random.js'
import { readDurableJson, writeDurableJson } from '../storage/durable-json.js'

const fileName = 'checkpoint.json'
const formatVersion = 1

/** As it lies beside the files, so that a restart finds it. */
interface StoredCheckpoint {
  readonly formatVersion: number
  readonly id: string
  readonly slot: string
  readonly position: Position
  readonly families: readonly Family[]
  readonly familyIdNext: number
  readonly files: readonly StoredFile[]
}

interface Kept {
  readonly stored: StoredCheckpoint
  readers: number
  idleSinceMs: number
}

/** A checkpoint that a bootstrap reads; to be closed. */
export interface HeldCheckpoint {
  readonly id: string
  readonly position: Position
  readonly families: readonly Family[]
  readonly familyIdNext: number
  readonly files: readonly StoredFile[]
  openFile(index: number): Promise<File>
  close(): void
}

/**
 * Checkpoints of the engine that bootstraps read, on the source. Each is a directory of hard links beside the engine;
 * one belongs to one slot and goes with it, or when nobody has read it for long. What an earlier process left is kept
 * for a while, so that a bootstrap goes on where it was.
 */
export class Checkpoints {
  private readonly files: FileSystem
  private readonly directory: string
  private readonly engine: Engine
  private readonly journal: Journal
  private readonly clock: Clock
  private readonly random: Random
  private readonly logger: Logger
  private readonly slots: () => ReadonlySet<string>
  private readonly kept = new Map<string, Kept>()
  /** One at a time: making, removing. */
  private turn: Promise<unknown>
  private sweepTimer: Timer | undefined
  private closed = false

  constructor(parts: {
    readonly files: FileSystem
    /** On the file system of the engine. */
    readonly directory: string
    readonly engine: Engine
    readonly journal: Journal
    readonly clock: Clock
    readonly random: Random
    readonly logger: Logger
    /** Names of the slots that exist. */
    readonly slots: () => ReadonlySet<string>
  }) {
    this.files = parts.files
    this.directory = parts.directory
    this.engine = parts.engine
    this.journal = parts.journal
    this.clock = parts.clock
    this.random = parts.random
    this.logger = parts.logger
    this.slots = parts.slots
    this.turn = this.load().catch((error) => this.warn(error, 'reading the checkpoints of an earlier process'))
    this.scheduleSweep()
  }

  /**
   * The checkpoint `known` if it is still of use, else a new one. Rejects with a coded error where none can be made:
   * the disk is full, or does not link files.
   */
  obtain(slot: string, known: string | undefined): Promise<HeldCheckpoint> {
    return this.inTurn(async () => {
      if (this.closed) throw new UnderstudyError('CLOSED', 'the data is being closed')
      const found = known === undefined ? undefined : this.kept.get(known)
      if (found?.stored.slot === slot && (await this.isInHistory(found.stored.position))) return this.hold(found)
      const replaced = checkpointsToReplace(this.listed, slot, limits.checkpointsMax)
      if (replaced === undefined) {
        throw new UnderstudyError('BACKPRESSURE', `${this.kept.size} checkpoints are being read already`)
      }
      for (const id of replaced) await this.remove(id)
      return this.hold(await this.make(slot))
    })
  }

  /** All its files are where they were wanted. */
  async release(id: string): Promise<void> {
    await this.inTurn(async () => {
      if (this.kept.get(id)?.readers === 0) await this.remove(id)
    })
  }

  async close(): Promise<void> {
    this.closed = true
    this.sweepTimer?.cancel()
    await this.turn
  }

  private async load(): Promise<void> {
    if ((await this.files.stat(this.directory)) === undefined) return
    const names = await this.files.list(this.directory)
    for (const name of names) {
      const stored = await this.read(name)
      if (stored === undefined) await this.removeDirectory(name)
      else this.kept.set(name, { stored, readers: 0, idleSinceMs: this.clock.nowMs() })
    }
    await this.sweep()
    // More than ever were kept: the directory came from elsewhere, or from a release with another bound.
    for (const id of [...this.kept.keys()].slice(limits.checkpointsMax)) await this.remove(id)
  }

  /** Undefined for one that is not whole: its description is written last. */
  private async read(name: string): Promise<StoredCheckpoint | undefined> {
    try {
      const found = await readDurableJson(this.files, this.files.join(this.directory, name), fileName)
      const stored = found as StoredCheckpoint | undefined
      return stored?.formatVersion === formatVersion && stored.id === name ? stored : undefined
    } catch (error) {
      if (isFailure(error, 'CORRUPTION')) return undefined
      throw error
    }
  }

  private async make(slot: string): Promise<Kept> {
    const id = this.random.hex(16)
    const own = this.files.join(this.directory, id)
    const startMs = this.clock.nowMs()
    try {
      await this.files.makeDirectory(own)
      const made = await this.engine.checkpointFiles!(this.files.join(own, 'files'))
      if (made.files.length > limits.checkpointFilesMax) {
        throw new UnderstudyError(
          'LIMIT_EXCEEDED',
          `the engine has ${made.files.length} files, more than ${limits.checkpointFilesMax}`,
        )
      }
      if (!(await this.isInHistory(made.position))) {
        throw new UnderstudyError('NOT_READY', `the checkpoint at ${made.position.sequence} is not in the journal here`)
      }
      const stored: StoredCheckpoint = { formatVersion, id, slot, ...made }
      await writeDurableJson(this.files, own, fileName, stored)
      await this.files.syncDirectory(this.directory)
      const kept = { stored, readers: 0, idleSinceMs: this.clock.nowMs() }
      this.kept.set(id, kept)
      this.logger.info(
        { slot, position: made.position.sequence, files: made.files.length, tookMs: this.clock.nowMs() - startMs },
        'checkpoint made for a bootstrap',
      )
      return kept
    } catch (error) {
      await this.removeDirectory(id).catch((again) => this.warn(again, 'removing a checkpoint'))
      throw toUnderstudyError(error, `making a checkpoint in ${own}`)
    }
  }

  /** A rewind may have taken back what an old checkpoint holds. */
  private async isInHistory(position: Position): Promise<boolean> {
    return (await this.journal.positionAt(position.sequence))?.chain === position.chain
  }

  private hold(kept: Kept): HeldCheckpoint {
    kept.readers += 1
    const { id, position, families, familyIdNext, files } = kept.stored
    let open = true
    return {
      id,
      position,
      families,
      familyIdNext,
      files,
      openFile: (index) => this.files.open(this.files.join(this.directory, id, 'files', files[index]!.name), 'read'),
      close: () => {
        if (!open) return
        open = false
        kept.readers -= 1
        kept.idleSinceMs = this.clock.nowMs()
      },
    }
  }

  private get listed(): KeptCheckpoint[] {
    const nowMs = this.clock.nowMs()
    return [...this.kept.values()].map(({ stored, readers, idleSinceMs }) => ({
      id: stored.id,
      slot: stored.slot,
      inUse: readers > 0,
      idleMs: nowMs - idleSinceMs,
    }))
  }

  private scheduleSweep(): void {
    this.sweepTimer = this.clock.setTimer(limits.checkpointSweepMs, () => {
      if (this.closed) return
      if (this.kept.size > 0)
        this.inTurn(() => this.sweep()).catch((error) => this.warn(error, 'removing a checkpoint'))
      this.scheduleSweep()
    })
  }

  private async sweep(): Promise<void> {
    for (const id of checkpointsToRemove(this.listed, this.slots(), limits.checkpointIdleMs)) await this.remove(id)
  }

  private async remove(id: string): Promise<void> {
    this.kept.delete(id)
    await this.removeDirectory(id)
  }

  private async removeDirectory(name: string): Promise<void> {
    await this.files.removeTree(this.files.join(this.directory, name))
    await this.files.syncDirectory(this.directory)
  }

  private warn(error: unknown, doing: string): void {
    this.logger.warn({ error: error instanceof Error ? error.message : String(error) }, `${doing} failed`)
  }

  private inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.turn.then(work)
    this.turn = result.then(
      () => undefined,
      () => undefined,
    )
    return result
  }
}
