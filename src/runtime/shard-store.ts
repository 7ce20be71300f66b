import { invariant } from '../core/invariant.js'
import type { Epoch, Position } from '../core/position.js'
import { formatEpoch, higherEpoch } from '../core/position.js'
import { newerRecord, type ShardRecord } from '../core/record.js'
import { isFailure, UnderstudyError } from '../errors.js'
import type { MemberAddress } from '../ports/coordinator.js'
import type { FileSystem } from '../ports/file-system.js'
import { makeDurableDirectory } from '../storage/durable-directory.js'
import { readDurableJson, writeDurableJson } from '../storage/durable-json.js'

const superblockName = 'shard.json'
const incompleteName = 'INCOMPLETE'
const formatVersion = 1
/** Within `incoming`: files of a checkpoint that are not in their place yet. */
export const incomingFilesName = 'files'

/** A record of a standby or of a bootstrap under way that holds back the journal's retention, up to a cap. */
export interface Slot {
  readonly name: string
  readonly sequence: number
  /** Wall clock, for the expiry of slots whose owner never came back. */
  readonly touchedAtMs: number
}

/** What a node must not forget about a shard, apart from the data. */
export interface Superblock {
  readonly formatVersion: number
  readonly cluster: string
  readonly shard: string
  readonly incarnation: string
  /** Highest epoch seen: fsynced before any answer in it (S3). */
  readonly promised: Epoch
  readonly record: ShardRecord
  /** Highest epoch in which this directory was primary: never used again after a restart (S3). */
  readonly led: Epoch
  /**
   * False after a bootstrap until a primary has told its record: before, this directory may have forgotten a record
   * that an earlier one under the same name held, and must not help to decide a promotion.
   */
  readonly adopted: boolean
  /**
   * True from a history's creation until the coordinator has its record: then nothing was ever written here, and
   * another history may take its place.
   */
  readonly provisional: boolean
  readonly slots: readonly Slot[]
  /**
   * Another node takes part, or did: a primary that is alone in its set then reads under its registration only, also
   * after a restart in which it sees nobody (L4).
   */
  readonly hadCompany?: boolean | undefined
  /**
   * Where the others were when this node last heard of them: without the coordinator a node that was restarted finds
   * whoever leads in no other way (L4). With an automatic coordinator only.
   */
  readonly members?: readonly MemberAddress[] | undefined
  /** Present while entries are undone: the data here is not readable and counts for nothing before it is gone. */
  readonly rewinding?: RewindMark | undefined
}

/**
 * A rewind that has begun. The keys it touches are those of the journal's tail after `common`, which is there (and
 * durable) until they have been written; from then on the data is a mixture until `snapshot` is replayed.
 */
export interface RewindMark {
  readonly common: Position
  /** End of the tail that is undone. */
  readonly end: Position
  /** Where the snapshot was taken that values come from; stored before any of them is written. */
  readonly snapshot?: Position | undefined
  /** Given up: why only a bootstrap helps. */
  readonly resync?: string | undefined
}

/** Progress of an unfinished bootstrap, beside what the incoming engine keeps. */
export interface IncomingState {
  readonly formatVersion: number
  readonly cluster: string
  readonly shard: string
  readonly incarnation: string
  readonly promised: Epoch
  readonly record: ShardRecord
  readonly first: Position
  readonly highest: Position
  readonly families: ReadonlyArray<{ readonly id: number; readonly name: string }>
  readonly familyIdNext: number
  readonly restarts: number
  /** The content comes as files of this checkpoint, taken at `highest`; absent while it comes in chunks. */
  readonly checkpoint?: string | undefined
}

/**
 * Directories of one shard: `current` is data, `incoming` a bootstrap under way (marked incomplete until it is
 * whole), `old` what an installation replaced. Everything that decides which is which is a rename.
 */
export class ShardStore {
  readonly files: FileSystem
  readonly root: string
  readonly current: string
  readonly incoming: string
  /** Of the data's engine; they go when the data does. */
  readonly checkpoints: string
  private readonly shards: string
  private readonly old: string
  private superblockNow: Superblock | undefined
  private writing: Promise<void> = Promise.resolve()

