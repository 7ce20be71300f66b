import assert from 'node:assert/strict'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { limits } from '#src/core/limits.js'
import { levelEngine } from '#src/engine/level.js'
import { rocksdbEngine } from '#src/engine/rocksdb.js'
import { UnderstudyError } from '#src/errors.js'
import { Link } from '#src/link/link.js'
import { nodeClock } from '#src/platform/node-clock.js'
import { nodeFileSystem } from '#src/platform/node-file-system.js'
import type { Engine, EngineFactory, FileCheckpoint } from '#src/ports/engine.js'
import type { File, FileSystem } from '#src/ports/file-system.js'
import type { BootstrapStatus, ShardEvent } from '#src/runtime/handle.js'
import {
  contentOf,
  failureOf,
  fastClock,
  put,
  sameJournals,
  TestCluster,
  until,
  untilApplied,
  untilInSync,
  value,
} from '../support/cluster.js'
import { needsRocksdb } from '../support/rocksdb.js'

const settings = { durability: 'standby', inSyncMin: 1 } as const
const mebibyte = 1024 * 1024

interface Scene {
  readonly nodes?: readonly string[]
  readonly engines?: Readonly<Record<string, EngineFactory>>
  readonly timeFactor?: number
  readonly segmentBytes?: number
  readonly slotRetainBytes?: number
}

/** Nodes on real files with RocksDB; `a` leads and holds data, the last one is a member whose disk was lost. */
async function withScene(scene: Scene, work: (cluster: TestCluster, lost: string) => Promise<void>): Promise<void> {
  const nodes = scene.nodes ?? ['a', 'b']
  const engines = { a: rocksdbEngine, b: rocksdbEngine, c: rocksdbEngine, ...scene.engines }
  const cluster = new TestCluster({ settings, checkpointBytes: mebibyte, ...scene, nodes, engines })
  const lost = nodes.at(-1)!
  try {
    await cluster.startAll()
    await untilInSync(cluster, 'a', nodes)
    await cluster.stop(lost)
    rmSync(cluster.directory(lost), { recursive: true, force: true })
    await work(cluster, lost)
  } finally {
    await cluster.close()
  }
}

/** Random bytes, so that files are as large as what they hold; flushed every mebibyte. */
async function fill(cluster: TestCluster, mebibytes: number, from = 0): Promise<void> {
  for (let index = from * 8; index < (from + mebibytes) * 8; index++) {
    const bytes = Buffer.alloc(mebibyte / 8)
    let state = index + 1
    for (let at = 0; at < bytes.length; at += 4) {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
      bytes.writeUInt32LE(state, at)
    }
    await cluster
      .shard('a')
      .write([{ type: 'put', family: 0, key: Buffer.from(`fill ${String(index).padStart(5, '0')}`), value: bytes }])
  }
}

function bootstrapOf(cluster: TestCluster, name: string): BootstrapStatus | undefined {
  return cluster.shard(name).status().bootstrap
}

/** Everything a node says of its bootstrap, from now on. */
function watch(cluster: TestCluster, name: string): BootstrapStatus[] {
  const seen: BootstrapStatus[] = []
  cluster.shard(name).subscribe((event: ShardEvent) => {
    if (event.type === 'bootstrap') seen.push(event.progress)
  })
  return seen
}

function fetchedBytes(cluster: TestCluster, name: string): number {
  return cluster.node(name).metrics().shards[0]!.counters.bootstrapBytes
}

function incoming(cluster: TestCluster, name: string): string {
  return join(cluster.directory(name), 'shards/main/incoming/files')
}

function wholeTables(cluster: TestCluster, name: string): string[] {
  const directory = incoming(cluster, name)
  return existsSync(directory) ? readdirSync(directory).filter((one) => one.endsWith('.sst')) : []
}

/** Of the files that are whole; those of the bookkeeping are small. */
function wholeBytes(cluster: TestCluster, name: string): number {
  const sizes = wholeTables(cluster, name).map((one) => statSync(join(incoming(cluster, name), one)).size)
  return sizes.reduce((sum, bytes) => sum + bytes, 0)
}

function largestTable(cluster: TestCluster, name: string): string {
  const paths = wholeTables(cluster, name).map((one) => join(incoming(cluster, name), one))
  return paths.sort((a, b) => statSync(b).size - statSync(a).size)[0]!
}

