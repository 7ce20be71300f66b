/** Single conditions of the journal's recovery that no other test would miss: mutation testing found them. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Block } from '#src/core/entry.js'
import { isFailure } from '#src/errors.js'
import {
  JournalWatch,
  readAll,
  rejectsWith,
  SampleBlocks,
  sampleBase,
  sampleIdentity,
} from '#src/journal/sample-blocks.js'
import { decodeSegmentHeader, encodeNote, segmentName } from '#src/journal/segment-format.js'
import { writeTruncation } from '#src/journal/truncation.js'
import type { Journal } from '#src/ports/journal.js'
import { SimulatedDisk } from '#src/sim/disk.js'
import { settle, simulatedFactory } from './support.js'

const pathOf = (firstSequence: number) => `/journal/${segmentName(firstSequence)}`

async function create(disk: SimulatedDisk): Promise<Journal> {
  const start = { base: sampleBase, epochs: [] }
  return await simulatedFactory(disk.process()).create('/journal', sampleIdentity, start, new JournalWatch())
}

async function open(disk: SimulatedDisk): Promise<Journal> {
  const { journal } = await simulatedFactory(disk.process()).open('/journal', sampleIdentity, new JournalWatch())
  return journal
}

/** Segments full and sealed but for the last one, whose paths are returned. */
async function segments(count: number): Promise<{ disk: SimulatedDisk; paths: string[] }> {
  const disk = new SimulatedDisk()
  const journal = await create(disk)
  const blocks = new SampleBlocks()
  while (journal.segments.length < count) {
    journal.append([blocks.next({ valueBytes: 5000 })])
    await settle(20)
  }
  await journal.mark()
  const paths = journal.segments.map(({ name }) => `/journal/${name}`)
  disk.crash({ keep: 'all' })
  return { disk, paths }
}

async function sixBlocks() {
  const disk = new SimulatedDisk()
  const journal = await create(disk)
  const made = new SampleBlocks().many(6)
  journal.append(made)
  await journal.mark()
  disk.crash({ keep: 'all' })
  return { disk, made }
}

/** As a power loss leaves a seal that was not synced. */
function tearSeal(disk: SimulatedDisk, path: string): void {
  disk.corrupt(path, (content) =>
    Uint8Array.from(content).fill(0, Buffer.from(content).lastIndexOf('USJM', undefined, 'latin1')),
  )
}

/** Refused as damage, and no segment is changed. */
async function refuses(disk: SimulatedDisk): Promise<void> {
  const names = () => disk.list('/journal').filter((name) => name.endsWith('.journal'))
  const before = names()
  await rejectsWith(open(disk), 'UNDERSTUDY_CORRUPTION')
  assert.deepEqual(names(), before)
}

