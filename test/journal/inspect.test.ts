import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Block } from '#src/core/entry.js'
import { type InspectRecord, inspectJournal, rawBlocks } from '#src/journal/inspect.js'
import { JournalWatch, rejectsWith, SampleBlocks, sampleBase, sampleIdentity } from '#src/journal/sample-blocks.js'
import { SimulatedDisk } from '#src/sim/disk.js'
import { SeededRandom, settle, simulatedFactory } from './support.js'

const segment = '/journal/00000000000000000001.journal'

async function journalOf(blocks: readonly Block[], groupMax: number, seed: number): Promise<SimulatedDisk> {
  const disk = new SimulatedDisk()
  const random = new SeededRandom(seed)
  const factory = simulatedFactory(disk.process(), { random })
  const start = { base: sampleBase, epochs: [] }
  const journal = await factory.create('/journal', sampleIdentity, start, new JournalWatch())
  for (let at = 0; at < blocks.length; ) {
    const count = 1 + random.below(groupMax)
    journal.append(blocks.slice(at, at + count))
    at += count
    await settle(random.below(30))
    if (random.next() < 0.2) await journal.mark()
  }
  await journal.close()
  return disk
}

async function inspect(disk: SimulatedDisk, path = '/journal', from = 0): Promise<InspectRecord[]> {
  const records: InspectRecord[] = []
  for await (const record of inspectJournal(disk.process(), path, { from })) records.push(record)
  return records
}

async function raw(disk: SimulatedDisk, from = 0): Promise<Buffer> {
  const parts: Uint8Array[] = []
  for await (const bytes of rawBlocks(disk.process(), '/journal', from)) parts.push(bytes)
  return Buffer.concat(parts)
}

function sequences(records: readonly InspectRecord[]): number[] {
  return records.flatMap((record) => (record.type === 'block' ? [record.block.end.sequence] : []))
}

function damages(records: readonly InspectRecord[]): Array<InspectRecord & { type: 'damage' }> {
  return records.filter((record) => record.type === 'damage')
}

function flip(disk: SimulatedDisk, path: string, at: number): void {
  disk.corrupt(path, (content) => {
    const changed = Uint8Array.from(content)
    changed[at] = (changed[at] ?? 0) ^ 1
    return changed
  })
}

