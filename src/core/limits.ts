/**
 * Every bound of the program in one place. Sizes in bytes, times in milliseconds, counts without a unit.
 * What can be configured has its default here; what cannot is part of the formats or of the protocol.
 */
const KiB = 1024
const MiB = 1024 * KiB

export const limits = Object.freeze({
  // Users' data
  keyBytesMax: 64 * KiB,
  valueBytesMax: 16 * MiB,
  batchBytesMax: 64 * MiB,
  batchOperationsMax: 1_000_000,
  familyNameBytesMax: 255,
  familiesMax: 1024,
  /** Ids of families that each epoch has for itself. */
  familyIdsPerEpoch: 4096,
  /** Where epochs have none for themselves any more; an id has 32 bits. */
  familyIdsOfEpochsMax: 2 ** 31,
  /** `clear()` is resolved in pieces of at most this many keys, each piece one entry. */
  clearPieceKeysMax: 1024,

  // Names
  nodeNameBytesMax: 32,
  clusterNameBytesMax: 64,
  shardNameBytesMax: 64,
  addressBytesMax: 255,
  membersMax: 16,

  // Journal
  /** Entries gather until the block would pass this; a single larger entry is a block of its own. */
  blockBytesTarget: 1 * MiB,
  blockEntriesMax: 65_536,
  /** Ceiling of a block's payload: the largest batch and its framing. */
  blockPayloadBytesMax: 80 * MiB,
  blockOriginsMax: 1024,
  segmentBytes: 16 * MiB,
  segmentBytesMin: 64 * KiB,
  epochHistoryMax: 1024,
  /** Most recent blocks kept in memory, so that live standbys are fed without reading the disk. */
  tailCacheBytes: 16 * MiB,
  journalReadBytes: 1 * MiB,
  /** New segments are filled with zeros by writes of this size, each synced, so that flushes wait little for them. */
  segmentFillBytes: 1 * MiB,
  /** A place of a segment is remembered about every so many bytes. */
  segmentIndexBytes: 64 * KiB,
  /** Blocks of one write and fsync. */
  flushBlocksMax: 256,
  /** A flush mark is written when no block has followed for this long. */
  idleMarkMs: 20,
  /** Retention held back by slots, beyond which a slot loses its claim. */
  slotRetainBytesMax: 1024 * MiB,
  /** Journal bytes and time between two checkpoints of the engine: the bound of a restart's replay. */
  checkpointBytes: 64 * MiB,
  checkpointIntervalMs: 60_000,

  /** Side files of cut entries that are kept; beyond this the oldest goes, never the newest. */
  divergentFilesMax: 32,
  divergentBytesMax: 1024 * MiB,

  // Rewind: what is larger is rebuilt by a bootstrap instead
  rewindKeysMax: 262_144,
  /** Keys, and keys with values, of one rewind: they are written in one atomic batch. */
  rewindBytesMax: 64 * MiB,
  rewindRangesMax: 256,
  /** Of one request for values. */
  fetchKeysMax: 4096,
  fetchKeyBytes: 256 * KiB,

  // Write path
  blocksInFlightMax: 8,
  /** Ends of blocks that a primary remembers until every member of the set holds them. */
  blockEndsMax: 1024,
  writesQueuedMax: 65_536,
  writeBytesQueuedMax: 128 * MiB,
  writeTimeoutMs: 10_000,
  /** How often waits are held against their deadlines. */
  sweepMs: 20,
  applyBytesMax: 4 * MiB,

  // Protocol
  /** Newest and oldest version of the messages that this release speaks. Version 2 has checkpoint files (frames 70 on). */
  protocolVersion: 2,
  protocolVersionMin: 1,
  frameBytesMax: 96 * MiB,
  controlFrameBytesMax: 1 * MiB,
  /** Ceiling of a failure before authentication: code, message and hint. */
  failureFrameBytesMax: 16 * KiB,
  connectTimeoutMs: 5_000,
  handshakeTimeoutMs: 5_000,
  heartbeatMs: 200,
  /** A peer from which nothing has come for this long is dropped. */
  peerSilenceMs: 2_000,
  requestTimeoutMs: 10_000,
  /** How often the other members are asked for their state. */
  pollMs: 250,
  /** Frames that arrive while a session is busy with the disk are kept, up to the credit given. */
  inboxFramesMax: 65_536,
  creditBytes: 16 * MiB,
  sendBufferBytesMax: 32 * MiB,
  connectionsMax: 128,
  /** Connections that have not proven who they are; they never take the place of one that has. */
  handshakesMax: 32,
  lagReportMs: 500,
  reconnectMinMs: 50,
  /** Where a coordinator says who leads, a new primary is found at once, and it needs a moment to begin. */
  reconnectFastMs: 5,
  reconnectMaxMs: 5_000,
  forwardsInFlightMax: 16_384,

  // Failover
  failoverMs: 1_000,
  failoverMsMin: 200,
  failoverMsMax: 60_000,
  inSyncTimeoutMs: 1_000,
  inSyncTimeoutMsMax: 600_000,
  /** A call of the coordinator gets at least this long, however short the failover time is. */
  coordinatorCallMsMin: 250,
  switchoverTimeoutMs: 10_000,
  /** Changes of primary that status remembers. */
  failoversKept: 32,
  /** Requests for promises that a primary remembers; more are under way only if reads ask for round trips of their own. */
  leaseRequestsMax: 64,
  /** What a standby was told of freshness and has not applied yet. */
  freshMarksMax: 64,
  /** Bytes that wait in a connection whose heartbeats are timed: what queues behind them comes late. */
  pacedBufferBytesMax: 2 * MiB,

  // Voter of the builtin coordinator
  /** Its journal is small: a swap is some hundred bytes. */
  voterSegmentBytes: 256 * KiB,
  /** With more segments than these a snapshot is written, and those before it go. */
  voterSegmentsMax: 4,
  voterRecordsMax: 256,
  /** Swaps that wait for their turn. */
  voterSwapsQueuedMax: 1024,
  /** Of one session, unanswered. */
  voterRequestsMax: 256,
  /** A watcher that lets more than this pile up is dropped; it connects again and reads. */
  voterUnsentBytesMax: 4 * MiB,
  registrationMsMax: 600_000,
  /** Calls of one client that wait for a connection or an answer. */
  coordinatorCallsMax: 1024,

  // Coordinator in etcd
  coordinatorEndpointsMax: 16,
  coordinatorConnectTimeoutMs: 2_000,
  /** A member from which nothing has come for this long, though it was asked, is connected to anew. */
  coordinatorSilenceMs: 1_000,
  coordinatorRetryMaxMs: 1_000,
  /** etcd throws out who pings more often than every 5 s. */
  coordinatorPingMs: 10_000,
  coordinatorMessageBytesMax: 16 * MiB,
  /** A watch on which nothing came between so many signs of life that were asked for is broken. */
  coordinatorProbesMissedMax: 3,
  coordinatorProbeMsMax: 1_000,
  /** What giving back a registration may take at close. */
  coordinatorCloseTimeoutMs: 500,

  // Bootstrap
  chunkBytes: 4 * MiB,
  chunkBytesMax: 32 * MiB,
  chunkTimeoutMs: 10_000,
  chunkTimeoutsMax: 3,
  snapshotsMax: 8,
  snapshotIdleMs: 60_000,
  slotTtlMs: 24 * 3600_000,
  slotsMax: 64,
  /** One request for a part of a file, and how much is asked for and not on disk yet: the memory of either side. */
  fileRangeBytes: 512 * KiB,
  fileRangeBytesMin: 16 * KiB,
  fileRangeBytesMax: 4 * MiB,
  fileRequestsMax: 16,
  /** Files that are being fetched or verified at a time. */
  filesInFlightMax: 6,
  fileNameBytesMax: 64,
  /** A file whose bytes are other than announced is fetched again, so often in a row. */
  fileAttemptsMax: 3,
  /** A checkpoint of more files is not handed out (range chunks are): its list is held in memory. */
  checkpointFilesMax: 16_384,
  /** Files of one frame of the list. */
  checkpointFilesPerFrame: 4_096,
  /** Checkpoints that a source keeps for bootstraps under way, one for each slot. */
  checkpointsMax: 4,
  /** A checkpoint that nobody reads is kept so long while its slot lives, after a restart of the source too. */
  checkpointIdleMs: 600_000,
  checkpointSweepMs: 15_000,
  /** Making one ends with a flush of what the engine holds in memory. */
  checkpointTimeoutMs: 60_000,
  bootstrapBackoffMinMs: 1_000,
  bootstrapBackoffMaxMs: 60_000,

  // Verify
  /** A range ends at so many entries or bytes, whichever comes first. */
  verifyRangeEntries: 1000,
  verifyRangeBytes: 1 * MiB,
  /** Where another node reads on no further: it has more in the range than any equal one could. */
  verifyRangeEntriesMax: 2_000,
  verifyRangeBytesMax: 64 * MiB,
  /** Ranges, bytes of their content and of their bounds in one request. */
  verifyRangesMax: 16,
  verifyRequestBytes: 4 * MiB,
  verifyBoundBytesMax: 512 * KiB,
  /** A range that differs and has no more entries than this is listed; a larger one is divided into so many parts. */
  verifyListEntries: 32,
  verifyFanOut: 16,
  /** Of one answer with keys. */
  verifyKeysMax: 1000,
  verifyDifferences: 100,
  verifyDifferencesMax: 10_000,
  verifyBytesPerSecond: 32 * MiB,
  /** A snapshot that is asked for nothing is given back: slower than this it would be. */
  verifyBytesPerSecondMin: 256 * KiB,
  verifyTimeoutMs: 30_000,
  verifySessionsMax: 4,
  verifyProgressMs: 250,

  // Engine
  /** Bytes that LevelDB gathers in memory before it writes a table file, and what it caches of table files. */
  engineWriteBufferBytes: 16 * MiB,
  engineCacheBytes: 32 * MiB,
  /** Of RocksDB: what all families together gather before they are written out, their block cache, their filters. */
  rocksdbWriteBufferBytes: 64 * MiB,
  rocksdbCacheBytes: 64 * MiB,
  /** What indexes and filters need is in it. */
  rocksdbCacheBytesMin: 8 * MiB,
  rocksdbBloomBitsPerKey: 10,
  /** Keys that are looked for in memory, beside everything else, before a worker thread reads them. */
  rocksdbCachedReadsMax: 64,
  /** Entries of the first step of an iterator; the next ones grow. */
  scanEntriesMin: 16,
  /** One step of an iterator hands over about this many bytes at most (always at least one entry). */
  scanBytes: 256 * KiB,
  /** Entries of the largest step of an iterator that reads ahead. */
  scanEntriesMax: 1000,
  /** Keys of a dropped family that one step of the purge deletes. */
  purgeKeys: 1024,

  // Server
  httpBodyBytesMax: 96 * MiB,
  httpControlBodyBytesMax: 64 * KiB,
  /** A path may hold the longest key with every byte escaped. */
  httpHeaderBytesMax: 256 * KiB,
  /** Receiving a whole request, and its headers; a kept-alive connection without a request. */
  httpRequestTimeoutMs: 300_000,
  httpHeadersTimeoutMs: 30_000,
  httpKeepAliveMs: 75_000,
  /** A range of which its reader takes nothing for this long is ended, so that its snapshot is freed. */
  httpStallTimeoutMs: 60_000,
  /** A body of which nothing arrives for this long is given up. */
  httpBodyStallMs: 30_000,
  /** A connection that was refused is read for so long before it is ended. */
  httpLingerMs: 1_000,
  /** Bodies of all requests that are under way, together. */
  httpBodiesBytesMax: 256 * MiB,
  /** A path and query that hold no key. */
  httpUrlBytesMax: 8 * KiB,
  httpConnectionsMax: 2_048,
  /** Requests under way, event streams not among them; probes are always answered. */
  httpRequestsMax: 1_024,
  /** From a connection to the end of its TLS handshake. */
  tlsHandshakeTimeoutMs: 10_000,

  // Server-sent events
  eventStreamsMax: 64,
  /** Events that a reader who lost the connection can still be told of. */
  eventsKept: 256,
  /** A reader that lets more than this pile up is dropped; it connects again and gets the present status. */
  eventsUnsentBytesMax: 1 * MiB,
  eventsHeartbeatMs: 10_000,
  eventsStatusMsMin: 250,
  eventsStatusMsMax: 60_000,
  eventsRetryMs: 1_000,
  /** What requests under way get at a stop before the node closes; the roles have changed by then. */
  drainTimeoutMs: 5_000,

  // Credentials
  /** How often files of tokens and certificates are looked at. */
  credentialsPollMs: 1_000,
  accessFileBytesMax: 1 * MiB,
  pemFileBytesMax: 1 * MiB,
  tokensMax: 256,
  tokenBytesMin: 16,
  /** Bytes of one piece of a streamed range, about. */
  rangePieceBytes: 64 * KiB,
  rangePieceEntriesMax: 512,
  rangeLimitMax: 1_000_000,
  /** The status page: how often its picture is taken, how many samples and events it keeps, who may watch at once. */
  pictureIntervalMs: 1_000,
  pictureSamplesMax: 900,
  pictureEventsMax: 200,
  pictureWatchersMax: 32,
  /** A watcher that lets more pile up is dropped; the history that each one begins with is the largest piece. */
  pictureUnsentBytesMax: 1 * MiB,
  /** What another node says of itself for the picture. */
  picturePeerTimeoutMs: 1_500,
  picturePeerBytesMax: 1 * MiB,
  closeTimeoutMs: 10_000,
  /** How long a connection that this side has ended waits for the other side's end: a peer that is cut off sends none. */
  connectionLingerMs: 2_000,
  /** How long a database that is closed while it opens may go on opening. */
  closeDuringOpenMs: 3_000,

  // Dead-man's switch
  heartbeatIntervalMs: 10_000,
  heartbeatIntervalMsMin: 1_000,
  heartbeatIntervalMsMax: 3_600_000,
  heartbeatTimeoutMs: 10_000,
  /** A standby whose data may be older than this does not call. */
  heartbeatLagMsMax: 30_000,

  // Command line
  /** A node that is asked for its status answers at once, or does not answer. */
  askTimeoutMs: 3_000,
  answerBytesMax: 16 * MiB,
  operateTimeoutMs: 10_000,
  watchIntervalMs: 1_000,
  /** An offline bootstrap that gets nothing for this long gives up; it resumes when it is called again. */
  bootstrapStallMs: 300_000,
  progressIntervalMs: 1_000,

  // Configuration
  configFileBytesMax: 1 * MiB,
  secretBytesMax: 512,
  segmentBytesMax: 1024 * MiB,
  writeTimeoutMsMax: 600_000,

  // Load generator and processes of the demo
  loadWritersMax: 1024,
  childLogTailBytes: 4 * KiB,
  childStopTimeoutMs: 15_000,
})

export type Limits = typeof limits
