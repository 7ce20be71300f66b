/** Control payloads of protocol version 1. docs/PROTOCOL.md tells who sends what when. */

import type { EpochStart, Family } from '../core/entry.js'
import { failureCodes } from '../core/failure.js'
import { lifecycleStates } from '../core/lifecycle.js'
import { limits } from '../core/limits.js'
import type { Epoch, Position } from '../core/position.js'
import type { Member, ShardRecord, ShardSettings } from '../core/record.js'
import { UnderstudyError } from '../errors.js'
import {
  bytes,
  type Field,
  FieldReader,
  type FieldValue,
  FieldWriter,
  flag,
  hex,
  list,
  oneOf,
  optional,
  record,
  remembered,
  text,
  u32,
  u64,
} from './fields.js'

const nodeName = text(limits.nodeNameBytesMax)
const epoch: Field<Epoch> = record({ number: u64, node: nodeName })
const chain = hex(16)
const position: Field<Position> = record({ epoch, sequence: u64, chain })
const incarnation = hex(16)
const boot = hex(8)
const historyId = hex(16)
const member: Field<Member> = record({ node: nodeName, incarnation })
const epochStart: Field<EpochStart> = record({ epoch, firstSequence: u64 })
const family: Field<Family> = record({ id: u32, name: text(limits.familyNameBytesMax) })
const key = bytes(limits.keyBytesMax)
const settings: Field<ShardSettings> = record({
  durability: oneOf('local', 'standby'),
  inSyncMin: u32,
  failoverMs: u32,
  inSyncTimeoutMs: u32,
})
const address = text(limits.addressBytesMax)
const shardName = text(limits.shardNameBytesMax)
const memberAddress = record({ node: nodeName, address })
const registration = record({ node: nodeName, address, boot })
/** What a forwarded write waits for beyond the commit rule of the shard. */
const waitFor = oneOf('committed', 'standby', 'applied')
export const failureTextBytesMax = 4096
const failureText = text(failureTextBytesMax)

/** Every answer to a question between nodes has one, and it changes seldom. */
export const shardRecordField: Field<ShardRecord> = remembered(
  record({
    historyId,
    coordinatorId: hex(16),
    epoch,
    primary: member,
    inSync: list(member, limits.membersMax),
    version: u64,
    nonce: hex(16),
    settings,
    floor: position,
    lossySince: epoch,
    handedOver: flag,
    voters: list(nodeName, limits.membersMax),
  }),
)