describe('inspect', () => {
  test('I3, J5: blocks are byte-identical on nodes that wrote them in different groups', async () => {
    const blocks = new SampleBlocks().many(120, { entryCount: 2, valueBytes: 900 })
    const expected = Buffer.concat(blocks.map((block) => block.bytes))
    const disks = [await journalOf(blocks, 1, 1), await journalOf(blocks, 30, 2), await journalOf(blocks, 7, 3)]
    const [first, ...others] = disks.map((disk) => disk.content(segment))
    assert.ok(others.every((other) => !Buffer.from(other).equals(first ?? other)))
    for (const disk of disks) {
      assert.ok((await raw(disk)).equals(expected))
      const later = Buffer.concat(blocks.slice(100).map((block) => block.bytes))
      assert.ok((await raw(disk, 201)).equals(later))
    }
  })

  test('shows segments, marks, seals and blocks of a sound journal, and no damage', async () => {
    const blocks = new SampleBlocks().many(100, { valueBytes: 2000 })
    const disk = await journalOf(blocks, 10, 4)
    const records = await inspect(disk)
    assert.deepEqual(damages(records), [])
    assert.deepEqual(
      sequences(records),
      blocks.map((block) => block.end.sequence),
    )
    const segments = records.filter((record) => record.type === 'segment')
    assert.ok(segments.length > 2)
    assert.equal(records.filter((record) => record.type === 'seal').length, segments.length - 1)
    const last = records.at(-1)
    assert.ok(last?.type === 'mark' && last.flushedBefore === 100)
    const block = records.find((record) => record.type === 'block' && record.block.end.sequence === 2)
    assert.ok(block?.type === 'block' && block.operationCount === 1)
    const later = await inspect(disk, '/journal', 95)
    assert.deepEqual(sequences(later), [95, 96, 97, 98, 99, 100])
    assert.equal(later.filter((record) => record.type === 'segment').length, 1)
  })

  test('F23: goes on behind damage and says what it is', async () => {
    const blocks = new SampleBlocks().many(12, { valueBytes: 100 })
    const disk = await journalOf(blocks, 1, 5)
    const records = await inspect(disk)
    for (const broken of [3, 7, 11]) {
      const record = records.find((one) => one.type === 'block' && one.block.end.sequence === broken)
      assert.ok(record?.type === 'block')
      for (const at of [2, 60, 140]) {
        const copy = disk.clone()
        flip(copy, segment, record.offset + at)
        const seen = await inspect(copy)
        const [damage, ...more] = damages(seen)
        assert.deepEqual(more, [])
        assert.equal(damage?.offset, record.offset)
        assert.equal(damage?.verdict, 'corruption')
        assert.deepEqual(
          sequences(seen),
          sequences(records).filter((sequence) => sequence !== broken),
        )
        await rejectsWith(raw(copy), 'UNDERSTUDY_CORRUPTION')
      }
    }
  })

  test('a torn tail is a tail; raw blocks end before it', async () => {
    const blocks = new SampleBlocks().many(6)
    const disk = await journalOf(blocks, 1, 6)
    const records = await inspect(disk)
    const last = records.findLast((record) => record.type === 'block')
    assert.ok(last?.type === 'block')
    disk.corrupt(segment, (content) => Uint8Array.from(content).fill(0, last.offset + 130))
    const seen = await inspect(disk)
    assert.deepEqual(
      damages(seen).map((damage) => [damage.offset, damage.verdict]),
      [[last.offset, 'tail']],
    )
    assert.ok((await raw(disk)).equals(Buffer.concat(blocks.slice(0, 5).map((block) => block.bytes))))
  })

  test('a file whose header is gone still shows its blocks', async () => {
    const blocks = new SampleBlocks().many(9)
    const disk = await journalOf(blocks, 2, 7)
    flip(disk, segment, 20)
    const seen = await inspect(disk)
    assert.deepEqual(
      damages(seen).map((damage) => [damage.offset, damage.verdict]),
      [[0, 'corruption']],
    )
    assert.equal(sequences(seen).length, 9)
  })

  test('a missing segment is named', async () => {
    const disk = await journalOf(new SampleBlocks().many(100, { valueBytes: 2000 }), 3, 8)
    const names = (await disk.process().list('/journal')).filter((name) => name.endsWith('.journal'))
    assert.ok(names.length > 3)
    for (const name of names.slice(1)) {
      const copy = disk.clone()
      await copy.process().remove(`/journal/${name}`)
      const [damage, ...more] = damages(await inspect(copy))
      assert.deepEqual(more, [])
      assert.equal(damage?.expected, `a segment that begins with sequence ${Number.parseInt(name, 10)}`)
    }
  })

  test('a single file is read by its own name, and others than segments too', async () => {
    const blocks = new SampleBlocks().many(5)
    const disk = await journalOf(blocks, 2, 9)
    await disk.process().rename(segment, '/journal/divergent-3.journal')
    assert.equal(sequences(await inspect(disk, '/journal/divergent-3.journal')).length, 5)
    assert.equal(sequences(await inspect(disk)).length, 5)
    await rejectsWith(inspect(disk, '/nothing'), 'UNDERSTUDY_CONFIG')
  })

  test('nothing is changed by reading', async () => {
    const disk = await journalOf(new SampleBlocks().many(5), 2, 10)
    disk.fault = (operation) =>
      ['open', 'read', 'stat', 'list'].includes(operation) ? undefined : new Error(`not read-only: ${operation}`)
    assert.equal(sequences(await inspect(disk)).length, 5)
  })
})
