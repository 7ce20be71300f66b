/**
 * One or more samples of everything that has a format. The compiler demands a sample for each message; fields added to
 * a message need one here.
 */
import type { Message, MessageName } from '#src/codec/messages.js'
import type { Entry, Operation } from '#src/core/entry.js'
import type { Position } from '#src/core/position.js'
import type { Member, ShardRecord } from '#src/core/record.js'

const epoch = { number: 3, node: 'a' }
const chain = '00112233445566778899aabbccddeeff'
const position: Position = { epoch, sequence: 1042, chain }
const a: Member = { node: 'a', incarnation: 'a'.repeat(32) }
const b: Member = { node: 'b', incarnation: 'b'.repeat(32) }
const historyId = '0f'.repeat(16)
const boot = '0123456789abcdef'
const settings = { durability: 'standby', inSyncMin: 2, failoverMs: 1000, inSyncTimeoutMs: 1000 } as const

const record: ShardRecord = {
  historyId,
  coordinatorId: 'c0'.repeat(16),
  epoch,
  primary: a,
  inSync: [a, b],
  version: 7,
  settings,
  nonce: '5e'.repeat(16),
  floor: { epoch, sequence: 1000, chain },
  lossySince: { number: 0, node: '' },
  handedOver: true,
  voters: ['a', 'b', 'c'],
}

