/** What a voter has answered is on its disk, whatever happens to it. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Voter } from '#src/coordinator/builtin/voter.js'
import { makeRecord, successor } from '#src/coordinator/conformance-kit.js'
import { limits } from '#src/core/limits.js'
import { UnderstudyError } from '#src/errors.js'
import { JournalWatch } from '#src/journal/sample-blocks.js'
import type { RecordState } from '#src/ports/coordinator.js'
import type { FileSystem } from '#src/ports/file-system.js'
import { type DiskOperation, diskError, SimulatedDisk } from '#src/sim/disk.js'
import { SeededRandom, settle, simulatedFactory } from '../journal/support.js'
import { makeVoter } from './builtin-support.js'

const options = { timeout: 120_000 }
const journalPath = '/w/voter/journal'
const names = Array.from({ length: limits.membersMax }, (_, index) =>
  `node-with-a-rather-long-name-${index}`.slice(0, 32),
)
/** As large as a record gets, so that few of them fill a segment. */
const large = {
  inSync: names.map((node) => ({ node, incarnation: 'b'.repeat(32) })),
  voters: names,
}

async function started(files: FileSystem, segmentsMax?: number): Promise<Voter> {
  const voter = makeVoter(files, segmentsMax === undefined ? {} : { segmentsMax })
  await voter.start()
  return voter
}

async function put(voter: Voter, shard = 'main'): Promise<RecordState> {
  const before = voter.read(shard)
  const { swapped, state } = await voter.swap(shard, before.revision, successor(before, large))
  assert.ok(swapped)
  return state
}

function newestSegment(disk: SimulatedDisk): string {
  const [last] = disk.tree
    .list(journalPath)
    .filter((name) => name.endsWith('.journal'))
    .sort()
    .reverse()
  return `${journalPath}/${last}`
}

async function failureOf(work: () => unknown): Promise<UnderstudyError> {
  try {
    await work()
  } catch (error) {
    assert.ok(error instanceof UnderstudyError, String(error))
    return error
  }
  throw new assert.AssertionError({ message: 'it did not fail' })
}

