import { epochOf, formatDivergentName, parseDivergentName } from '../core/divergent.js'
import type { EpochStart } from '../core/entry.js'
import { commonEnd } from '../core/history.js'
import { limits } from '../core/limits.js'
import { compareEpochs, formatEpoch } from '../core/position.js'
import { isFailure, UnderstudyError } from '../errors.js'
import type { Journal, JournalFactory, JournalIdentity, SavedTail } from '../ports/journal.js'
import type { Logger } from '../ports/logger.js'
import type { DivergentFileStatus } from './handle.js'
import type { ShardStore } from './shard-store.js'

/**
 * Side files of one shard: whatever was cut from the journal here because another history took its place. They lie
 * beside the data, so that no installation of a bootstrap deletes them, and are kept until somebody removes them or
 * there are too many: then the oldest goes, which is said aloud, and never the newest.
 */
export class DivergentFiles {
  private readonly store: ShardStore
  private readonly journals: JournalFactory
  private readonly logger: Logger
  private files: readonly DivergentFileStatus[] | undefined
  private removed: string | undefined

  constructor(store: ShardStore, journals: JournalFactory, logger: Logger) {
    this.store = store
    this.journals = journals
    this.logger = logger
  }

  /** Oldest first, by the epoch and sequence of what was cut. */
  get status(): readonly DivergentFileStatus[] {
    return this.files ?? []
  }

  get warnings(): readonly string[] {
    const warnings: string[] = []
    const newest = this.status.at(-1)
    if (newest !== undefined) {
      const entries = this.status.reduce((sum, file) => sum + file.entries, 0)
      warnings.push(
        `${this.status.length === 1 ? `${newest.name} keeps` : `${this.status.length} files divergent-*.journal keep`} ${entries} entries that were cut here: read them with \`understudy journal\` and remove what nobody needs (at most ${limits.divergentFilesMax} files are kept)`,
      )
    }
    if (this.removed !== undefined) warnings.push(this.removed)
    return warnings
  }

  /** Reads what is there, and removes what a crash has left half-written. */
  async load(): Promise<void> {
    const { files, root } = this.store
    const found: DivergentFileStatus[] = []
    for (const name of await files.list(root)) {
      const path = files.join(root, name)
      if (name.endsWith('.tmp') && parseDivergentName(name.slice(0, -4)) !== undefined) await files.remove(path)
      if (parseDivergentName(name) === undefined) continue
      const tail = await this.describe(path)
      if (tail === undefined) this.logger.warn({ path }, 'a side file cannot be read: it is left alone')
      else found.push(statusOf(name, tail))
    }
    this.files = found.sort(inOrder)
  }

  private async describe(path: string): Promise<SavedTail | undefined> {
    try {
      return await this.journals.describeTail(path)
    } catch (error) {
      if (isFailure(error, 'CORRUPTION', 'PROTOCOL', 'FORMAT_VERSION')) return undefined
      throw error
    }
  }

  /** Durable when it resolves: everything in the journal after `commonSequence`. Undefined if there is nothing. */
  async save(journal: Journal, commonSequence: number): Promise<DivergentFileStatus | undefined> {
    if (this.files === undefined) await this.load()
    if (journal.appended.sequence <= commonSequence) return undefined
    const { root } = this.store
    const after = commonSequence < journal.base.sequence ? journal.base : await journal.positionAt(commonSequence)
    if (after === undefined) {
      throw new UnderstudyError('DIVERGED', `no block of the journal here ends at sequence ${commonSequence}`)
    }
    const sequence = commonSequence + 1
    const epoch = epochOf(journal.epochs, sequence)
    for (let copy = 0; copy < limits.divergentFilesMax * 2; copy++) {
      const name = formatDivergentName({ epoch, sequence, copy })
      const tail = await journal.saveTail({ after, commonSequence }, root, name)
      if (tail === undefined) continue
      const file = statusOf(name, tail)
      const others = this.status.filter((one) => one.name !== name)
      const isNew = others.length === this.status.length
      this.files = [...others, file].sort(inOrder)
      if (isNew) {
        this.logger.warn({ ...file }, 'entries that another history does not have are kept in a side file')
      }
      await this.makeRoom(name)
      return file
    }
    throw new UnderstudyError('LIMIT_EXCEEDED', `${root}: too many side files begin with sequence ${sequence}`, {
      hint: 'remove the files divergent-*.journal that nobody needs',
    })
  }

  /**
   * Before other data takes the place of the journal in `directory`: keeps what the new history does not have.
   * `epochs` and `end` are the new one's.
   */
  async saveReplaced(
    directory: string,
    identity: JournalIdentity,
    replacement: { readonly epochs: readonly EpochStart[]; readonly end: number },
  ): Promise<DivergentFileStatus | undefined> {
    const { files } = this.store
    if ((await files.stat(directory)) === undefined) return undefined
    let journal: Journal
    try {
      journal = (
        await this.journals.open(directory, identity, { onDurable: () => undefined, onFailed: () => undefined })
      ).journal
    } catch (error) {
      // What cannot be read is why it is replaced, or belongs to another history that was given up as a whole.
      if (!isFailure(error, 'CORRUPTION', 'FOREIGN_DIRECTORY', 'FORMAT_VERSION')) throw error
      this.logger.warn({ directory, error: error.message }, 'the journal that is replaced cannot be read: no side file')
      return undefined
    }
    try {
      const old = { epochs: journal.epochs, end: journal.durable.sequence }
      return await this.save(journal, commonEnd(old, replacement) ?? 0)
    } finally {
      await journal.close()
    }
  }

  private async makeRoom(newest: string): Promise<void> {
    const { files, root } = this.store
    for (;;) {
      const bytes = this.status.reduce((sum, file) => sum + file.bytes, 0)
      if (this.status.length <= limits.divergentFilesMax && bytes <= limits.divergentBytesMax) return
      const oldest = this.status.find((file) => file.name !== newest)
      if (oldest === undefined) return
      await files.remove(files.join(root, oldest.name))
      await files.syncDirectory(root)
      this.files = this.status.filter((file) => file !== oldest)
      this.removed = `${oldest.name} with ${oldest.entries} cut entries was removed to make room for newer ones`
      this.logger.warn({ ...oldest }, 'the oldest side file was removed: there were too many')
    }
  }
}

function statusOf(name: string, tail: SavedTail): DivergentFileStatus {
  return {
    name,
    epoch: formatEpoch(parseDivergentName(name)!.epoch),
    firstSequence: tail.firstSequence,
    lastSequence: tail.lastSequence,
    entries: tail.lastSequence - tail.firstSequence + 1,
    missingEntries: tail.firstSequence - 1 - tail.commonSequence,
    bytes: tail.bytes,
  }
}

function inOrder(a: DivergentFileStatus, b: DivergentFileStatus): number {
  const one = parseDivergentName(a.name)!
  const other = parseDivergentName(b.name)!
  return compareEpochs(one.epoch, other.epoch) || one.sequence - other.sequence || one.copy - other.copy
}