function checkpoints(cluster: TestCluster, name: string): string {
  return join(cluster.directory(name), 'shards/main/current/checkpoints')
}

function checkpointIds(cluster: TestCluster, name: string): string[] {
  return existsSync(checkpoints(cluster, name)) ? readdirSync(checkpoints(cluster, name)) : []
}

async function untilWhole(cluster: TestCluster, name: string, source = 'a'): Promise<void> {
  await until(
    () => cluster.shard(name).state === 'streaming',
    () => JSON.stringify(cluster.shard(name).status()),
    30_000,
  )
  const position = await cluster.shard(source).write([put('seen', 'by all')])
  await untilApplied(cluster, [name], position)
  for (const { id } of cluster.shard(source).reader().families) {
    assert.deepEqual(await contentOf(cluster, name, id), await contentOf(cluster, source, id), `family ${id}`)
  }
  assert.deepEqual(cluster.shard(name).reader().families, cluster.shard(source).reader().families)
}

interface Meddling {
  /** Bytes as they are read from a file: may be changed, or refused. */
  readonly onRead?: (path: string, bytes: Uint8Array, offset: number) => void
  readonly onWrite?: (path: string, parts: readonly Uint8Array[], offset: number) => readonly Uint8Array[]
}

/** The real files, seen through something that meddles with their bytes. */
function meddled({ onRead, onWrite }: Meddling): FileSystem {
  return {
    ...nodeFileSystem,
    async open(path, mode): Promise<File> {
      const file = await nodeFileSystem.open(path, mode)
      return {
        read: async (into, offset) => {
          const count = await file.read(into, offset)
          onRead?.(path, into, offset)
          return count
        },
        write: async (parts, offset) => file.write(onWrite?.(path, parts, offset) ?? parts, offset),
        datasync: () => file.datasync(),
        sync: () => file.sync(),
        truncate: (bytes) => file.truncate(bytes),
        size: () => file.size(),
        close: () => file.close(),
      }
    },
  }
}

/** A node's files from its next start on. */
function meddle(cluster: TestCluster, name: string, meddling: Meddling): void {
  const files = cluster.files.bind(cluster)
  cluster.files = (one) => (one === name ? meddled(meddling) : files(one))
}

/** RocksDB whose checkpoints are changed on their way out. */
function rocksdbWith(change: (made: FileCheckpoint, engine: Engine) => FileCheckpoint): EngineFactory {
  return {
    ...rocksdbEngine,
    async open(directory, empty) {
      const engine = await rocksdbEngine.open(directory, empty)
      const make = engine.checkpointFiles!.bind(engine)
      engine.checkpointFiles = async (target) => change(await make(target), engine)
      return engine
    },
  }
}

const isTable = (path: string) => path.includes('/checkpoints/') && path.endsWith('.sst')