  constructor(files: FileSystem, dataDirectory: string, shard: string) {
    this.files = files
    this.shards = files.join(dataDirectory, 'shards')
    this.root = files.join(this.shards, shard)
    this.current = files.join(this.root, 'current')
    this.incoming = files.join(this.root, 'incoming')
    this.checkpoints = files.join(this.current, 'checkpoints')
    this.old = files.join(this.root, 'old')
  }

  get superblock(): Superblock | undefined {
    return this.superblockNow
  }

  /** Finishes an installation that a crash cut short, then reads what is there. */
  async open(): Promise<void> {
    await this.finishInstallation()
    await this.files.removeTree(this.old)
    const found = await readDurableJson(this.files, this.current, superblockName)
    const unfinished = await this.exists(this.files.join(this.current, incompleteName))
    if (found === undefined) {
      // A creation that a crash cut short is marked so: nothing was ever acknowledged from it. Anything else is data.
      if (!unfinished && (await this.exists(this.current)) && (await this.files.list(this.current)).length > 0) {
        throw new UnderstudyError(
          'CORRUPTION',
          `${this.files.join(this.current, superblockName)} is missing beside data`,
          {
            hint: 'restore the file, or rebuild this node from another with `understudy bootstrap --replace`',
          },
        )
      }
      await this.files.removeTree(this.current)
      this.superblockNow = undefined
      return
    }
    if (unfinished) await this.files.remove(this.files.join(this.current, incompleteName))
    this.superblockNow = checkVersion(found as Superblock, this.files.join(this.current, superblockName))
  }

  /** An empty directory for a new history, marked incomplete until `create`. */
  async beginCurrent(): Promise<void> {
    await this.beginIn(this.current)
  }

  /**
   * As `open`, but what is there is given up, even if it cannot be read: it stays where it is until an installation
   * takes its place. Returns what it was. An installation that is finished here is no longer the old data, and kept.
   */
  async openForReplacement(): Promise<Superblock | undefined> {
    if (await this.finishInstallation()) {
      await this.open()
      return undefined
    }
    this.superblockNow = undefined
    try {
      return (await readDurableJson(this.files, this.current, superblockName)) as Superblock | undefined
    } catch (error) {
      if (isFailure(error, 'CORRUPTION')) return undefined
      throw error
    }
  }

  /** Gives up a history that never came to be: its journal holds nothing. */
  async discardProvisional(): Promise<void> {
    await this.inTurn(async () => {
      invariant(this.superblockNow?.provisional === true, 'only what was never announced is discarded')
      this.superblockNow = undefined
      await this.files.removeTree(this.current)
      await this.files.syncDirectory(this.root)
    })
  }

  /** The first superblock is written last: with it the directory becomes data. */
  async create(superblock: Omit<Superblock, 'formatVersion'>): Promise<void> {
    await this.save({ ...superblock, formatVersion })
    await this.files.remove(this.files.join(this.current, incompleteName))
    await this.files.syncDirectory(this.current)
  }

  /** One change at a time, durable when it resolves. `change` sees what the one before left. */
  update(change: (now: Superblock) => Superblock): Promise<Superblock> {
    return this.inTurn(async () => {
      const now = this.superblockNow
      if (now === undefined) throw new UnderstudyError('NOT_READY', `${this.root}: no data yet`)
      const next = change(now)
      if (next !== now) await this.save(next)
      return next
    })
  }

