import type { Block, EpochStart } from '../core/entry.js'
import type { Position } from '../core/position.js'

/**
 * The ordered blocks of one shard on one node's disk. All methods that return promises reject with coded errors.
 * After a write or fsync error the journal has failed: every later call rejects with the same error (F17, F18).
 */
export interface Journal {
  /** Position before the first retained block. */
  readonly base: Position
  /** End of the last block that was handed to `append`. */
  readonly appended: Position
  /** End of the last block that fsync covered. Never ahead of what fsync returned for. */
  readonly durable: Position
  /** Highest committed sequence that the disk vouches for: from block headers and flush marks, at most `durable`. */
  readonly committedMark: number
  /** Bytes of all segments on disk. */
  readonly bytes: number
  /** Bytes handed to `append` and not yet durable. */
  readonly pendingBytes: number
  readonly segments: readonly SegmentInfo[]
  /** Where each epoch begins, oldest first, as far back as history is known (also below `base`). */
  readonly epochs: readonly EpochStart[]

  /**
   * Queues blocks behind those before; they must continue `appended` (sequence and chain). Returns at once;
   * `events.onDurable` tells when they are safe. One write and one fsync cover all that has gathered.
   */
  append(blocks: readonly Block[]): void
  /** Told to the next flush mark or block group; never lowers. */
  noteCommitted(sequence: number): void
  /** Resolves when everything appended so far is durable and a flush mark covers it and the committed sequence. */
  mark(): Promise<void>
  /** The end of a block at exactly this sequence (or `base`), else undefined. */
  positionAt(sequence: number): Promise<Position | undefined>
  /**
   * Blocks that follow `from` (which must be a block end of this journal, checked by its chain), at least one if
   * there is any up to `limitSequence`, and no more than `bytesMax` unless the first is larger. Rejects with
   * `TOO_OLD` below `base` and `DIVERGED` if `from` is not in this history. Empty means: nothing further now.
   */
  read(from: Position, options: { readonly bytesMax: number; readonly limitSequence: number }): Promise<Block[]>
  /** The same from memory and at once; undefined if the cache does not hold the block after `from`. */
  readCached(
    from: Position,
    options: { readonly bytesMax: number; readonly limitSequence: number },
  ): Block[] | undefined
  /**
   * Copies everything after `tail.after` (a block end at or above `base`) into a file of its own, the blocks' bytes
   * unchanged, in a format that an inspection reads; file and name are durable when it resolves. A file of that name
   * that holds the same stays as it is; undefined if it holds something else. Waits for queued writes first.
   */
  saveTail(tail: TailToSave, directory: string, name: string): Promise<SavedTail | undefined>
  /**
   * Cuts everything after `to` (a block end at or above `base`), zeroes and fsyncs before it resolves, so that cut
   * bytes never come back. Waits for queued writes first. Whether it may be done is decided by the caller.
   */
  truncate(to: Position): Promise<void>
  /** Deletes whole segments that end at or below `sequence`; the newest segment always stays. */
  trim(sequence: number): Promise<void>
  /** Flush mark, then closes. Idempotent. */
  close(): Promise<void>
}

export interface TailToSave {
  readonly after: Position
  /** Where the other history parts from this one: below `after` where this journal was trimmed meanwhile. */
  readonly commonSequence: number
}

/** A side file: entries that were cut from a journal. */
export interface SavedTail {
  readonly commonSequence: number
  /** First sequence in the file; those between the common one and it had been trimmed before. */
  readonly firstSequence: number
  readonly lastSequence: number
  readonly bytes: number
}

export interface JournalEvents {
  /** Called once per fsync, in order. */
  onDurable(position: Position, flushMs: number): void
  /** The journal has failed; nothing more becomes durable. */
  onFailed(error: Error): void
}

export interface SegmentInfo {
  readonly name: string
  readonly firstSequence: number
  readonly lastSequence: number
  readonly bytes: number
}

/** What every segment of a journal must name; a file of another history or shard is refused. */
export interface JournalIdentity {
  readonly cluster: string
  readonly shard: string
  readonly historyId: string
}

export interface JournalFactory {
  /** Creates the directory and an empty journal that begins after `base`. It must not exist or be empty. */
  create(directory: string, identity: JournalIdentity, start: JournalStart, events: JournalEvents): Promise<Journal>
  /**
   * Recovers what is on disk. A torn tail is cut (and reported); damage below the last flush mark rejects with
   * `CORRUPTION` naming file, offset, expected and found. What is reported durable has been fsynced again.
   */
  open(directory: string, identity: JournalIdentity, events: JournalEvents): Promise<OpenedJournal>
  /** What `saveTail` wrote there; undefined for any other file. */
  describeTail(path: string): Promise<SavedTail | undefined>
}

export interface JournalStart {
  readonly base: Position
  readonly epochs: readonly EpochStart[]
}

export interface OpenedJournal {
  readonly journal: Journal
  /** Bytes and blocks that were cut as tail; zero after a clean close. */
  readonly cutBytes: number
}