export const messageSamples: { readonly [N in MessageName]: readonly Message<N>[] } = {
  checkpointStart: [
    { slot: 'bootstrap:b', first: position, format: 'rocksdb-1', known: '1d'.repeat(16) },
    { slot: 'bootstrap:zürich', first: undefined, format: 'rocksdb-1', known: undefined },
  ],
  checkpoint: [
    {
      id: '1d'.repeat(16),
      position,
      families: [
        { id: 0, name: 'default' },
        { id: 3, name: 'users' },
      ],
      familyIdNext: 4,
      fileCount: 2,
      bytes: 67_108_900,
      epochs: [{ epoch, firstSequence: 900 }],
      record,
    },
  ],
  checkpointFiles: [
    {
      files: [
        { name: '000012.sst', bytes: 67_108_864, checksum: 0xdeadbeef },
        { name: 'CURRENT', bytes: 36, checksum: 0 },
      ],
    },
    { files: [] },
  ],
  checkpointRefused: [{ code: 'ENGINE_MISMATCH', message: 'engine level has no files to hand out' }],
  fileRequest: [{ file: 7, offset: 4_294_967_296, bytes: 524_288 }],
  filePiece: [{ file: 7, offset: 4_294_967_296 }],
  checkpointDone: [{ id: '1d'.repeat(16) }],
  hello: [
    {
      protocolMin: 1,
      protocolMax: 1,
      cluster: 'shop',
      node: 'b',
      incarnation: b.incarnation,
      boot,
      shard: 'main',
      purpose: 'follow',
      historyId,
      coordinatorId: 'c0'.repeat(16),
      settings,
      promised: epoch,
      advertise: 'b.internal:7400',
    },
    {
      protocolMin: 1,
      protocolMax: 4,
      cluster: 'shop',
      node: 'zürich',
      incarnation: b.incarnation,
      boot,
      shard: 'main',
      purpose: 'control',
      historyId: undefined,
      coordinatorId: undefined,
      settings: { durability: 'local', inSyncMin: 1, failoverMs: 1000, inSyncTimeoutMs: 1000 },
      promised: { number: 0, node: '' },
      advertise: '',
    },
  ],
  welcome: [
    {
      protocol: 1,
      node: 'a',
      incarnation: a.incarnation,
      boot,
      state: 'primary',
      historyId,
      promised: epoch,
      record,
      durable: position,
      committed: 1041,
    },
    {
      protocol: 1,
      node: 'a',
      incarnation: a.incarnation,
      boot,
      state: 'stopped',
      historyId: undefined,
      promised: { number: 0, node: '' },
      record: undefined,
      durable: undefined,
      committed: 0,
    },
  ],
  failure: [
    { code: 'CLUSTER_MISMATCH', message: 'cluster shop of b is not cluster bank of a', hint: 'check the names' },
    { code: 'IO', message: '', hint: undefined },
  ],
  subscribe: [
    {
      position,
      epochs: [
        { epoch: { number: 1, node: 'a' }, firstSequence: 1 },
        { epoch, firstSequence: 900 },
      ],
      creditBytes: 2 ** 24,
    },
    { position, epochs: [], creditBytes: 0 },
  ],
  stream: [{ from: position, epoch, epochStart: 900, committed: 1041, end: 1042 }],
  tooOld: [{ base: position }],
  diverged: [{ common: position }],
  committed: [{ epoch, sequence: Number.MAX_SAFE_INTEGER }],
  ack: [{ epoch, received: 1042, durable: 1041, applied: 1040, recordVersion: 7 }],
  credit: [{ bytes: 0xffffffff }],
  heartbeat: [{ stamp: 123_456, echo: 123_400 }],
  record: [{ record }, { record: { ...record, inSync: [], lossySince: record.epoch } }],
  snapshotStart: [
    { slot: 'bootstrap b', first: position },
    { slot: 'bootstrap b', first: undefined },
  ],
  snapshot: [
    {
      id: 1,
      position,
      families: [
        { id: 0, name: 'default' },
        { id: 5, name: 'orders' },
      ],
      familyIdNext: 9,
      sizeEstimateBytes: 123_456_789_012,
      epochs: [{ epoch, firstSequence: 900 }],
      record,
    },
  ],
  chunkRequest: [{ snapshot: 1, family: { id: 5, name: 'orders' }, start: Buffer.from('key'), bytesMax: 1_048_576 }],
  chunk: [
    { snapshot: 1, family: 5, entryCount: 2, checksum: 0xdeadbeef, nextKey: Buffer.from([0, 255]) },
    { snapshot: 1, family: 5, entryCount: 0, checksum: 0, nextKey: undefined },
  ],
  snapshotComplete: [{ snapshot: 1 }],
  fetchKeys: [
    { snapshot: 1, family: { id: 5, name: 'orders' }, keys: [Buffer.from('key'), Buffer.alloc(0)] },
    { snapshot: 2, family: { id: 0, name: 'default' }, keys: [] },
  ],
  fetchedKeys: [{ snapshot: 1, family: 5, answered: 2, entryCount: 1, checksum: 0xdeadbeef }],
  query: [{}],
  fence: [{ epoch }],
  switchover: [
    { to: 'b', timeoutMs: 10_000 },
    { to: '', timeoutMs: 1 },
  ],
  switchedOver: [
    { epoch, primary: 'b', pauseMs: 31, failure: undefined },
    {
      epoch: undefined,
      primary: '',
      pauseMs: 0,
      failure: { code: 'SWITCHOVER_REFUSED', message: 'b is behind', hint: undefined, outcome: 'none' },
    },
  ],
  state: [
    {
      member: a,
      state: 'streaming',
      promised: epoch,
      historyId,
      record,
      durable: position,
      committed: 1041,
      applied: 1040,
      advertise: '[::1]:7400',
      votes: true,
      hearsPrimary: true,
      primaryAddress: 'a.internal:7400',
    },
  ],
  pin: [{ slot: 'bootstrap b', sequence: 1042 }],
  leave: [{}],
  forward: [{ epoch, boot, request: 77, waitFor: 'applied', timeoutMs: 10_000 }],
  forwarded: [
    { request: 77, position, failure: undefined },
    {
      request: 78,
      position: undefined,
      failure: { code: 'ACK_TIMEOUT', message: 'b did not answer', hint: 'look at b', outcome: 'unknown' },
    },
  ],
  leaseRequest: [{ epoch, id: 2 ** 40 }],
  leasePromise: [{ epoch, id: 1 }],
  fresh: [{ epoch, sequence: 1042, echo: 86_400_000 }],
  coordinatorHello: [{ protocolMin: 1, protocolMax: 1, cluster: 'shop', node: 'b', boot }],
  coordinatorWelcome: [
    {
      protocol: 1,
      voter: 'w',
      boot,
      coordinatorId: 'c0'.repeat(16),
      voters: [{ node: 'w', address: 'w.internal:7400' }],
    },
  ],
  coordinatorRead: [{ request: 1, shard: 'main' }],
  coordinatorSwap: [{ request: 2, shard: 'main', expectedRevision: 17, next: record }],
  coordinatorRegister: [
    { request: 3, member: { node: 'b', address: 'b.internal:7400', boot }, ttlMs: 3000, takesOver: true },
  ],
  coordinatorUnregister: [{ request: 4, node: 'b', boot }],
  coordinatorWatch: [{ request: 5 }],
  coordinatorState: [
    { request: 1, revision: 18, record },
    { request: 1, revision: 0, record: undefined },
  ],
  coordinatorSwapped: [
    { request: 2, swapped: true, revision: 19, record },
    { request: 2, swapped: false, revision: 0, record: undefined },
  ],
  coordinatorDone: [{ request: 3 }],
  coordinatorRefused: [
    { request: 2, code: 'DISK_FULL', message: 'no space', hint: 'free some', outcome: 'unknown' },
    { request: 2, code: 'BACKPRESSURE', message: 'too many', hint: undefined, outcome: 'none' },
  ],
  coordinatorRecord: [{ shard: 'main', revision: 19, record }],
  verifyArm: [{ request: 2 ** 40, timeoutMs: 30_000 }],
  verifyArmed: [{ applied: 1040 }],
  verifySnapshot: [{ position, families: [{ id: 0, name: 'default' }] }],
  verifyAsk: [
    {
      want: 'digests',
      family: { id: 5, name: 'orders' },
      starts: [Buffer.alloc(0), Buffer.from('m')],
      end: Buffer.from('z'),
    },
    { want: 'keys', family: { id: 0, name: 'default' }, starts: [Buffer.from([0, 255])], end: undefined },
  ],
  verifyDigests: [{ ranges: [{ count: 1000, digest: chain, isWhole: true }] }],
  verifyKeys: [
    { entries: [{ key: Buffer.from('key'), digest: chain }], nextKey: Buffer.from('m') },
    { entries: [], nextKey: undefined },
  ],
  coordinatorMembers: [
    {
      members: [
        { node: 'a', address: 'a.internal:7400', boot },
        { node: 'b', address: 'b.internal:7400', boot },
      ],
    },
  ],
}