describe('recovery', () => {
  test('F21: a segment whose header is damaged is no unused one, also where nothing is sealed before it', async () => {
    const { disk, paths } = await segments(2)
    tearSeal(disk, paths[0]!)
    disk.corrupt(paths[1]!, (content) => {
      const changed = Uint8Array.from(content)
      changed[100] = changed[100]! ^ 0x24
      return changed
    })
    await refuses(disk)
  })

  test('F21: zeros between two segments are damage, whatever is sealed', async () => {
    const { disk, paths } = await segments(3)
    disk.corrupt(paths[1]!, (content) => new Uint8Array(content.length))
    await refuses(disk.clone())
    tearSeal(disk, paths[0]!)
    await refuses(disk)
  })

  test('F21: zeros behind a sealed segment, or in a place where none follows, are damage', async () => {
    const sealed = await segments(2)
    sealed.disk.corrupt(sealed.paths[1]!, (content) => new Uint8Array(content.length))
    await refuses(sealed.disk)
    const { disk } = await segments(1)
    const file = await disk.process().open(pathOf(99), 'create')
    await file.truncate(4096)
    await refuses(disk)
    const alone = new SimulatedDisk()
    const files = alone.process()
    await files.makeDirectory('/journal')
    await (await files.open(pathOf(1), 'create')).truncate(4096)
    await refuses(alone)
  })

  test('F21: a segment under the name of another sequence is refused', async () => {
    const { disk } = await segments(1)
    await disk.process().rename(pathOf(1), pathOf(5))
    await assert.rejects(open(disk), (error) => {
      assert.ok(isFailure(error, 'CORRUPTION'))
      assert.match(error.message, /begins with sequence 5.*begins with 1/)
      return true
    })
  })

  test('J1: what a cut that a crash interrupted knew to be committed is stored with it', async () => {
    const disk = new SimulatedDisk()
    const journal = await create(disk)
    const blocks = new SampleBlocks()
    const made = blocks.many(6)
    journal.append(made)
    await journal.mark()
    disk.crash({ keep: 'all' })
    const to = made[3]!.end
    await writeTruncation(disk.process(), '/journal', { to, committed: 3 })
    const opened = await open(disk)
    assert.equal(opened.committedMark, 3)
    assert.equal((await readAll(opened)).length, 4)
    // The cut is finished, and what said so is gone.
    disk.crash({ keep: 'none' })
    const again = await open(disk)
    assert.equal(again.committedMark, 3)
    assert.deepEqual(again.durable, to)
    await again.close()
  })

  test('F19, F38: a block of another history is damage, however whole it is', async () => {
    const [ours, theirs] = ['one', 'two'].map((text) => {
      const blocks = new SampleBlocks()
      return [blocks.next(), blocks.next({ value: Buffer.from(text) }), blocks.next({ value: Buffer.from('same') })]
    }) as [Block[], Block[]]
    const one = new SimulatedDisk()
    const journal = await create(one)
    journal.append(ours)
    await journal.mark()
    one.crash({ keep: 'all' })
    // Their second block in the place of ours, which our third one does not continue.
    one.corrupt(pathOf(1), (content) => {
      const changed = Buffer.from(content)
      assert.equal(ours[1]!.bytes.length, theirs[1]!.bytes.length)
      changed.set(theirs[1]!.bytes, changed.indexOf(ours[1]!.bytes))
      return changed
    })
    await assert.rejects(open(one), (error) => {
      assert.ok(isFailure(error, 'CORRUPTION'))
      assert.match(error.message, /expected chain .* found chain/)
      return true
    })
  })

  test('J2: a flush mark that does not say what stands before it is damage', async () => {
    const { disk } = await sixBlocks()
    const content = Buffer.from(disk.content(pathOf(1)))
    const header = decodeSegmentHeader(content)
    assert.ok('salt' in header)
    const lastMark = content.lastIndexOf('USJM', undefined, 'latin1')
    const end = lastMark + 64
    const { sequence } = (await open(disk.clone())).durable
    const withNote = async (flushedBefore: number, committed: number) => {
      const copy = disk.clone()
      const note = encodeNote({ kind: 'mark', flushedBefore, committed }, header.salt, end)
      copy.corrupt(pathOf(1), () => {
        const changed = Buffer.from(content)
        changed.set(note, end)
        return changed
      })
      return open(copy)
    }
    assert.equal((await withNote(sequence, sequence)).durable.sequence, sequence)
    await rejectsWith(withNote(sequence - 1, 0), 'UNDERSTUDY_CORRUPTION')
    await rejectsWith(withNote(sequence + 1, 0), 'UNDERSTUDY_CORRUPTION')
    await rejectsWith(withNote(sequence, sequence + 1), 'UNDERSTUDY_CORRUPTION')
  })

  describe('a cut that a crash interrupted', () => {
    test('F23: leaves nothing but zeros behind, also after a loss of power', async () => {
      const { disk, made } = await sixBlocks()
      await writeTruncation(disk.process(), '/journal', { to: made[1]!.end, committed: 2 })
      await open(disk)
      disk.crash({ keep: 'none' })
      const content = Buffer.from(disk.content(pathOf(1)))
      const end = content.lastIndexOf('USJM', undefined, 'latin1') + 64
      assert.ok(content.subarray(end).every((byte) => byte === 0))
      assert.equal((await open(disk)).durable.sequence, 2)
    })

    test('F38: is not finished where the journal does not hold its end', async () => {
      const { disk, made } = await sixBlocks()
      for (const to of [
        { ...made[1]!.end, chain: made[2]!.end.chain },
        { ...made[2]!.end, sequence: made[1]!.end.sequence },
      ]) {
        const copy = disk.clone()
        await writeTruncation(copy.process(), '/journal', { to, committed: 0 })
        await refuses(copy)
      }
      const inside = new SimulatedDisk()
      const journal = await create(inside)
      const block = new SampleBlocks().next({ entryCount: 3 })
      journal.append([block])
      await journal.mark()
      inside.crash({ keep: 'all' })
      await writeTruncation(inside.process(), '/journal', { to: { ...block.end, sequence: 2 }, committed: 0 })
      await refuses(inside)
    })

    test('J2: is refused where what is written of it is damaged', async () => {
      const { disk, made } = await sixBlocks()
      await writeTruncation(disk.process(), '/journal', { to: made[1]!.end, committed: 0 })
      for (const change of [
        (content: Uint8Array) => content.map((byte, at) => (at === content.length - 1 ? byte ^ 1 : byte)),
        (content: Uint8Array) => content.map((byte, at) => (at === 0 ? byte ^ 1 : byte)),
        (content: Uint8Array) => content.slice(0, 3),
        () => new Uint8Array(0),
      ]) {
        const copy = disk.clone()
        copy.corrupt('/journal/truncation', change)
        await refuses(copy)
      }
    })

    test('J3: what said so goes only when the segments behind it are gone for good', async () => {
      const disk = new SimulatedDisk()
      const journal = await create(disk)
      const blocks = new SampleBlocks()
      const first = blocks.next({ valueBytes: 5000 })
      journal.append([first])
      while (journal.segments.length < 3) {
        journal.append([blocks.next({ valueBytes: 5000 })])
        await settle(20)
      }
      await journal.mark()
      let seen = 0
      disk.fault = (operation, path) => {
        if (operation !== 'remove' || path !== '/journal/truncation') return undefined
        seen += 1
        const removals = disk
          .unsynced()
          .filter((change) => change.kind === 'remove' && change.path.endsWith('.journal'))
        assert.deepEqual(removals, [])
        return undefined
      }
      await journal.truncate(first.end)
      assert.equal(seen, 1)
      await journal.close()
    })
  })
})
