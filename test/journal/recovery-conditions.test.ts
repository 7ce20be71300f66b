/** Single conditions of the journal's recovery that no other test would miss: mutation testing found them. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { isFailure } from '#src/errors.js'
import {
  JournalWatch,
  readAll,
  rejectsWith,
  SampleBlocks,
  sampleBase,
  sampleIdentity,
} from '#src/journal/sample-blocks.js'
import { segmentName } from '#src/journal/segment-format.js'
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
})
