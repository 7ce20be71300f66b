import { decodeEntries, encodeBlock } from '../../codec/block.js'
import { chainZero } from '../../codec/digest.js'
import {
  decodeHeldRecord,
  decodeVoters,
  encodeHeldRecord,
  encodeVoters,
  type Voter,
  votersKey,
} from '../../codec/voter-entry.js'
import type { Block, Operation } from '../../core/entry.js'
import { epochZero, nextEpoch, type Position } from '../../core/position.js'
import type { ShardRecord } from '../../core/record.js'
import { VoterRecords } from '../../core/voter-records.js'
import { UnderstudyError } from '../../errors.js'
import type { Clock } from '../../ports/clock.js'
import type { FileSystem } from '../../ports/file-system.js'
import type { Journal, JournalEvents, JournalFactory, JournalIdentity } from '../../ports/journal.js'
import type { Random } from '../../ports/random.js'
import { makeDurableDirectory } from '../../storage/durable-directory.js'
import { readDurableJson, writeDurableJson } from '../../storage/durable-json.js'

const identityName = 'voter.json'
const snapshotName = 'snapshot.json'
const incompleteName = 'INCOMPLETE'
const formatVersion = 1
const recoveryReadBytes = 1024 * 1024
/** In the place of a shard's name: no shard can be called so. */
const journalShard = '$coordinator'

export interface VoterDirectoryParts {
  readonly files: FileSystem
  readonly journals: JournalFactory
  readonly clock: Clock
  readonly random: Random
  /** Data directory of the node; the voter's is a folder in it. */
  readonly directory: string
  readonly cluster: string
  readonly voter: string
}

interface Identity {
  readonly formatVersion: number
  readonly cluster: string
  readonly voter: string
  readonly coordinatorId: string
}

/** Everything up to a position, so that the journal before it may go. */
interface Snapshot {
  readonly formatVersion: number
  readonly coordinatorId: string
  readonly position: Position
  /** In hexadecimal digits, encoded as in the journal. */
  readonly voters: string
  readonly records: ReadonlyArray<{ readonly shard: string; readonly revision: number; readonly value: string }>
}

export type VoterChange =
  | { readonly shard: string; readonly record: ShardRecord }
  | { readonly voters: readonly Voter[] }

/** A voter's state on disk, recovered: identity, journal, and what they say. */
export class VoterDirectory {
  readonly coordinatorId: string
  readonly records: VoterRecords
  readonly created: boolean
  readonly cutBytes: number
  private votersNow: readonly Voter[]
  private readonly parts: VoterDirectoryParts
  private readonly root: string
  private readonly journal: Journal
  private epochStarted = false

  private constructor(
    parts: VoterDirectoryParts,
    found: Pick<VoterDirectory, 'coordinatorId' | 'records' | 'created' | 'cutBytes' | 'voters'> & {
      readonly root: string
      readonly journal: Journal
    },
  ) {
    this.parts = parts
    this.root = found.root
    this.coordinatorId = found.coordinatorId
    this.records = found.records
    this.created = found.created
    this.cutBytes = found.cutBytes
    this.votersNow = found.voters
    this.journal = found.journal
  }

  /** Opens what is there or creates it; never takes damage, or another voter's state, for absence. */
  static async open(parts: VoterDirectoryParts, events: JournalEvents): Promise<VoterDirectory> {
    const { files, directory } = parts
    const root = files.join(directory, 'voter')
    if (await isUnfinished(files, root)) return await VoterDirectory.create(parts, root, events)
    const identity = (await readDurableJson(files, root, identityName)) as Identity | undefined
    if (identity === undefined) {
      if ((await files.stat(root)) !== undefined && (await files.list(root)).length > 0) {
        throw new UnderstudyError('CORRUPTION', `${files.join(root, identityName)} is missing beside a voter's state`, {
          hint: 'restore the file; without it nobody knows whose records these are',
        })
      }
      return await VoterDirectory.create(parts, root, events)
    }
    checkIdentity(identity, parts, root)
    return await VoterDirectory.recover(parts, root, identity, events)
  }

