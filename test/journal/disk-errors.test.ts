import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Block } from '#src/core/entry.js'
import { isFailure } from '#src/errors.js'
import { JournalWatch, readAll, SampleBlocks, sampleBase, sampleIdentity } from '#src/journal/sample-blocks.js'
import type { Journal } from '#src/ports/journal.js'
import { type DiskFault, type DiskOperation, diskError, SimulatedDisk } from '#src/sim/disk.js'
import { placesStep } from '../support/property-runs.js'
import { ManualClock, settle, simulatedFactory } from './support.js'

const start = { base: sampleBase, epochs: [] }
const everything = { bytesMax: 1e9, limitSequence: 1e9 }

interface Setting {
  readonly disk: SimulatedDisk
  readonly journal: Journal
  readonly watch: JournalWatch
  readonly blocks: SampleBlocks
  readonly durable: Block[]
}

/** A journal with five durable blocks. */
async function setting(): Promise<Setting> {
  const disk = new SimulatedDisk()
  const watch = new JournalWatch()
  const journal = await simulatedFactory(disk.process()).create('/journal', sampleIdentity, start, watch)
  const blocks = new SampleBlocks()
  const durable = blocks.many(5, { valueBytes: 500 })
  journal.append(durable)
  await journal.mark()
  await settle()
  return { disk, journal, watch, blocks, durable }
}

function once(operation: DiskOperation, part: string, fault: () => Error | 'short'): DiskFault {
  let done = false
  return (asked, path) => {
    if (done || asked !== operation || !path.includes(part)) return undefined
    done = true
    return fault()
  }
}

async function open(disk: SimulatedDisk): Promise<Journal> {
  return (await simulatedFactory(disk.process()).open('/journal', sampleIdentity, new JournalWatch())).journal
}

function chains(blocks: readonly Block[]): string[] {
  return blocks.map((block) => block.end.chain)
}

const cases: Array<{ title: string; fault: DiskFault; code: string }> = [
  {
    title: 'fsync fails',
    fault: once('datasync', '0001.journal', () => diskError('EIO', 'fsync')),
    code: 'UNDERSTUDY_IO',
  },
  {
    title: 'a write fails',
    fault: once('write', '0001.journal', () => diskError('EIO', 'write')),
    code: 'UNDERSTUDY_IO',
  },
  {
    title: 'a write is short',
    fault: once('write', '0001.journal', () => 'short'),
    code: 'UNDERSTUDY_IO',
  },
  {
    title: 'the disk is full while appending',
    fault: once('write', '0001.journal', () => diskError('ENOSPC', 'write')),
    code: 'UNDERSTUDY_DISK_FULL',
  },
]