const definitions = {
  hello: record({
    protocolMin: u32,
    protocolMax: u32,
    cluster: text(limits.clusterNameBytesMax),
    node: nodeName,
    incarnation,
    boot,
    shard: text(limits.shardNameBytesMax),
    /**
     * `follow`: to stream from the primary. `source`: to fetch a snapshot and journal. `control`: questions. `verify`: to
     * compare contents.
     */
    purpose: oneOf('follow', 'source', 'control', 'verify'),
    /** Absent while the directory is empty. */
    historyId: optional(historyId),
    coordinatorId: optional(hex(16)),
    settings,
    promised: epoch,
    advertise: address,
  }),
  welcome: record({
    protocol: u32,
    node: nodeName,
    incarnation,
    boot,
    state: oneOf(...lifecycleStates),
    historyId: optional(historyId),
    promised: epoch,
    record: optional(shardRecordField),
    durable: optional(position),
    committed: u64,
  }),
  failure: record({
    code: oneOf(...failureCodes),
    message: failureText,
    hint: optional(failureText),
  }),
  subscribe: record({
    position,
    epochs: list(epochStart, limits.epochHistoryMax),
    creditBytes: u32,
  }),
  stream: record({
    /** Position from which blocks follow: the one subscribed to. */
    from: position,
    epoch,
    /** First sequence of the sender's epoch; 0 from a source that is not the primary. */
    epochStart: u64,
    committed: u64,
    /** The sender's end when it answered: whoever holds it durably has caught up. */
    end: u64,
  }),
  tooOld: record({ base: position }),
  diverged: record({ common: position }),
  committed: record({ epoch, sequence: u64 }),
  ack: record({ epoch, received: u64, durable: u64, applied: u64, recordVersion: u64 }),
  credit: record({ bytes: u32 }),
  heartbeat: record({ stamp: u64, echo: u64 }),
  record: record({ record: shardRecordField }),
  snapshotStart: record({
    /** Destination of the snapshot, naming its slot. */
    slot: text(80),
    /** Where the first snapshot of this bootstrap was taken: the source must have it in its history (B1). */
    first: optional(position),
  }),
  snapshot: record({
    id: u32,
    position,
    families: list(family, limits.familiesMax),
    /** Ids of families are never reused, dropped ones included (S8). */
    familyIdNext: u32,
    sizeEstimateBytes: u64,
    epochs: list(epochStart, limits.epochHistoryMax),
    record: shardRecordField,
  }),
  chunkRequest: record({ snapshot: u32, family, start: key, bytesMax: u32 }),
  /** Followed in the same frame by the packed entries. */
  chunk: record({ snapshot: u32, family: u32, entryCount: u32, checksum: u32, nextKey: optional(key) }),
  snapshotComplete: record({ snapshot: u32 }),
  /** A rewind asks for single keys of a snapshot. */
  fetchKeys: record({ snapshot: u32, family, keys: list(key, limits.fetchKeysMax) }),
  /**
   * The first `answered` keys of the request: those that exist follow in the same frame, packed as in a chunk and in
   * the order of the request; the others do not exist.
   */
  fetchedKeys: record({ snapshot: u32, family: u32, answered: u32, entryCount: u32, checksum: u32 }),
  /** Take a snapshot right after the block that holds this request of the asking process (`boot` of its hello). */
  verifyArm: record({ request: u64, timeoutMs: u32 }),
  /** From here on that block will not be missed; unless it is applied already. */
  verifyArmed: record({ applied: u64 }),
  verifySnapshot: record({ position, families: list(family, limits.familiesMax) }),
  /**
   * `digests`: one for each range from a start to the next one, the last one to `end` (absent: of the family). `keys`: of
   * the first entries from the only start on.
   */
  verifyAsk: record({
    want: oneOf('digests', 'keys'),
    family,
    starts: list(key, limits.verifyRangesMax),
    end: optional(key),
  }),
  verifyDigests: record({
    ranges: list(record({ count: u32, digest: hex(16), isWhole: flag }), limits.verifyRangesMax),
  }),
  /** `nextKey`: where the next request goes on; absent at the end of the range. */
  verifyKeys: record({
    entries: list(record({ key, digest: hex(16) }), limits.verifyKeysMax),
    nextKey: optional(key),
  }),
  query: record({}),
  fence: record({ epoch }),
  /** To the primary, from a node that was asked to have it hand over. `to` empty: whoever is furthest. */
  switchover: record({ to: text(limits.nodeNameBytesMax), timeoutMs: u32 }),
  /** The answer: a failure, or the new primary with its epoch. */
  switchedOver: record({
    epoch: optional(epoch),
    primary: nodeName,
    pauseMs: u32,
    failure: optional(
      record({
        code: oneOf(...failureCodes),
        message: failureText,
        hint: optional(failureText),
        outcome: oneOf('none', 'unknown', 'done'),
      }),
    ),
  }),
  state: record({
    member,
    state: oneOf(...lifecycleStates),
    promised: epoch,
    historyId: optional(historyId),
    record: optional(shardRecordField),
    durable: optional(position),
    committed: u64,
    applied: u64,
    /** False while what this directory knows of the record comes from a bootstrap alone: it counts for no promotion. */
    votes: flag,
    advertise: address,
    /** It hears the primary of the newest record that it knows, and is heard by it (L3). */
    hearsPrimary: flag,
    /** Where the sender reaches the primary that it knows; empty if it knows none. */
    primaryAddress: address,
  }),
  /** The journal from `sequence` on is wanted by `slot`; 0 releases it. */
  pin: record({ slot: text(80), sequence: u64 }),
  leave: record({}),
  /** Followed in the same frame by the operations, encoded as in entries. */
  forward: record({ epoch, boot, request: u64, waitFor, timeoutMs: u32 }),
  /** The primary asks its followers not to take over for a while, so that it may answer reads (L1). */
  leaseRequest: record({ epoch, id: u64 }),
  /** The follower has promised what was asked: it holds from before this was sent. */
  leasePromise: record({ epoch, id: u64 }),
  /** Under a valid lease: everything committed when the follower sent `echo`, a stamp of its heartbeats, is up to here (L6). */
  fresh: record({ epoch, sequence: u64, echo: u64 }),
  forwarded: record({
    request: u64,
    position: optional(position),
    failure: optional(
      record({
        code: oneOf(...failureCodes),
        message: failureText,
        hint: optional(failureText),
        outcome: oneOf('none', 'unknown', 'done'),
      }),
    ),
  }),
  /** First frame to a voter, in the place of `hello`. */
  coordinatorHello: record({
    protocolMin: u32,
    protocolMax: u32,
    cluster: text(limits.clusterNameBytesMax),
    node: nodeName,
    boot,
  }),
  coordinatorWelcome: record({
    protocol: u32,
    voter: nodeName,
    /** Of the voter's process: another one has forgotten all registrations. */
    boot,
    coordinatorId: hex(16),
    /** As the voter's journal has it (S6). */
    voters: list(memberAddress, limits.membersMax),
  }),
  coordinatorRead: record({ request: u64, shard: shardName }),
  coordinatorSwap: record({ request: u64, shard: shardName, expectedRevision: u64, next: shardRecordField }),
  /** `takesOver`: also from another process of the same name. */
  coordinatorRegister: record({ request: u64, member: registration, ttlMs: u32, takesOver: flag }),
  coordinatorUnregister: record({ request: u64, node: nodeName, boot }),
  /** Answered by all members and records as they are now, then `coordinatorDone`, then changes. */
  coordinatorWatch: record({ request: u64 }),
  coordinatorState: record({ request: u64, revision: u64, record: optional(shardRecordField) }),
  coordinatorSwapped: record({ request: u64, swapped: flag, revision: u64, record: optional(shardRecordField) }),
  coordinatorDone: record({ request: u64 }),
  coordinatorRefused: record({
    request: u64,
    code: oneOf(...failureCodes),
    message: failureText,
    hint: optional(failureText),
    outcome: oneOf('none', 'unknown', 'done'),
  }),
  coordinatorRecord: record({ shard: shardName, revision: u64, record: optional(shardRecordField) }),
  coordinatorMembers: record({ members: list(registration, limits.membersMax) }),
  /** From protocol version 2 on: may this bootstrap copy the engine's files? `known`: the checkpoint it has begun with. */
  checkpointStart: record({
    slot: text(80),
    first: optional(position),
    /** Of the files: which engine, and which version of what it makes of them. */
    format: text(32),
    known: optional(hex(16)),
  }),
  /** The list of its files follows in `checkpointFiles`, all `fileCount` of them, in order. */
  checkpoint: record({
    id: hex(16),
    position,
    families: list(family, limits.familiesMax),
    familyIdNext: u32,
    fileCount: u32,
    bytes: u64,
    epochs: list(epochStart, limits.epochHistoryMax),
    record: shardRecordField,
  }),
  checkpointFiles: record({
    files: list(
      record({ name: text(limits.fileNameBytesMax), bytes: u64, checksum: u32 }),
      limits.checkpointFilesPerFrame,
    ),
  }),
  /** No files from here; the session goes on, with `snapshotStart` if the destination likes. */
  checkpointRefused: record({ code: oneOf(...failureCodes), message: failureText }),
  /** `file`: its place in the list, from 0. */
  fileRequest: record({ file: u32, offset: u64, bytes: u32 }),
  /** Followed in the same frame by the bytes asked for, never fewer. */
  filePiece: record({ file: u32, offset: u64 }),
  /** All files are verified: the source may let go of the checkpoint. */
  checkpointDone: record({ id: hex(16) }),
}