describe('bootstrap by files of a checkpoint', { ...needsRocksdb, timeout: 180_000 }, () => {
  test('F6, F7, B2: under load, with families that come and go, nothing is missing at the seam', async () => {
    await withScene({ segmentBytes: limits.segmentBytesMin }, async (cluster, lost) => {
      const a = cluster.shard('a')
      await a.createFamily('first')
      await a.createFamily('second')
      await a.createFamily('third')
      await a.write([put('k', 'first', 1), put('k', 'third', 3)])
      await a.dropFamily('second')
      await fill(cluster, 6)
      let stop = false
      let written = 0
      const load = (async () => {
        while (!stop) {
          written += 1
          await a.write([
            put(`load ${written % 200}`, value(`v${written}`, 2_000)),
            { type: 'del', family: 0, key: Buffer.from(`load ${(written * 7) % 200}`) },
          ])
        }
      })()
      await cluster.start(lost, { bootstrapMaxBytesPerSecond: 6 * mebibyte })
      const seen = watch(cluster, lost)
      await until(() => (bootstrapOf(cluster, lost)?.bytesDone ?? 0) > mebibyte, 'transferring')
      await a.createFamily('fourth')
      await a.write([put('k', 'fourth', 4)])
      await a.dropFamily('first')
      const slot = () => a.status().slots.find((one) => one.name === `bootstrap:${lost}`)
      const first = bootstrapOf(cluster, lost)!.position!
      await until(
        () => cluster.shard(lost).state !== 'bootstrapping' || a.status().sequence.checkpoint > first + 50,
        'load',
      )
      if (cluster.shard(lost).state === 'bootstrapping') {
        assert.equal(slot()?.sequence, first, 'F2: the journal after the checkpoint is kept')
        assert.ok(a.status().journal.baseSequence <= first)
      }
      await until(() => cluster.shard(lost).state === 'streaming', 'streaming', 60_000)
      stop = true
      await load
      await untilWhole(cluster, lost)
      assert.deepEqual(
        cluster
          .shard(lost)
          .reader()
          .families.map(({ id, name }) => `${id} ${name}`),
        ['0 default', '3 third', '4 fourth'],
      )
      assert.ok(seen.some(({ method }) => method === 'checkpoint'))
      assert.ok(seen.every(({ method }) => method !== 'range-chunks'))
      await untilInSync(cluster, 'a', ['a', lost])
      await until(() => checkpointIds(cluster, 'a').length === 0, 'the source has let go of the checkpoint')
      await sameJournals(cluster, ['a', lost])
    })
  })

  for (const [what, engines, bootstrapped] of [
    ['level from rocksdb', { b: levelEngine }, 'b'],
    ['rocksdb from level', { a: levelEngine }, 'b'],
    ['rocksdb that takes no files', { b: { kind: 'rocksdb', open: rocksdbEngine.open } }, 'b'],
    ['rocksdb from one that hands out no files', { a: { kind: 'rocksdb', open: rocksdbEngine.open } }, 'b'],
  ] as const) {
    test(`${what}: range chunks`, async () => {
      await withScene({ engines }, async (cluster) => {
        await fill(cluster, 2)
        await cluster.start(bootstrapped)
        const seen = watch(cluster, bootstrapped)
        await untilWhole(cluster, bootstrapped)
        assert.ok(seen.some(({ method }) => method === 'range-chunks'))
        assert.ok(seen.every(({ method }) => method !== 'checkpoint'))
        assert.equal(checkpointIds(cluster, 'a').length, 0)
      })
    })
  }

  test('F2: the journal is pinned before the checkpoint is made', async () => {
    let pinned: Array<boolean | undefined> = []
    let look = (): boolean | undefined => undefined
    const engines = {
      a: rocksdbWith((made) => {
        pinned = [...pinned, look()]
        return made
      }),
    }
    await withScene({ engines }, async (cluster, lost) => {
      await fill(cluster, 1)
      const a = cluster.shard('a')
      const before = a.applied!.sequence
      pinned = []
      look = () => a.status().slots.some(({ name, sequence }) => name === `bootstrap:${lost}` && sequence === before)
      await cluster.start(lost)
      await untilWhole(cluster, lost)
      assert.deepEqual(pinned, [true])
    })
  })

  test('B1: a source that does not have the beginning of the bootstrap in its history hands out nothing', async () => {
    await withScene({}, async (cluster) => {
      await fill(cluster, 1)
      const status = cluster.shard('a').status()
      const transport = cluster.network.transport('stranger.test:1')
      const link = new Link(await transport.connect(cluster.address('a'), { timeoutMs: 5_000 }), nodeClock)
      link.send('hello', {
        protocolMin: limits.protocolVersionMin,
        protocolMax: limits.protocolVersion,
        cluster: 'test',
        node: 'stranger',
        incarnation: '5'.repeat(32),
        boot: '6'.repeat(16),
        shard: 'main',
        purpose: 'source',
        historyId: status.historyId,
        coordinatorId: undefined,
        settings: { ...settings, failoverMs: limits.failoverMs, inSyncTimeoutMs: limits.inSyncTimeoutMs },
        promised: status.promised,
        advertise: '',
      })
      assert.equal((await link.expect('welcome', 5_000)).protocol, limits.protocolVersion)
      const first = { ...cluster.shard('a').applied!, chain: 'ee'.repeat(16) }
      link.send('checkpointStart', { slot: 'bootstrap:stranger', first, format: 'rocksdb-1', known: undefined })
      const error = await failureOf(link.expectOneOf(['checkpoint', 'checkpointRefused'], 5_000))
      assert.equal(error.failure, 'DIVERGED')
      assert.equal(checkpointIds(cluster, 'a').length, 0)
      await transport.close()
    })
  })

  for (const code of ['DISK_FULL', 'IO'] as const) {
    test(`a source that cannot link its files (${code}) says so, and range chunks are taken`, async () => {
      const engines = {
        a: rocksdbWith(() => {
          throw new UnderstudyError(code, 'linking 000012.sst')
        }),
      }
      await withScene({ engines }, async (cluster, lost) => {
        await fill(cluster, 2)
        await cluster.start(lost)
        const seen = watch(cluster, lost)
        await untilWhole(cluster, lost)
        assert.ok(seen.some(({ method }) => method === 'range-chunks'))
        const told = cluster.warnings.find(({ message }) => message === 'no checkpoint could be made')
        assert.equal(told?.fields.code, `UNDERSTUDY_${code}`)
        assert.equal(checkpointIds(cluster, 'a').length, 0, 'nothing is left of the attempt')
      })
    })
  }

  test('B1, F9: interrupted by the destination it is no data, goes on file by file, and fetches less than from anew', async () => {
    await withScene({}, async (cluster, lost) => {
      await fill(cluster, 12)
      await cluster.start(lost, { bootstrapMaxBytesPerSecond: 6 * mebibyte })
      await until(() => wholeBytes(cluster, lost) > 2 * mebibyte, 'a whole table file')
      const expected = bootstrapOf(cluster, lost)!.bytesExpected!
      await cluster.stop(lost)
      const kept = wholeBytes(cluster, lost)
      assert.deepEqual(readdirSync(join(cluster.directory(lost), 'shards/main')), ['incoming'])
      const [id] = checkpointIds(cluster, 'a')
      assert.ok(id !== undefined, 'the source keeps the checkpoint')
      await cluster.shard('a').write([put('between', 'x')])
      await cluster.start(lost)
      const seen = watch(cluster, lost)
      await untilWhole(cluster, lost)
      assert.ok(seen.some(({ resumedFrom }) => /^\d+ files present/.test(resumedFrom ?? '')))
      const fetched = fetchedBytes(cluster, lost)
      assert.ok(fetched <= expected - kept, `${fetched} bytes fetched, ${kept} of ${expected} were here`)
      assert.ok(seen.every(({ restarts }) => restarts === 0))
    })
  })

  test('it goes on when the source restarts: the same checkpoint, nothing that was whole is fetched again', async () => {
    await withScene({ timeFactor: 4 }, async (cluster, lost) => {
      await fill(cluster, 12)
      await cluster.start(lost, { bootstrapMaxBytesPerSecond: 2 * mebibyte })
      const seen = watch(cluster, lost)
      await until(() => wholeBytes(cluster, lost) > 2 * mebibyte, 'a whole table file')
      const [id] = checkpointIds(cluster, 'a')
      const expected = bootstrapOf(cluster, lost)!.bytesExpected!
      await cluster.stop('a')
      const kept = wholeBytes(cluster, lost)
      const before = fetchedBytes(cluster, lost)
      mkdirSync(join(checkpoints(cluster, 'a'), 'half-made/files'), { recursive: true })
      await cluster.start('a')
      await until(
        () => !checkpointIds(cluster, 'a').includes('half-made'),
        'what was not whole is removed at the start',
      )
      assert.deepEqual(checkpointIds(cluster, 'a'), [id])
      await cluster.shard('a').promote({ force: true })
      await untilWhole(cluster, lost)
      assert.ok(seen.every(({ restarts }) => restarts === 0))
      const fetched = fetchedBytes(cluster, lost) - before
      assert.ok(fetched <= expected - kept, `${fetched} bytes fetched afterwards, ${kept} of ${expected} were here`)
      await until(() => checkpointIds(cluster, 'a').length === 0, 'and then it goes')
    })
  })

  test('when the checkpoint is gone there is a new one, and files that are the same are kept', async () => {
    await withScene({}, async (cluster, lost) => {
      await fill(cluster, 8)
      await cluster.start(lost, { bootstrapMaxBytesPerSecond: 4 * mebibyte })
      await until(() => wholeBytes(cluster, lost) > 2 * mebibyte, 'whole table files')
      const [id] = checkpointIds(cluster, 'a')
      await cluster.stop(lost)
      await cluster.stop('a')
      rmSync(join(checkpoints(cluster, 'a'), id!), { recursive: true })
      await cluster.start('a')
      await cluster.start(lost)
      const seen = watch(cluster, lost)
      await until(() => seen.some(({ bytesDone }) => bytesDone > 0), 'a new checkpoint')
      assert.ok(!checkpointIds(cluster, 'a').includes(id!))
      await cluster.shard('a').promote({ force: true })
      await untilWhole(cluster, lost)
      const expected = Math.max(...seen.map(({ bytesExpected }) => bytesExpected ?? 0))
      const fetched = fetchedBytes(cluster, lost)
      assert.ok(fetched < expected, `${fetched} of ${expected} bytes fetched`)
      assert.ok(seen.every(({ restarts }) => restarts === 0))
    })
  })

  test('F2: begun anew because the journal is gone, it fetches what has changed and no more', async () => {
    const scene = { segmentBytes: limits.segmentBytesMin, slotRetainBytes: mebibyte, timeFactor: 4 }
    await withScene(scene, async (cluster, lost) => {
      await fill(cluster, 8)
      await cluster.start(lost, { bootstrapMaxBytesPerSecond: mebibyte })
      await until(() => wholeBytes(cluster, lost) > 2 * mebibyte, 'whole table files')
      await cluster.stop(lost)
      await fill(cluster, 3, 8)
      const first = () =>
        cluster
          .shard('a')
          .status()
          .slots.some(({ name }) => name === `bootstrap:${lost}`)
      await until(() => !first(), 'the slot is over its cap')
      await cluster.start(lost)
      const seen = watch(cluster, lost)
      await untilWhole(cluster, lost)
      assert.ok(seen.some(({ restarts }) => restarts === 1))
      const expected = Math.max(...seen.map(({ bytesExpected }) => bytesExpected ?? 0))
      const fetched = fetchedBytes(cluster, lost)
      assert.ok(fetched < expected - mebibyte / 2, `${fetched} of ${expected} bytes fetched`)
      assert.deepEqual(readdirSync(join(cluster.directory(lost), 'shards/main')).sort(), ['current'])
    })
  })

  test('the checkpoint goes at the start of a source whose slot is gone', async () => {
    await withScene({}, async (cluster, lost) => {
      await fill(cluster, 4)
      await cluster.start(lost, { bootstrapMaxBytesPerSecond: mebibyte })
      await until(() => checkpointIds(cluster, 'a').length > 0, 'a checkpoint')
      await cluster.stop(lost)
      await cluster.stop('a')
      const path = join(cluster.directory('a'), 'shards/main/current/shard.json')
      const superblock = JSON.parse(readFileSync(path, 'utf8').split('\n').slice(1).join('\n'))
      const { writeDurableJson } = await import('#src/storage/durable-json.js')
      await writeDurableJson(nodeFileSystem, join(path, '..'), 'shard.json', { ...superblock, slots: [] })
      await cluster.start('a')
      await until(() => checkpointIds(cluster, 'a').length === 0, 'removed')
    })
  })

  test('another source: files that it has too are kept, the others are fetched, position and files agree', async () => {
    await withScene({ nodes: ['a', 'b', 'c'], timeFactor: 4 }, async (cluster, lost) => {
      await fill(cluster, 8)
      await untilApplied(cluster, ['b'], cluster.shard('a').applied!)
      await cluster.start(lost, { bootstrapMaxBytesPerSecond: mebibyte })
      const seen = watch(cluster, lost)
      await until(() => wholeBytes(cluster, lost) > mebibyte / 2, 'a whole table file')
      assert.equal(bootstrapOf(cluster, lost)?.source, 'b', 'a standby is asked first, and can hand out files')
      await cluster.shard('a').write([put('between', 'x')])
      await cluster.stop('b')
      await until(() => bootstrapOf(cluster, lost)?.source === 'a' || cluster.shard(lost).state === 'streaming', 'a')
      await untilWhole(cluster, lost)
      assert.ok(seen.every(({ restarts, method }) => restarts === 0 && method !== 'range-chunks'))
    })
  })

  test('B1: a second source behind the first is not used, and what is here is kept for the first', async () => {
    let failing = false
    await withScene({ nodes: ['a', 'b', 'c'], timeFactor: 4 }, async (cluster, lost) => {
      await cluster.stop('a')
      meddle(cluster, 'a', {
        onRead: (path) => {
          if (failing && isTable(path)) throw Object.assign(new Error('EIO: read'), { code: 'EIO' })
        },
      })
      await cluster.start('a')
      await cluster.shard('a').promote({ force: true })
      await until(() => cluster.shard('b').state === 'streaming', 'b follows')
      cluster.network.partition(cluster.address('a'), cluster.address('b'))
      await until(
        () =>
          !cluster
            .shard('a')
            .status()
            .followers.some(({ connected }) => connected),
        'b is cut off',
      )
      await cluster
        .shard('a')
        .removeFromInSync('b')
        .catch(() => undefined)
      await fill(cluster, 8)
      // b cannot be asked until c has begun with a.
      cluster.network.partition(cluster.address('b'), cluster.address(lost))
      await cluster.start(lost, { bootstrapMaxBytesPerSecond: mebibyte })
      const seen = watch(cluster, lost)
      await until(
        () => wholeBytes(cluster, lost) > mebibyte / 2,
        () => JSON.stringify(bootstrapOf(cluster, lost)),
      )
      assert.equal(bootstrapOf(cluster, lost)?.source, 'a')
      const first = bootstrapOf(cluster, lost)!.position
      failing = true
      cluster.network.heal(cluster.address('b'), cluster.address(lost))
      await until(
        () => seen.some(({ lastError }) => /is not in the history here|behind the beginning/.test(lastError ?? '')),
        'b said no',
      )
      failing = false
      await untilWhole(cluster, lost)
      assert.ok(seen.every(({ restarts }) => restarts === 0))
      assert.ok(
        seen.every(({ position }) => position === undefined || position === first),
        'begun once',
      )
    })
  })

  test('a byte that changes on its way is found, and that file alone is fetched again', async () => {
    let flipped = 0
    await withScene({}, async (cluster, lost) => {
      await cluster.stop('a')
      meddle(cluster, 'a', {
        onRead: (path, bytes) => {
          if (!isTable(path) || flipped > 0) return
          flipped += 1
          bytes[bytes.length >> 1]! ^= 1
        },
      })
      await cluster.start('a')
      await cluster.shard('a').promote({ force: true })
      await fill(cluster, 6)
      await cluster.start(lost)
      const seen = watch(cluster, lost)
      await untilWhole(cluster, lost)
      assert.equal(flipped, 1)
      const told = cluster.warnings.find(({ message }) => message.startsWith('a file is not what was announced'))
      assert.match(String(told?.fields.file), /\.sst$/)
      assert.ok(
        seen.every(({ lastError }) => lastError === undefined),
        'no attempt failed for it',
      )
    })
  })

  test('a file that never is what was announced ends the attempt with its name; it goes on when the source is well', async () => {
    let flip = true
    await withScene({ timeFactor: 4 }, async (cluster, lost) => {
      await cluster.stop('a')
      meddle(cluster, 'a', {
        onRead: (path, bytes) => {
          if (flip && isTable(path)) bytes[0]! ^= 1
        },
      })
      await cluster.start('a')
      await cluster.shard('a').promote({ force: true })
      await fill(cluster, 4)
      await cluster.start(lost)
      const seen = watch(cluster, lost)
      const failed = () =>
        seen.find(({ lastError }) => /\.sst from a\.test:7400: expected checksum/.test(lastError ?? ''))
      await until(
        () => failed() !== undefined,
        () => JSON.stringify(seen.at(-1)),
      )
      assert.deepEqual(wholeTables(cluster, lost), [], 'nothing of it is kept as a file')
      flip = false
      await untilWhole(cluster, lost)
    })
  })

  test('a byte that changes on this disk while it is written is found', async () => {
    let flipped = 0
    await withScene({}, async (cluster, lost) => {
      await fill(cluster, 6)
      meddle(cluster, lost, {
        onWrite: (path, parts) => {
          if (!path.endsWith('.sst.part') || flipped > 0) return parts
          flipped += 1
          const bytes = Buffer.concat(parts)
          bytes[bytes.length >> 1]! ^= 1
          return [bytes]
        },
      })
      await cluster.start(lost)
      await untilWhole(cluster, lost)
      assert.equal(flipped, 1)
      assert.ok(cluster.warnings.some(({ message }) => message.startsWith('a file is not what was announced')))
    })
  })

  test('F9: a whole file that changed on this disk before a restart is found, and fetched again', async () => {
    await withScene({}, async (cluster, lost) => {
      await fill(cluster, 8)
      await cluster.start(lost, { bootstrapMaxBytesPerSecond: 4 * mebibyte })
      await until(() => wholeBytes(cluster, lost) > mebibyte / 2, 'a whole table file')
      await cluster.stop(lost)
      const path = largestTable(cluster, lost)
      const bytes = readFileSync(path)
      bytes[bytes.length >> 1]! ^= 1
      writeFileSync(path, bytes)
      await cluster.start(lost)
      await untilWhole(cluster, lost)
    })
  })

  test('F6: a list that names another position than the files hold is not believed', async () => {
    let lie = true
    const engines = {
      a: rocksdbWith((made, engine) => (lie ? { ...made, position: { ...made.position, ...earlier(engine) } } : made)),
    }
    let before: FileCheckpoint['position'] | undefined
    const earlier = (_engine: Engine) => before ?? {}
    await withScene({ engines, timeFactor: 4 }, async (cluster, lost) => {
      await fill(cluster, 1)
      before = cluster.shard('a').applied
      await fill(cluster, 3, 1)
      await cluster.start(lost)
      const seen = watch(cluster, lost)
      const failed = () =>
        seen.some(({ lastError }) => /the files of the checkpoint hold .*, announced were/.test(lastError ?? ''))
      await until(failed, () => JSON.stringify(seen.at(-1)))
      assert.equal(cluster.shard(lost).status().historyId, undefined, 'nothing was installed')
      lie = false
      rmSync(checkpoints(cluster, 'a'), { recursive: true })
      await untilWhole(cluster, lost)
    })
  })

  test('F7: a list that names other families than the files hold is not believed', async () => {
    let lie = false
    const engines = {
      a: rocksdbWith((made) =>
        lie ? { ...made, families: made.families.map((one) => ({ ...one, name: `${one.name}x` })) } : made,
      ),
    }
    await withScene({ engines, timeFactor: 4 }, async (cluster, lost) => {
      await cluster.shard('a').createFamily('users')
      await fill(cluster, 2)
      lie = true
      await cluster.start(lost)
      const seen = watch(cluster, lost)
      await until(() => seen.some(({ lastError }) => /and 2 families, announced/.test(lastError ?? '')), 'found')
      lie = false
      await cluster.stop(lost)
      rmSync(cluster.directory(lost), { recursive: true })
      await cluster.start(lost)
      await untilWhole(cluster, lost)
    })
  })

  test('a disk that is full ends it with a code; it goes on when there is room again', async () => {
    let full = true
    let written = 0
    await withScene({}, async (cluster, lost) => {
      await fill(cluster, 6)
      meddle(cluster, lost, {
        onWrite: (path, parts) => {
          if (path.endsWith('.part')) written += 1
          if (full && path.endsWith('.part') && written > 6)
            throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' })
          return parts
        },
      })
      await cluster.start(lost)
      await until(() => cluster.shard(lost).state === 'failed', 'failed')
      assert.match(cluster.shard(lost).status().reason, /storing the files of a checkpoint: ENOSPC/)
      await cluster.stop(lost)
      full = false
      await cluster.start(lost)
      await untilWhole(cluster, lost)
    })
  })

  test('the rate is kept, by the clock of the node', async () => {
    await withScene({ timeFactor: 10 }, async (cluster, lost) => {
      await fill(cluster, 4)
      const rate = mebibyte
      const clock = fastClock(10)
      await cluster.start(lost, { bootstrapMaxBytesPerSecond: rate })
      const seen = watch(cluster, lost)
      const times: Array<[number, number]> = []
      cluster.shard(lost).subscribe((event: ShardEvent) => {
        if (event.type === 'bootstrap') times.push([clock.nowMs(), fetchedBytes(cluster, lost)])
      })
      await untilWhole(cluster, lost)
      assert.ok(seen.length > 10)
      const [startMs, startBytes] = times[0]!
      const burst = limits.fileRangeBytes * 2
      for (const [ms, bytes] of times) {
        const most = ((ms - startMs) / 1000) * rate + burst
        assert.ok(bytes - startBytes <= most, `${bytes - startBytes} bytes after ${ms - startMs} ms`)
      }
      assert.ok(times.at(-1)![1] - startBytes > 3 * mebibyte)
    })
  })
})