  private inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.writing.then(work)
    this.writing = result.then(
      () => undefined,
      () => undefined,
    )
    return result
  }

  /** Promises `epoch`; a lower one than promised changes nothing. */
  promise(epoch: Epoch): Promise<Superblock> {
    return this.update((now) => {
      const promised = higherEpoch(now.promised, epoch)
      return formatEpoch(promised) === formatEpoch(now.promised) ? now : { ...now, promised }
    })
  }

  // Bootstrap

  async incomingState(): Promise<IncomingState | undefined> {
    if (!(await this.exists(this.incoming)) || !(await this.isIncomplete())) return undefined
    const found = await readDurableJson(this.files, this.incoming, 'bootstrap.json')
    return found === undefined ? undefined : checkVersion(found as IncomingState, this.incoming)
  }

  /** `keepFiles`: files of a checkpoint that were left by `discardIncoming` stay. */
  async beginIncoming(keepFiles = false): Promise<void> {
    if (keepFiles && (await this.keepsFiles())) return
    await this.beginIn(this.incoming)
  }

  private async beginIn(directory: string): Promise<void> {
    await this.files.removeTree(directory)
    await this.files.makeDirectory(directory)
    const marker = await this.files.open(this.files.join(directory, incompleteName), 'create')
    await marker.sync()
    await marker.close()
    await this.files.syncDirectory(directory)
    await this.files.syncDirectory(this.root)
  }

  saveIncoming(state: Omit<IncomingState, 'formatVersion'>): Promise<void> {
    return writeDurableJson(this.files, this.incoming, 'bootstrap.json', { ...state, formatVersion })
  }

  /**
   * `keepFiles`: files of a checkpoint stay. Those that the next one names too are verified again, and not fetched; the
   * directory is incomplete as before.
   */
  async discardIncoming(keepFiles = false): Promise<void> {
    if (keepFiles && (await this.keepsFiles())) return
    await this.files.removeTree(this.incoming)
    await this.files.syncDirectory(this.root)
  }

  /** Removes everything but the files of a checkpoint; false if there are none, or if nothing marks them incomplete. */
  private async keepsFiles(): Promise<boolean> {
    const kept = [incomingFilesName, incompleteName]
    for (const name of kept) if (!(await this.exists(this.files.join(this.incoming, name)))) return false
    for (const name of await this.files.list(this.incoming)) {
      if (!kept.includes(name)) await this.files.removeTree(this.files.join(this.incoming, name))
    }
    await this.files.syncDirectory(this.incoming)
    return true
  }

  /**
   * The incoming directory becomes the data; its engine and journal must be closed. What the data before had promised
   * and knew of the record is kept, whatever was promised while this went on (S3).
   */
  finishIncoming(superblock: Omit<Superblock, 'formatVersion'>): Promise<void> {
    return this.inTurn(async () => {
      const before = this.superblockNow
      const same = before !== undefined && before.record.historyId === superblock.record.historyId ? before : undefined
      const merged: Superblock = {
        ...superblock,
        formatVersion,
        promised: same === undefined ? superblock.promised : higherEpoch(same.promised, superblock.promised),
        record: newerRecord(superblock.record, same?.record) ?? superblock.record,
        adopted: superblock.adopted || same?.adopted === true,
      }
      await writeDurableJson(this.files, this.incoming, superblockName, merged)
      await this.files.remove(this.files.join(this.incoming, incompleteName))
      await this.files.syncDirectory(this.incoming)
      await this.install()
      this.superblockNow = merged
    })
  }

  private async finishInstallation(): Promise<boolean> {
    await makeDurableDirectory(this.files, this.root)
    // A process that ended between making and syncing them may have left names that only the cache knows.
    await this.files.syncDirectory(this.files.join(this.shards, '..'))
    await this.files.syncDirectory(this.shards)
    if (!(await this.exists(this.incoming)) || (await this.isIncomplete())) return false
    if ((await readDurableJson(this.files, this.incoming, superblockName)) === undefined) return false
    await this.install()
    return true
  }

  private async install(): Promise<void> {
    await this.files.removeTree(this.old)
    if (await this.exists(this.current)) await this.files.rename(this.current, this.old)
    await this.files.rename(this.incoming, this.current)
    await this.files.syncDirectory(this.root)
    await this.files.removeTree(this.old)
  }

  private async save(superblock: Superblock): Promise<void> {
    await writeDurableJson(this.files, this.current, superblockName, superblock)
    this.superblockNow = superblock
  }

  private async exists(path: string): Promise<boolean> {
    return (await this.files.stat(path)) !== undefined
  }

  private isIncomplete(): Promise<boolean> {
    return this.exists(this.files.join(this.incoming, incompleteName))
  }
}

function checkVersion<T extends { readonly formatVersion: number }>(found: T, path: string): T {
  if (found.formatVersion !== formatVersion) {
    throw new UnderstudyError(
      'FORMAT_VERSION',
      `${path}: format version ${found.formatVersion}; this release reads ${formatVersion}`,
      {
        hint: 'open the directory with the release that wrote it, or a later one',
      },
    )
  }
  return found
}