type Definitions = typeof definitions
export type MessageName = keyof Definitions
export type Message<N extends MessageName> = FieldValue<Definitions[N]>

/** Frame types on the wire. `block` carries a block's bytes and nothing else. Numbers are never reused. */
export const frameTypes = {
  hello: 1,
  welcome: 2,
  failure: 3,
  subscribe: 4,
  stream: 5,
  tooOld: 6,
  diverged: 7,
  block: 8,
  committed: 9,
  ack: 10,
  credit: 11,
  heartbeat: 12,
  record: 13,
  snapshotStart: 14,
  snapshot: 15,
  chunkRequest: 16,
  chunk: 17,
  snapshotComplete: 18,
  query: 19,
  fence: 20,
  state: 21,
  pin: 22,
  leave: 23,
  forward: 24,
  // 25 was a `clear` to be resolved on the primary.
  forwarded: 26,
  switchover: 61,
  switchedOver: 62,
  leaseRequest: 56,
  leasePromise: 57,
  fresh: 58,
  coordinatorHello: 32,
  coordinatorWelcome: 33,
  coordinatorRead: 34,
  coordinatorSwap: 35,
  coordinatorRegister: 36,
  coordinatorUnregister: 37,
  coordinatorWatch: 38,
  coordinatorState: 39,
  coordinatorSwapped: 40,
  coordinatorDone: 41,
  coordinatorRefused: 42,
  coordinatorRecord: 43,
  coordinatorMembers: 44,
  fetchKeys: 48,
  fetchedKeys: 49,
  checkpointStart: 70,
  checkpoint: 71,
  checkpointFiles: 72,
  checkpointRefused: 73,
  fileRequest: 74,
  filePiece: 75,
  checkpointDone: 76,
  verifyArm: 80,
  verifyArmed: 81,
  verifySnapshot: 82,
  verifyAsk: 83,
  verifyDigests: 84,
  verifyKeys: 85,
} as const satisfies Record<MessageName | 'block', number>