describe('errors of the disk', () => {
  for (const { title, fault, code } of cases) {
    test(`F17, F18: ${title}: nothing more becomes durable, everything is refused, and a restart recovers`, async () => {
      const { disk, journal, watch, blocks, durable } = await setting()
      const reported = watch.positions.length
      disk.fault = fault
      journal.append(blocks.many(2))
      const waiting = journal.mark()
      journal.append(blocks.many(2))
      await assert.rejects(waiting, { code })
      await settle()
      assert.equal(watch.positions.length, reported)
      assert.equal(watch.failures.length, 1)
      const [failure] = watch.failures
      assert.ok(isFailure(failure))
      assert.equal(failure.code, code)
      assert.match(failure.hint ?? '', /restart the node/)
      assert.throws(() => journal.append([blocks.next()]), failure)
      assert.throws(() => journal.readCached(sampleBase, everything), failure)
      await assert.rejects(journal.mark(), failure)
      await assert.rejects(journal.read(sampleBase, everything), failure)
      await assert.rejects(journal.positionAt(1), failure)
      await assert.rejects(journal.truncate(sampleBase), failure)
      await assert.rejects(journal.trim(1), failure)
      assert.equal(journal.durable.sequence, 5)
      await journal.close()
      assert.equal((await disk.process().list('/journal')).includes('damaged'), true)

      const renamed: string[] = []
      disk.fault = (operation, path) => {
        if (operation === 'rename' || operation === 'sync') renamed.push(`${operation} ${path}`)
        return undefined
      }
      const again = await open(disk)
      const copied = ['sync /journal/rescue.tmp', 'rename /journal/rescue.tmp']
      assert.deepEqual(renamed.slice(0, 2), copied, 'J3: what survived is copied to a new file first')
      assert.ok(!(await disk.process().list('/journal')).includes('damaged'))
      const found = await readAll(again)
      assert.deepEqual(chains(found.slice(0, 5)), chains(durable))
      assert.ok(again.durable.sequence >= 5)
      const reportedAgain = again.durable
      disk.crash({ keep: 'none' })
      const last = await open(disk)
      assert.deepEqual(last.durable, reportedAgain)
      await last.close()
    })
  }

  test('F17: after a failed fsync, pages that the kernel calls clean are not trusted, marker or not', async () => {
    for (const marker of [true, false]) {
      const { disk, journal, blocks } = await setting()
      const failing = once('datasync', '0001.journal', () => diskError('EIO', 'fsync'))
      disk.fault = (operation, path) => {
        if (!marker && path.endsWith('damaged') && operation === 'create') return diskError('EIO', 'create')
        return failing(operation, path)
      }
      journal.append(blocks.many(3))
      await assert.rejects(journal.mark(), { code: 'UNDERSTUDY_IO' })
      await journal.close()
      disk.fault = undefined
      const again = await open(disk)
      // The page cache still had them, and recovery has reported them durable: so they must be.
      assert.equal(again.durable.sequence, 8)
      disk.crash({ keep: 'none' })
      const last = await open(disk)
      assert.equal(last.durable.sequence, 8, `marker ${marker}`)
      await last.close()
    }
  })

  test('a full disk while the next segment is made ahead is tried again, and fails only when it is needed', async () => {
    const { disk, journal, watch, blocks } = await setting()
    let full = true
    disk.fault = (operation, path) =>
      full && operation === 'create' && path.endsWith('spare.tmp') ? diskError('ENOSPC', 'create') : undefined
    const fill = async (): Promise<void> => {
      const { length } = journal.segments
      while (journal.segments.length === length) {
        journal.append([blocks.next({ valueBytes: 9000 })])
        await journal.mark()
      }
    }
    // The file made before the disk was full is used, the next one cannot be made.
    await fill()
    assert.equal(watch.failures.length, 0)
    full = false
    await fill()
    assert.equal(watch.failures.length, 0)
    full = true
    await fill()
    await assert.rejects(fill(), { code: 'UNDERSTUDY_DISK_FULL' })
    const [failure] = watch.failures
    assert.ok(isFailure(failure, 'DISK_FULL'))
    assert.match(failure.hint ?? '', /free space/)
    const { durable } = journal
    await journal.close()
    // No segment was written to: nothing needs to be copied, and space is not needed to open.
    const names = await disk.process().list('/journal')
    assert.ok(!names.includes('damaged') && !names.includes('spare.tmp'), names.join())
    const again = await open(disk)
    assert.deepEqual(again.durable, durable)
    await again.close()
  })

  test('an error while a new segment is named or sealed fails the journal, and a restart goes on', async () => {
    const faults: Array<[DiskOperation, string]> = [
      ['rename', 'spare.tmp'],
      ['syncDirectory', '/journal'],
      ['datasync', 'spare.tmp'],
      ['write', '0001.journal'],
    ]
    for (const [operation, part] of faults) {
      const { disk, journal, watch, blocks } = await setting()
      const sent: Block[] = []
      while ((journal.segments[0]?.bytes ?? 0) - 4096 - (sent.length + 1) * 9400 > 12_000) {
        sent.push(blocks.next({ valueBytes: 9000 }))
        journal.append(sent.slice(-1))
        await journal.mark()
      }
      // A write to the old segment is its seal: the next block does not fit.
      disk.fault = once(operation, part, () => diskError('EIO', operation))
      const last = blocks.next({ valueBytes: 30_000 })
      journal.append([last])
      await assert.rejects(journal.mark(), { code: 'UNDERSTUDY_IO' }, `${operation} ${part}`)
      assert.equal(watch.failures.length, 1)
      await journal.close()
      disk.fault = undefined
      disk.crash({ keep: 'all' })
      const again = await open(disk)
      assert.equal(again.durable.sequence, last.header.firstSequence - 1)
      again.append([last])
      await again.close()
      const reopened = await open(disk)
      assert.deepEqual(reopened.durable, last.end)
      await reopened.close()
    }
  })

  test('an error in the middle of a cut fails the journal; opening it finishes the cut', async () => {
    const faults: Array<[DiskOperation, string]> = [
      ['write', '0001.journal'],
      ['datasync', '0001.journal'],
      ['remove', '.journal'],
      ['remove', 'truncation'],
    ]
    for (const [operation, part] of faults) {
      const { disk, journal, blocks, durable } = await setting()
      for (const block of blocks.many(20, { valueBytes: 9000 })) {
        journal.append([block])
        await journal.mark()
      }
      disk.fault = once(operation, part, () => diskError('EIO', operation))
      const to = durable[2]?.end ?? sampleBase
      await assert.rejects(journal.truncate(to), { code: 'UNDERSTUDY_IO' })
      assert.throws(() => journal.append([]), { code: 'UNDERSTUDY_IO' })
      await journal.close()
      disk.fault = undefined
      const again = await open(disk)
      assert.deepEqual(again.durable, to, `${operation} ${part}`)
      assert.deepEqual(chains(await readAll(again)), chains(durable.slice(0, 3)))
      assert.ok(!(await disk.process().list('/journal')).includes('truncation'))
      await again.close()
    }
  })

  test('a read error is told to the reader alone', async () => {
    const { disk, journal, watch, blocks } = await setting()
    await journal.close()
    const again = await open(disk)
    disk.fault = once('read', '.journal', () => diskError('EIO', 'read'))
    await assert.rejects(again.read(sampleBase, everything), { code: 'UNDERSTUDY_IO' })
    assert.equal((await again.read(sampleBase, everything)).length, 5)
    again.append([blocks.next()])
    await again.close()
    assert.deepEqual(watch.failures, [])
  })

  test('an fsync that fails during recovery refuses the directory', async () => {
    const { disk, journal } = await setting()
    await journal.close()
    disk.fault = once('sync', '0001.journal', () => diskError('EIO', 'fsync'))
    await assert.rejects(open(disk), { code: 'UNDERSTUDY_IO' })
    const again = await open(disk)
    assert.equal(again.durable.sequence, 5)
    await again.close()
  })
})