export const operationSamples: readonly Operation[] = [
  { type: 'put', family: 0, key: Buffer.from('key'), value: Buffer.from('value') },
  { type: 'put', family: 5, key: Buffer.alloc(0), value: Buffer.alloc(0) },
  { type: 'del', family: 0, key: Buffer.from([0, 255]) },
  { type: 'delRange', family: 0, start: Buffer.from('a'), end: Buffer.from('b') },
  { type: 'createFamily', family: 6, name: 'Bücher' },
  { type: 'dropFamily', family: 5 },
]

export const entrySamples: readonly Entry[] = [
  { origin: { node: 'a', boot }, request: 1, operations: operationSamples.slice(0, 3) },
  { origin: { node: 'b', boot: 'fedcba9876543210' }, request: 2 ** 40, operations: operationSamples.slice(3) },
  { origin: { node: 'a', boot }, request: 2, operations: [] },
]

export const draftSamples = {
  entries: {
    epoch,
    firstSequence: 1042,
    timestampMs: 1_700_000_000_000,
    committed: 1041,
    flushedBefore: 1040,
    chainBefore: chain,
    epochStart: false,
    entries: entrySamples,
  },
  epochStart: {
    epoch: { number: 2 ** 33, node: 'n'.repeat(32) },
    firstSequence: 1,
    timestampMs: 1_700_000_000_001,
    committed: 0,
    flushedBefore: 0,
    chainBefore: 'f'.repeat(32),
    epochStart: true,
    entries: [{ origin: { node: 'a', boot }, request: 0, operations: [] }],
  },
} as const

export const chunkSample: ReadonlyArray<readonly [Uint8Array, Uint8Array]> = [
  [Buffer.from('a'), Buffer.from('first')],
  [Buffer.from('b'), Buffer.alloc(0)],
  [Buffer.from([0, 255, 1]), Buffer.alloc(40, 7)],
]