const namesByType = new Map<number, MessageName | 'block'>(
  (Object.entries(frameTypes) as Array<[MessageName | 'block', number]>).map(([name, type]) => [type, name]),
)

/** Frames that carry raw bytes; all others are control frames with the smaller limit. */
const rawFrames: ReadonlySet<number> = new Set<number>([
  frameTypes.block,
  frameTypes.chunk,
  frameTypes.fetchedKeys,
  frameTypes.forward,
])

/** What a part of a file has before its bytes. */
const filePieceHeadBytes = 12

/** Bytes that go to the disk as they came are not joined: how much stands before them; undefined for other types. */
export function unjoinedHeadBytes(type: number): number | undefined {
  return type === frameTypes.filePiece ? filePieceHeadBytes : undefined
}

export function frameName(type: number): MessageName | 'block' | undefined {
  return namesByType.get(type)
}

/** The largest payload that a frame of this type may have; undefined for a type that this version does not know. */
export function framePayloadBytesMax(type: number): number | undefined {
  if (!namesByType.has(type)) return undefined
  if (type === frameTypes.filePiece) return filePieceHeadBytes + limits.fileRangeBytesMax
  return rawFrames.has(type) ? limits.frameBytesMax : limits.controlFrameBytesMax
}

export function encodeMessage<N extends MessageName>(name: N, message: Message<N>): Uint8Array {
  const writer = new FieldWriter()
  ;(definitions[name] as unknown as Field<Message<N>>).write(writer, message)
  return writer.finish()
}

/** Decodes a control payload; trailing bytes are refused. Throws `PROTOCOL`. */
export function decodeMessage<N extends MessageName>(name: N, payload: Uint8Array): Message<N> {
  const [message, rest] = decodeMessageAndRest(name, payload)
  if (rest.length > 0) throw new UnderstudyError('PROTOCOL', `${name}: ${rest.length} bytes too many`)
  return message
}

/** For frames whose message is followed by raw bytes. */
export function decodeMessageAndRest<N extends MessageName>(name: N, payload: Uint8Array): [Message<N>, Uint8Array] {
  const reader = new FieldReader(payload, name)
  const message = (definitions[name] as unknown as Field<Message<N>>).read(reader)
  return [message, reader.rest()]
}
