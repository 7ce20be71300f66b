import { randomBytes } from 'node:crypto'
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { crc32 } from '#src/codec/digest.js'
import type { Block } from '#src/core/entry.js'
import { limits } from '#src/core/limits.js'
import { create, Journal } from '#src/engine/conformance/kit.js'
import type { Engine, EngineChunk, EngineFactory } from '#src/ports/engine.js'

export interface EngineFigures {
  readonly engine: string
  readonly applyPerSecond: number
  readonly checkpointSeconds: number
  readonly scanPerSecond: number
  readonly chunkPerSecond: number
  readonly getPerSecond: number
  /** Of 20,000 keys, which lie in memory. */
  readonly getCachedPerSecond: number
  readonly copyMebibytes: number
  readonly copySeconds: number
  readonly storedMebibytes: number
  readonly residentMebibytes: number
}

const mebibyte = 1024 * 1024
const entriesPerBlock = 1024
const blocksPerApply = 4

/** What one engine does by itself: no journal on disk, no network. `entries` of 16 + 100 bytes, then `mebibytes` of 1 KiB. */
export async function measureEngine(
  factory: EngineFactory,
  directory: string,
  entries: number,
  mebibytes: number,
): Promise<EngineFigures> {
  const small = join(directory, `${factory.kind}-small`)
  const journal = new Journal()
  const engine = await factory.open(small, journal.empty)
  const applyPerSecond = await measureApply(engine, journal, entries)
  const checkpointSeconds = await secondsOf(() => engine.checkpoint())
  const scanSeconds = await secondsOf(() => scanAll(engine))
  const chunkSeconds = await secondsOf(() => chunkAll(engine, async () => undefined))
  const getPerSecond = await measureGets(engine, entries, entries)
  const getCachedPerSecond = await measureGets(engine, entries, 20_000)
  await engine.close()
  const source = await factory.open(join(directory, `${factory.kind}-source`), journal.empty)
  await fill(source, new Journal(), mebibytes)
  await source.checkpoint()
  const targetDirectory = join(directory, `${factory.kind}-target`)
  const target = await factory.open(targetDirectory, journal.empty)
  const copySeconds = await secondsOf(async () => {
    await chunkAll(source, async (bytes) => {
      crc32(bytes)
      await target.ingest({ id: 0, name: 'default' }, bytes, Buffer.from('progress'))
    })
    await target.finishIngest(source.applied, source.families, source.familyIdNext)
  })
  const residentMebibytes = Math.round(process.memoryUsage.rss() / mebibyte)
  await source.close()
  await target.close()
  return {
    engine: factory.kind,
    applyPerSecond,
    checkpointSeconds,
    scanPerSecond: Math.round(entries / scanSeconds),
    chunkPerSecond: Math.round(entries / chunkSeconds),
    getPerSecond,
    getCachedPerSecond,
    copyMebibytes: mebibytes,
    copySeconds,
    storedMebibytes: Math.round((await bytesIn(targetDirectory)) / mebibyte),
    residentMebibytes,
  }
}

async function secondsOf(work: () => Promise<unknown>): Promise<number> {
  const startMs = performance.now()
  await work()
  return (performance.now() - startMs) / 1000
}

/** Blocks are encoded beside the measurement: on a standby they come from the journal as they are. */
async function measureApply(engine: Engine, journal: Journal, entries: number): Promise<number> {
  let seconds = 0
  await engine.apply([journal.append([create(1, 'other')])])
  for (let from = 0; from < entries; from += entriesPerBlock * blocksPerApply) {
    const blocks: Block[] = []
    for (let block = 0; block < blocksPerApply; block++) {
      const random = randomBytes(100)
      const list = []
      for (let index = 0; index < entriesPerBlock; index++) {
        const key = Buffer.from(keyOf(((from + block * entriesPerBlock + index) * 7919) % entries))
        list.push([{ type: 'put', family: 0, key, value: random } as const])
      }
      blocks.push(journal.append(...list))
    }
    journal.blocks.splice(0, journal.blocks.length - 1)
    seconds += await secondsOf(() => engine.apply(blocks))
  }
  return Math.round(entries / seconds)
}

async function scanAll(engine: Engine): Promise<void> {
  const iterator = engine.scan(0, {})
  while ((await iterator.next(limits.scanEntriesMax)).length > 0);
  await iterator.close()
}

async function chunkAll(engine: Engine, use: (bytes: Uint8Array) => Promise<void>): Promise<void> {
  const snapshot = engine.snapshot()
  let start: Uint8Array | undefined = new Uint8Array(0)
  // As a bootstrap does it: the next chunk is read while this one is written.
  let next: Promise<EngineChunk> | undefined = engine.readChunk(snapshot, 0, start, limits.chunkBytes)
  while (next !== undefined) {
    const chunk: EngineChunk = await next
    start = chunk.nextKey
    next = start === undefined ? undefined : engine.readChunk(snapshot, 0, start, limits.chunkBytes)
    await use(chunk.bytes)
  }
  await snapshot.close()
}

/** Random keys out of `among`, which were read once before. */
async function measureGets(engine: Engine, entries: number, among: number): Promise<number> {
  const count = 100_000
  const get = async (index: number) => engine.get(0, Buffer.from(keyOf(((index * 104_729) % among) % entries)))
  for (let index = 0; index < count; index++) await get(index)
  const seconds = await secondsOf(async () => {
    for (let index = 0; index < count; index++) await get(index)
  })
  return Math.round(count / seconds)
}

async function fill(engine: Engine, journal: Journal, mebibytes: number): Promise<void> {
  for (let block = 0; block < mebibytes; block++) {
    const list = []
    for (let index = 0; index < 1024; index++) {
      list.push([
        { type: 'put', family: 0, key: Buffer.from(keyOf(block * 1024 + index)), value: randomBytes(1008) } as const,
      ])
    }
    await engine.apply([journal.append(...list)])
    journal.blocks.splice(0, journal.blocks.length - 1)
  }
}

function keyOf(index: number): string {
  return String(index).padStart(16, '0')
}

async function bytesIn(directory: string): Promise<number> {
  let total = 0
  for (const name of await readdir(directory)) total += (await stat(join(directory, name))).size
  return total
}