describe('a voter and its disk', () => {
  test('a swap is not answered, told or read before fsync has returned', options, async () => {
    const disk = new SimulatedDisk()
    const voter = await started(disk.process())
    const before = await put(voter)
    let release!: () => void
    const gate = new Promise<void>((resolve) => {
      release = resolve
    })
    disk.latency = (operation) => (operation === 'datasync' ? gate : undefined)
    const told: number[] = []
    voter.watch({
      onRecord: (_, state) => told.push(state.revision),
      onMembers: () => undefined,
      onEnd: () => undefined,
    })
    let answered = false
    const swap = put(voter).then((state) => {
      answered = true
      return state
    })
    await settle()
    assert.deepEqual([answered, told], [false, [before.revision]])
    assert.deepEqual(voter.read('main'), before)
    release()
    const after = await swap
    assert.deepEqual(told, [before.revision, after.revision])
    assert.deepEqual(voter.read('main'), after)
    await voter.close()
  })

  test('S3: each start takes a higher epoch, durable before anything is answered', options, async () => {
    const disk = new SimulatedDisk()
    let id = ''
    for (let round = 0; round < 3; round++) {
      const voter = await started(disk.process())
      id = voter.coordinatorId
      disk.crash({ keep: 'none' })
    }
    const identity = { cluster: 'test', shard: '$coordinator', historyId: id }
    const { journal } = await simulatedFactory(disk.process()).open(journalPath, identity, new JournalWatch())
    assert.deepEqual(
      journal.epochs.map(({ epoch }) => epoch),
      [1, 2, 3].map((number) => ({ number, node: 'w' })),
    )
    await journal.close()
  })

  test('J3: killed or without power at every single step, it has all that it answered', options, async () => {
    const seed = Number(process.env.UNDERSTUDY_SEED ?? 1)
    const swaps = 60
    let stepCount = 0
    const counting = new SimulatedDisk({
      fault: () => {
        stepCount += 1
        return undefined
      },
    })
    const voter = await started(counting.process(), 1)
    for (let done = 0; done < swaps; done++) await put(voter, done % 3 === 0 ? 'other' : 'main')
    await voter.close()
    assert.ok(counting.tree.stat('/w/voter/snapshot.json') !== undefined, 'snapshots are part of it')
    for (let step = 1; step <= stepCount; step++) {
      const random = new SeededRandom(seed * 100_003 + step)
      const keep = (['none', 'all', () => random.next() < 0.5] as const)[step % 3]!
      try {
        await ordeal(step, swaps, { keep, sectors: step % 2 === 0 })
      } catch (error) {
        throw new Error(
          `step ${step} of ${stepCount}; again: UNDERSTUDY_SEED=${seed} node scripts/run-tests.mjs voter-disk\n${error instanceof Error ? error.stack : error}`,
        )
      }
    }
  })

  test('V1: an answered record that rots is corruption, never taken for a torn tail', options, async () => {
    const disk = new SimulatedDisk()
    const voter = await started(disk.process())
    await put(voter)
    const last = await put(voter)
    disk.crash({ keep: 'none' })
    disk.corrupt(newestSegment(disk), (content) => {
      const at = Buffer.from(content).lastIndexOf(Buffer.from(last.record!.nonce, 'hex'))
      assert.ok(at > 0)
      const damaged = Uint8Array.from(content)
      damaged[at] = damaged[at]! ^ 1
      return damaged
    })
    const error = await failureOf(() => started(disk.process()))
    assert.equal(error.failure, 'CORRUPTION')
  })

  test('J2: a torn tail, which nobody was told of, is cut, and the voter goes on', options, async () => {
    const disk = new SimulatedDisk()
    const voter = await started(disk.process())
    const last = await put(voter)
    disk.fault = (operation) => (operation === 'datasync' ? new Error('never returns') : undefined)
    void put(voter).catch(() => undefined)
    await settle()
    const torn = disk.unsynced(true).filter((change) => change.kind === 'write' && change.path.endsWith('.journal'))
    assert.ok(torn.length > 1, 'the write has several sectors')
    disk.fault = undefined
    disk.crash({ sectors: true, keep: (change) => change.offset !== torn[1]!.offset })
    const again = await started(disk.process())
    assert.deepEqual(again.read('main'), last)
    assert.ok((await put(again)).revision > last.revision)
    await again.close()
  })

  for (const [what, operation, errno, code] of [
    ['a full disk', 'write', 'ENOSPC', 'DISK_FULL'],
    ['a failing fsync', 'datasync', 'EIO', 'IO'],
  ] as const) {
    test(`F17, F18: ${what} ends the voter: nothing is answered any more, and it says why`, options, async () => {
      const disk = new SimulatedDisk()
      const files = disk.process()
      const voter = await started(files)
      const last = await put(voter)
      let end: UnderstudyError | undefined
      voter.watch({ onRecord: () => undefined, onMembers: () => undefined, onEnd: (error) => (end = error) })
      disk.fault = (asked, path) =>
        asked === operation && path.endsWith('.journal') ? diskError(errno, operation) : undefined
      const swap = await failureOf(() => put(voter))
      assert.deepEqual([swap.failure, swap.outcome], [code, 'unknown'])
      assert.equal(end?.failure, code)
      disk.fault = undefined
      const later = await failureOf(() => voter.swap('main', last.revision, successor(last)))
      assert.deepEqual([later.failure, later.outcome], [code, 'none'])
      for (const call of [
        () => voter.read('main'),
        () => voter.register({ node: 'a', address: 'a:1', boot: '0'.repeat(16) }, { ttlMs: 1000, takesOver: true }),
        () => voter.watch({ onRecord: () => undefined, onMembers: () => undefined, onEnd: () => undefined }),
      ]) {
        assert.equal((await failureOf(call)).failure, code)
      }
      const { state, reason } = voter.status
      assert.equal(state, 'failed')
      assert.match(reason ?? '', /restart the node/)
      await voter.close()
      files.kill()
      const again = await started(disk.process())
      assert.ok([last.revision, last.revision + 1].includes(again.read('main').revision))
      await put(again)
      await again.close()
    })
  }

  test('the journal stays small: a snapshot takes the place of what is before it', options, async () => {
    const disk = new SimulatedDisk()
    const voter = await started(disk.process())
    let last!: RecordState
    for (let done = 0; done < 400; done++) last = await put(voter, done % 2 === 0 ? 'main' : 'other')
    const main = voter.read('main')
    const { segments, sequence } = voter.status.journal
    assert.ok(segments <= limits.voterSegmentsMax + 1, `${segments} segments`)
    assert.ok(sequence > 400)
    disk.crash({ keep: 'none' })
    const again = await started(disk.process())
    assert.deepEqual(again.read('other'), last)
    assert.deepEqual(again.read('main'), main)
    assert.deepEqual(again.voters, [{ node: 'w', address: 'w.test:7400' }])
    await again.close()
  })

  test('a snapshot that the journal does not continue is corruption', options, async () => {
    const disk = new SimulatedDisk()
    const voter = await started(disk.process(), 1)
    for (let done = 0; done < 60; done++) await put(voter)
    await voter.close()
    const old = disk.clone()
    const grown = await started(disk.process(), 1)
    for (let done = 0; done < 60; done++) await put(grown)
    await grown.close()
    // The snapshot of the older image beside the journal of the newer one.
    disk.corrupt('/w/voter/snapshot.json', () => old.content('/w/voter/snapshot.json'))
    const error = await failureOf(() => started(disk.process()))
    assert.equal(error.failure, 'CORRUPTION')
    assert.match(error.message, /the journal reaches from/)
  })

  test(
    'S6: the directory of another cluster or voter is refused, and a lost identity is no new beginning',
    options,
    async () => {
      const disk = new SimulatedDisk()
      const voter = await started(disk.process())
      const { coordinatorId } = voter
      await voter.close()
      for (const changes of [{ cluster: 'other' }, { name: 'v' }]) {
        const error = await failureOf(() => makeVoter(disk.process(), changes).start())
        assert.equal(error.failure, 'FOREIGN_DIRECTORY')
      }
      const moved = makeVoter(disk.process(), { address: 'w.test:7500' })
      await moved.start()
      assert.equal(moved.coordinatorId, coordinatorId)
      assert.deepEqual(moved.voters, [{ node: 'w', address: 'w.test:7500' }])
      await moved.close()
      await disk.process().remove('/w/voter/voter.json')
      const error = await failureOf(() => makeVoter(disk.process()).start())
      assert.equal(error.failure, 'CORRUPTION')
      assert.match(error.message, /voter\.json is missing beside a voter's state/)
    },
  )

  test('closed while it writes: the swap that is on the disk is answered as done', options, async () => {
    const disk = new SimulatedDisk()
    const voter = await started(disk.process())
    const writing = put(voter)
    const waiting = failureOf(() => voter.swap('other', 0, makeRecord(voter.coordinatorId)))
    await undefined
    const closing = voter.close()
    const state = await writing
    const refused = await waiting
    assert.deepEqual([refused.failure, refused.outcome], ['CLOSED', 'none'])
    await closing
    const again = await started(disk.process())
    assert.deepEqual(again.read('main'), state)
    assert.equal(again.read('other').revision, 0)
    await again.close()
  })
})

/** Pulls the plug at one operation of the disk, and compares what is there afterwards with what was answered. */
async function ordeal(
  step: number,
  swaps: number,
  loss: { readonly keep: 'none' | 'all' | (() => boolean); readonly sectors: boolean },
): Promise<void> {
  let at = 0
  let end!: () => void
  const ended = new Promise<'ended'>((resolve) => {
    end = () => resolve('ended')
  })
  const disk = new SimulatedDisk()
  disk.fault = (_operation: DiskOperation) => {
    at += 1
    if (at !== step) return undefined
    disk.fault = undefined
    disk.crash(loss)
    end()
    return undefined
  }
  const answered = new Map<string, RecordState>()
  const asked = new Map<string, string>()
  let id: string | undefined
  const work = async (): Promise<'done'> => {
    const voter = await started(disk.process(), 1)
    id = voter.coordinatorId
    for (let done = 0; done < swaps; done++) {
      const shard = done % 3 === 0 ? 'other' : 'main'
      const before = voter.read(shard)
      const next = successor(before, large)
      asked.set(shard, next.nonce)
      const { state } = await voter.swap(shard, before.revision, next)
      answered.set(shard, state)
    }
    await voter.close()
    return 'done'
  }
  await Promise.race([work(), ended])
  const voter = await started(disk.process(), 1)
  if (id !== undefined) assert.equal(voter.coordinatorId, id)
  for (const shard of ['main', 'other']) {
    const found = voter.read(shard)
    const known = answered.get(shard)
    if (found.record?.nonce !== undefined && found.record.nonce === asked.get(shard)) {
      assert.ok(found.revision >= (known?.revision ?? 1))
    } else assert.deepEqual([found.record, found.revision], [known?.record, known?.revision ?? 0])
  }
  const next = await put(voter)
  disk.crash({ keep: 'none' })
  const again = await started(disk.process(), 1)
  assert.deepEqual(again.read('main'), next)
  disk.crash({ keep: 'none' })
}