  private static async create(
    parts: VoterDirectoryParts,
    root: string,
    events: JournalEvents,
  ): Promise<VoterDirectory> {
    const { files, random, cluster, voter } = parts
    const mark = files.join(root, incompleteName)
    await beginUnfinished(files, root, mark)
    const coordinatorId = random.hex(16)
    const journal = await parts.journals.create(
      journalPath(files, root),
      journalIdentity(parts, coordinatorId),
      { base: emptyPosition(coordinatorId), epochs: [] },
      events,
    )
    try {
      const identity: Identity = { formatVersion, cluster, voter, coordinatorId }
      await writeDurableJson(files, root, identityName, identity)
      await files.remove(mark)
      await files.syncDirectory(root)
    } catch (error) {
      await journal.close().catch(() => undefined)
      throw error
    }
    const records = new VoterRecords()
    return new VoterDirectory(parts, { root, coordinatorId, journal, records, voters: [], created: true, cutBytes: 0 })
  }

  private static async recover(
    parts: VoterDirectoryParts,
    root: string,
    identity: Identity,
    events: JournalEvents,
  ): Promise<VoterDirectory> {
    const { files } = parts
    const { coordinatorId } = identity
    const snapshot = (await readDurableJson(files, root, snapshotName)) as Snapshot | undefined
    if (snapshot !== undefined) checkSnapshot(snapshot, identity, files.join(root, snapshotName))
    const opened = await parts.journals.open(journalPath(files, root), journalIdentity(parts, coordinatorId), events)
    const { journal, cutBytes } = opened
    const found = new VoterDirectory(parts, {
      root,
      coordinatorId,
      records: new VoterRecords(),
      voters: snapshot === undefined ? [] : decodeVoters(Buffer.from(snapshot.voters, 'hex')),
      created: false,
      cutBytes,
      journal,
    })
    try {
      for (const { shard, revision, value } of snapshot?.records ?? []) {
        found.records.apply(shard, { record: decodeHeldRecord(Buffer.from(value, 'hex')), revision })
      }
      await found.replay(snapshot?.position ?? emptyPosition(coordinatorId))
      return found
    } catch (error) {
      await journal.close().catch(() => undefined)
      throw error
    }
  }

  get voters(): readonly Voter[] {
    return this.votersNow
  }

  get status(): { readonly bytes: number; readonly segments: number; readonly sequence: number } {
    const { bytes, segments, durable } = this.journal
    return { bytes, segments: segments.length, sequence: durable.sequence }
  }

  /**
   * The one place where something becomes true: it resolves when the entry is fsynced and a flush mark covers it, so
   * that what was told to anybody is never taken for a torn tail (V1). Only then the state shows it. Returns its
   * sequence. One call at a time; after an error the directory is of no use any more.
   */
  async commit(change: VoterChange): Promise<number> {
    const operation = operationOf(change)
    const sequence = await this.persist([operation])
    this.fold(operation, sequence)
    return sequence
  }

  /** Each start takes a new epoch before anything is answered in it (S3): a write that proves that the disk takes any. */
  async beginEpoch(): Promise<void> {
    await this.persist([])
  }

  /** Writes the state down as it is and lets the journal before it go. */
  async compact(): Promise<void> {
    const { files } = this.parts
    const position = this.journal.durable
    const snapshot: Snapshot = {
      formatVersion,
      coordinatorId: this.coordinatorId,
      position,
      voters: Buffer.from(encodeVoters(this.votersNow)).toString('hex'),
      records: [...this.records.all].map(([shard, { record, revision }]) => ({
        shard,
        revision,
        value: Buffer.from(encodeHeldRecord(record)).toString('hex'),
      })),
    }
    await writeDurableJson(files, this.root, snapshotName, snapshot)
    await this.journal.trim(position.sequence)
  }

  close(): Promise<void> {
    return this.journal.close()
  }

  private async persist(operations: readonly Operation[]): Promise<number> {
    const block = this.blockOf(operations)
    this.journal.append([block])
    await this.journal.mark()
    return block.end.sequence
  }

  private blockOf(operations: readonly Operation[]): Block {
    const { clock, voter, random } = this.parts
    const { appended, durable } = this.journal
    const epochStart = !this.epochStarted
    this.epochStarted = true
    return encodeBlock({
      epoch: epochStart ? nextEpoch(appended.epoch, voter) : appended.epoch,
      firstSequence: appended.sequence + 1,
      timestampMs: clock.wallMs(),
      committed: durable.sequence,
      flushedBefore: durable.sequence,
      chainBefore: appended.chain,
      epochStart,
      entries: [{ origin: { node: voter, boot: random.hex(8) }, request: 0, operations }],
    })
  }

