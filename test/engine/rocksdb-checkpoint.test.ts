import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { encodeBlock } from '#src/codec/block.js'
import { chainZero } from '#src/codec/digest.js'
import type { Block, Operation } from '#src/core/entry.js'
import { epochZero, type Position, samePosition } from '#src/core/position.js'
import { rocksdbEngine } from '#src/engine/rocksdb.js'
import { isFailure } from '#src/errors.js'
import type { Engine } from '#src/ports/engine.js'
import { needsRocksdb } from '../support/rocksdb.js'

const empty: Position = { epoch: epochZero, sequence: 0, chain: chainZero('0f'.repeat(16), 'main') }
const files = rocksdbEngine.files!

/** Blocks one after another; each has one entry. */
class Blocks {
  private end = empty

  next(operations: readonly Operation[]): Block {
    const sequence = this.end.sequence + 1
    const block = encodeBlock({
      epoch: { number: 1, node: 'a' },
      firstSequence: sequence,
      timestampMs: 1,
      committed: sequence - 1,
      flushedBefore: sequence - 1,
      chainBefore: this.end.chain,
      epochStart: false,
      entries: [{ origin: { node: 'a', boot: '0'.repeat(16) }, request: sequence, operations }],
    })
    this.end = block.end
    return block
  }
}

async function withEngine(work: (engine: Engine, directory: string) => Promise<void>): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'understudy-checkpoint-'))
  const engine = await rocksdbEngine.open(join(directory, 'engine'), empty)
  try {
    await work(engine, directory)
  } finally {
    await engine.close()
    rmSync(directory, { recursive: true, force: true })
  }
}

function put(key: string, value: Uint8Array, family = 0): Operation {
  return { type: 'put', family, key: Buffer.from(key), value }
}

/** The definition of CRC-32C, bit by bit. */
function crc32c(bytes: Uint8Array): number {
  let crc = 0xffff_ffff
  for (const byte of bytes) {
    crc ^= byte
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f6_3b78 : crc >>> 1
  }
  return ~crc >>> 0
}

describe('checkpoints of RocksDB', { ...needsRocksdb, timeout: 60_000 }, () => {
  test('the checksum of a file is CRC-32C, whatever its length', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'understudy-checksum-'))
    try {
      const path = join(directory, 'file')
      const sum = async (bytes: Uint8Array) => {
        writeFileSync(path, bytes)
        const found = await files.checksum(path)
        assert.equal(found.bytes, bytes.length)
        return found.checksum
      }
      assert.equal(await sum(Buffer.from('123456789')), 0xe306_9283)
      assert.equal(await sum(Buffer.alloc(32)), 0x8a91_36aa)
      for (const length of [0, 1, 7, 8, 9, 1000, (1 << 20) - 1, 1 << 20, (1 << 20) + 13]) {
        const bytes = Buffer.alloc(length)
        for (let at = 0; at < length; at++) bytes[at] = (at * 31 + length) & 0xff
        assert.equal(await sum(bytes), crc32c(bytes), `${length} bytes`)
      }
      await assert.rejects(files.checksum(join(directory, 'missing')), (error) => isFailure(error, 'IO'))
    } finally {
      rmSync(directory, { recursive: true })
    }
  })

  test('F6, I4: made while entries are applied, it holds exactly those up to the position inside of it', async () => {
    await withEngine(async (engine, directory) => {
      const blocks = new Blocks()
      await engine.apply([blocks.next([{ type: 'createFamily', family: 1, name: 'users' }])])
      const value = Buffer.alloc(2000, 7)
      let stop = false
      const ends: Position[] = []
      const load = (async () => {
        while (!stop) {
          const block = blocks.next([
            put(String(engine.applied.sequence + 1), value),
            put(String(engine.applied.sequence + 1), value, 1),
          ])
          await engine.apply([block])
          ends.push(block.end)
        }
      })()
      for (let round = 0; round < 5; round++) {
        const before = engine.applied.sequence
        const target = join(directory, `checkpoint ${round}`)
        const made = await engine.checkpointFiles!(target)
        assert.ok(made.position.sequence >= before, 'all that was applied before is in it')
        assert.ok(ends.length === 0 || ends.some((end) => samePosition(end, made.position)) || before === 1)
        assert.deepEqual(made.families, [
          { id: 0, name: 'default' },
          { id: 1, name: 'users' },
        ])
        assert.deepEqual(
          made.files.map(({ name, bytes }) => [name, bytes]).sort(),
          readdirSync(target)
            .map((name) => [name, statSync(join(target, name)).size])
            .sort(),
        )
        for (const { name, bytes, checksum } of made.files) {
          assert.deepEqual(await files.checksum(join(target, name)), { bytes, checksum }, name)
        }
        const copy = await rocksdbEngine.open(target, empty)
        try {
          assert.ok(samePosition(copy.opened.checkpoint!, made.position))
          for (const family of [0, 1]) {
            const last = made.position.sequence
            const keys = Array.from({ length: last + 3 }, (_, index) => Buffer.from(String(index)))
            const found = await copy.getMany(family, keys)
            const present = found.flatMap((one, index) => (one === undefined ? [] : [index]))
            assert.deepEqual(
              present,
              Array.from({ length: last - 1 }, (_, index) => index + 2),
              `family ${family} at ${last}`,
            )
          }
        } finally {
          await copy.close()
        }
      }
      stop = true
      await load
    })
  })

  test('table files are links: a checkpoint takes no space for them', async () => {
    await withEngine(async (engine, directory) => {
      await engine.apply([new Blocks().next([put('k', Buffer.alloc(1 << 20, 1))])])
      const target = join(directory, 'checkpoint')
      const made = await engine.checkpointFiles!(target)
      const tables = made.files.filter(({ name }) => name.endsWith('.sst'))
      assert.ok(tables.length >= 2)
      for (const { name } of tables) assert.equal(statSync(join(target, name)).nlink, 2)
    })
  })

  test('where none can be made there is an error with a code, and the store goes on', async () => {
    await withEngine(async (engine, directory) => {
      const blocks = new Blocks()
      await assert.rejects(engine.checkpointFiles!(join(directory, 'nothing')), (error) =>
        isFailure(error, 'NOT_READY'),
      )
      await engine.apply([blocks.next([put('k', Buffer.from('v'))])])
      await engine.checkpointFiles!(join(directory, 'there'))
      await assert.rejects(engine.checkpointFiles!(join(directory, 'there')), (error) => isFailure(error, 'IO'))
      await assert.rejects(engine.checkpointFiles!(join(directory, 'no/parent')), (error) => isFailure(error, 'IO'))
      await engine.apply([blocks.next([put('l', Buffer.from('w'))])])
      assert.deepEqual(await engine.get(0, Buffer.from('l')), Buffer.from('w'))
    })
  })

  test('closing the engine meanwhile ends it, one way or the other', async () => {
    await withEngine(async (engine, directory) => {
      await engine.apply([new Blocks().next([put('k', Buffer.alloc(1 << 20, 1))])])
      const made = engine.checkpointFiles!(join(directory, 'checkpoint')).then(
        () => 'made',
        (error) => (isFailure(error, 'CLOSED') ? 'closed' : String(error)),
      )
      await engine.close()
      assert.match(await made, /^(made|closed)$/)
      await assert.rejects(engine.checkpointFiles!(join(directory, 'late')), (error) => isFailure(error, 'CLOSED'))
    })
  })
})