describe('crash between two operations', () => {
  test('a trim that power cuts short never leaves a hole', async () => {
    for (let operation = 1; operation < 12; operation += Math.min(3, placesStep)) {
      for (const keep of [(index: number) => index % 2 === 0, (index: number) => index % 2 === 1]) {
        const { disk, journal, blocks } = await setting()
        for (const block of blocks.many(30, { valueBytes: 9000 })) {
          journal.append([block])
          await journal.mark()
        }
        await settle(400)
        let count = 0
        let crashed = (): void => {}
        const crash = new Promise<void>((resolve) => {
          crashed = resolve
        })
        disk.fault = (asked) => {
          if (asked !== 'remove' && asked !== 'syncDirectory') return undefined
          if (++count === operation) {
            disk.crash({ keep: (change) => keep(change.index) })
            crashed()
          }
          return undefined
        }
        await Promise.race([journal.trim(1e9), crash])
        if (count < operation) disk.crash({ keep: 'all' })
        disk.fault = undefined
        const again = await open(disk)
        assert.equal(again.durable.sequence, 35)
        await again.close()
      }
    }
  })

  test('J2: an idle journal puts a flush mark behind its last block, once', async () => {
    const disk = new SimulatedDisk()
    const clock = new ManualClock()
    const factory = simulatedFactory(disk.process(), { clock, idleMarkMs: 20 })
    const journal = await factory.create('/journal', sampleIdentity, start, new JournalWatch())
    const blocks = new SampleBlocks()
    const written: string[] = []
    disk.fault = (operation, path) => {
      if (operation === 'write' && path.endsWith('.journal')) written.push(path)
      return undefined
    }
    journal.append(blocks.many(3))
    await settle()
    assert.equal(written.length, 1)
    clock.advance(19)
    await settle()
    assert.equal(written.length, 1)
    clock.advance(1)
    await settle()
    assert.equal(written.length, 2)
    clock.advance(1000)
    await settle()
    assert.equal(written.length, 2)
    journal.noteCommitted(2)
    clock.advance(20)
    await settle()
    assert.equal(written.length, 3)
    assert.equal(journal.committedMark, 2)
    await journal.close()
    assert.equal(written.length, 3)
  })

  test('F25: what is appended while a group is on its way goes with the next, in one write and one fsync', async () => {
    const { disk, journal, blocks } = await setting()
    const operations: string[] = []
    disk.fault = (operation, path) => {
      if (path.endsWith('0001.journal')) operations.push(operation)
      return undefined
    }
    journal.append([blocks.next()])
    await settle(3)
    for (let count = 0; count < 50; count++) journal.append([blocks.next()])
    while (journal.durable.sequence < blocks.end.sequence) await settle(1)
    assert.deepEqual(operations, ['write', 'datasync', 'write', 'datasync'])
    await journal.close()
  })
})