  private async replay(from: Position): Promise<void> {
    const { journal, root } = this
    const inJournal = from.sequence >= journal.base.sequence && from.sequence <= journal.durable.sequence
    if (!inJournal || (await journal.positionAt(from.sequence))?.chain !== from.chain) {
      throw new UnderstudyError(
        'CORRUPTION',
        `${root}: the state is known up to sequence ${from.sequence}, but the journal reaches from ${journal.base.sequence} to ${journal.durable.sequence} and does not continue it`,
        { hint: 'restore the directory as a whole; docs/GUARANTEES.md tells what to do if it is lost' },
      )
    }
    const end = journal.durable.sequence
    for (let at = from; at.sequence < end; ) {
      const blocks = await journal.read(at, { bytesMax: recoveryReadBytes, limitSequence: end })
      for (const block of blocks) {
        for (const [index, entry] of decodeEntries(block).entries()) {
          for (const operation of entry.operations) this.fold(operation, block.header.firstSequence + index)
        }
        at = block.end
      }
      if (blocks.length === 0)
        throw new UnderstudyError('CORRUPTION', `${root}: the journal ends at ${at.sequence}, not at ${end}`)
    }
  }

  private fold(operation: Operation, sequence: number): void {
    if (operation.type !== 'put') {
      throw new UnderstudyError(
        'FORMAT_VERSION',
        `${this.root}: an entry of kind ${operation.type} in a voter's journal`,
      )
    }
    const key = Buffer.from(operation.key).toString()
    if (key === votersKey) this.votersNow = decodeVoters(operation.value)
    else this.records.apply(key, { record: decodeHeldRecord(operation.value), revision: sequence })
  }
}

function operationOf(change: VoterChange): Operation {
  const put = (key: string, value: Uint8Array): Operation => ({ type: 'put', family: 0, key: Buffer.from(key), value })
  if ('voters' in change) return put(votersKey, encodeVoters(change.voters))
  return put(change.shard, encodeHeldRecord(change.record))
}

function emptyPosition(coordinatorId: string): Position {
  return { epoch: epochZero, sequence: 0, chain: chainZero(coordinatorId, journalShard) }
}

function journalPath(files: FileSystem, root: string): string {
  return files.join(root, 'journal')
}

function journalIdentity(parts: VoterDirectoryParts, coordinatorId: string): JournalIdentity {
  return { cluster: parts.cluster, shard: journalShard, historyId: coordinatorId }
}

/** A creation that a crash cut short is marked so: nobody was told anything from it. */
async function isUnfinished(files: FileSystem, root: string): Promise<boolean> {
  return (await files.stat(files.join(root, incompleteName))) !== undefined
}

/** An empty directory under its mark; what an unfinished creation left goes, the mark last of all. */
async function beginUnfinished(files: FileSystem, root: string, mark: string): Promise<void> {
  await makeDurableDirectory(files, root)
  for (const name of await files.list(root)) {
    if (name !== incompleteName) await files.removeTree(files.join(root, name))
  }
  if ((await files.stat(mark)) === undefined) await (await files.open(mark, 'create')).close()
  await files.syncDirectory(root)
}

function checkIdentity(found: Identity, wanted: VoterDirectoryParts, root: string): void {
  if (found.formatVersion !== formatVersion) {
    throw new UnderstudyError(
      'FORMAT_VERSION',
      `${root}: format version ${found.formatVersion}; this release reads ${formatVersion}`,
    )
  }
  for (const what of ['cluster', 'voter'] as const) {
    if (found[what] === wanted[what]) continue
    throw new UnderstudyError(
      'FOREIGN_DIRECTORY',
      `${root} holds the state of a voter of ${what} ${found[what]}; configured is ${wanted[what]}`,
      { hint: 'correct the configuration or choose another directory' },
    )
  }
}

function checkSnapshot(found: Snapshot, identity: Identity, path: string): void {
  if (found.formatVersion !== formatVersion) {
    throw new UnderstudyError(
      'FORMAT_VERSION',
      `${path}: format version ${found.formatVersion}; this release reads ${formatVersion}`,
    )
  }
  if (found.coordinatorId === identity.coordinatorId) return
  throw new UnderstudyError(
    'CORRUPTION',
    `${path} is of coordinator ${found.coordinatorId}, the directory of ${identity.coordinatorId}`,
    { hint: 'restore the directory as a whole' },
  )
}
