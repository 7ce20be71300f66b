import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import {
  checkpointsToRemove,
  checkpointsToReplace,
  chooseMethod,
  type FileRange,
  type FileToFetch,
  type KeptCheckpoint,
  Pacer,
  rangeBytesFor,
  reconcileFiles,
  refuseFiles,
  TransferPlan,
} from '#src/core/checkpoint-transfer.js'
import { InvariantViolation } from '#src/core/invariant.js'

function file(name: string, bytes: number, checksum = 1): FileToFetch {
  return { name, bytes, checksum }
}

const bounds = { rangeBytes: 10, requestsMax: 4, filesMax: 2, attemptsMax: 3 }

function askAll(plan: TransferPlan): FileRange[] {
  const ranges: FileRange[] = []
  for (let range = plan.ask(); range !== undefined; range = plan.ask()) ranges.push(range)
  return ranges
}

/** A part has come and is on the disk. */
function store(plan: TransferPlan, range: FileRange): boolean {
  plan.received(range)
  return plan.written(range)
}

describe('the way the content comes', () => {
  const can = {
    ownFormat: 'rocksdb-1',
    sourceSpeaks: true,
    sourceRefused: false,
    begun: undefined,
    chunkBytes: 0,
    othersMay: true,
  } as const

  test('files where both sides can, chunks otherwise', () => {
    assert.equal(chooseMethod(can), 'checkpoint')
    assert.equal(chooseMethod({ ...can, ownFormat: undefined }), 'range-chunks', 'the engine here takes no files')
    assert.equal(chooseMethod({ ...can, sourceSpeaks: false }), 'range-chunks', 'a release before checkpoint files')
    assert.equal(chooseMethod({ ...can, sourceRefused: true }), 'range-chunks')
  })

  test('B1: what was begun with chunks goes on so, unless none has come', () => {
    assert.equal(chooseMethod({ ...can, begun: 'range-chunks', chunkBytes: 1 }), 'range-chunks')
    assert.equal(chooseMethod({ ...can, begun: 'range-chunks' }), 'checkpoint')
  })

  test('files that were begun are given up only when no source is left that could hand out the rest', () => {
    assert.equal(chooseMethod({ ...can, begun: 'checkpoint', sourceRefused: true }), 'elsewhere')
    assert.equal(chooseMethod({ ...can, begun: 'checkpoint', sourceSpeaks: false }), 'elsewhere')
    assert.equal(chooseMethod({ ...can, begun: 'checkpoint', sourceRefused: true, othersMay: false }), 'range-chunks')
  })
})

describe('the list of files', () => {
  test('F29: a name that is no plain name is refused: it would be a path', () => {
    for (const name of ['', '.', '..', '../etc/passwd', 'a/b', '/a', 'a\0', '.hidden', '000001.sst.part', 'a\\b']) {
      assert.match(refuseFiles([file(name, 1)], { bytes: 1 }) ?? 'accepted', /is no name of a file/, name)
    }
    assert.equal(
      refuseFiles([file('000001.sst', 1), file('CURRENT', 2), file('MANIFEST-000004', 3)], { bytes: 6 }),
      undefined,
    )
  })

  test('a name twice and another sum of bytes are refused', () => {
    assert.match(refuseFiles([file('a', 1), file('a', 1)], { bytes: 2 }) ?? '', /listed twice/)
    assert.match(refuseFiles([file('a', 1)], { bytes: 2 }) ?? '', /1 bytes are listed, 2 announced/)
  })

  test('what lies there and is not listed with its size goes; what is has to be verified', () => {
    const files = [file('a', 1), file('b', 2), file('c', 3)]
    const present = [
      { name: 'a', bytes: 1 },
      { name: 'b', bytes: 1 },
      { name: 'old', bytes: 5 },
      { name: 'c.part', bytes: 3 },
    ]
    assert.deepEqual(reconcileFiles(files, present), { toVerify: [0], toRemove: ['b', 'old', 'c.part'] })
  })
})

describe('the plan of a transfer', () => {
  test('parts in order, no more requests and files at a time than allowed', () => {
    const plan = new TransferPlan([file('a', 25), file('b', 5), file('c', 5)], bounds)
    assert.deepEqual(askAll(plan), [
      { file: 0, offset: 0, bytes: 10 },
      { file: 0, offset: 10, bytes: 10 },
      { file: 0, offset: 20, bytes: 5 },
      { file: 1, offset: 0, bytes: 5 },
    ])
    assert.equal(plan.open, 4)
    assert.equal(store(plan, { file: 1, offset: 0, bytes: 5 }), true)
    assert.equal(plan.ask(), undefined, 'two files are under way until one is verified')
    plan.verified(1)
    assert.deepEqual(plan.ask(), { file: 2, offset: 0, bytes: 5 })
  })

  test('I8: a part counts as open until it is written, not only until it has come', () => {
    const plan = new TransferPlan([file('a', 100)], { ...bounds, requestsMax: 1 })
    const range = plan.ask()!
    plan.received(range)
    assert.equal(plan.ask(), undefined)
    plan.written(range)
    assert.deepEqual(plan.ask(), { file: 0, offset: 10, bytes: 10 })
  })

  test('a file is whole when its last part is written, in any order, and counts when it is verified', () => {
    const plan = new TransferPlan([file('a', 25)], bounds)
    const [first, second, third] = askAll(plan)
    assert.equal(store(plan, third!), false)
    assert.equal(store(plan, first!), false)
    assert.equal(store(plan, second!), true)
    assert.equal(plan.isDone, false)
    plan.verified(0)
    assert.equal(plan.isDone, true)
    assert.equal(plan.ask(), undefined)
  })

  test('what was not asked for, or comes twice, is not expected', () => {
    const plan = new TransferPlan([file('a', 25)], bounds)
    const range = plan.ask()!
    assert.equal(plan.expects({ ...range, bytes: 9 }), false)
    assert.equal(plan.expects({ ...range, offset: 10 }), false)
    assert.equal(plan.expects({ ...range, file: 7 }), false)
    assert.equal(plan.expects(range), true)
    plan.received(range)
    assert.equal(plan.expects(range), false)
    assert.throws(() => plan.received(range), InvariantViolation)
  })

  test('an empty file is asked for once', () => {
    const plan = new TransferPlan([file('a', 0), file('b', 1)], bounds)
    assert.deepEqual(askAll(plan), [
      { file: 0, offset: 0, bytes: 0 },
      { file: 1, offset: 0, bytes: 1 },
    ])
    assert.equal(store(plan, { file: 0, offset: 0, bytes: 0 }), true)
  })

  test('kept files are not asked for', () => {
    const plan = new TransferPlan([file('a', 5), file('b', 5), file('c', 5)], bounds)
    plan.keep(0)
    plan.keep(2)
    assert.deepEqual(askAll(plan), [{ file: 1, offset: 0, bytes: 5 }])
    store(plan, { file: 1, offset: 0, bytes: 5 })
    plan.verified(1)
    assert.equal(plan.isDone, true)
  })

  test('a damaged file is fetched again from its beginning, a bounded number of times', () => {
    const plan = new TransferPlan([file('a', 5)], bounds)
    for (let attempt = 1; attempt <= 3; attempt++) {
      const range = plan.ask()
      assert.deepEqual(range, { file: 0, offset: 0, bytes: 5 })
      store(plan, range!)
      assert.equal(plan.damaged(0), attempt < 3)
    }
    assert.equal(plan.ask(), undefined)
    assert.equal(plan.isDone, false)
  })

  test('any order of arrival ends with all files whole, and every byte asked for once', () => {
    let seed = 7
    const random = () => {
      seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648
      return seed / 2_147_483_648
    }
    for (let round = 0; round < 200; round++) {
      const files = Array.from({ length: 1 + Math.floor(random() * 8) }, (_, index) =>
        file(`f${index}`, Math.floor(random() * 60)),
      )
      const plan = new TransferPlan(files, bounds)
      const open: FileRange[] = []
      const asked = files.map(() => 0)
      const toVerify: number[] = []
      while (!plan.isDone) {
        const all = askAll(plan)
        for (const range of all) asked[range.file]! += range.bytes
        open.push(...all)
        assert.ok(open.length <= bounds.requestsMax)
        if (open.length > 0 && (toVerify.length === 0 || random() < 0.7)) {
          const [range] = open.splice(Math.floor(random() * open.length), 1)
          if (store(plan, range!)) toVerify.push(range!.file)
        } else {
          assert.ok(toVerify.length > 0, `round ${round} stands still`)
          plan.verified(toVerify.shift()!)
        }
      }
      assert.deepEqual(
        asked,
        files.map(({ bytes }) => bytes),
      )
    }
  })
})

describe('the rate', () => {
  test('over any time no more bytes are asked for than the rate allows, and one part more', () => {
    const pacer = new Pacer(1000)
    let nowMs = 0
    let bytes = 0
    while (nowMs < 10_000) {
      nowMs += pacer.take(nowMs, 100)
      bytes += 100
      assert.ok(bytes <= (nowMs * 1000) / 1000 + 100, `${bytes} bytes after ${nowMs} ms`)
    }
    assert.ok(bytes >= 9_900, 'and the rate is used')
  })

  test('what was not used is not saved up', () => {
    const pacer = new Pacer(1000)
    assert.equal(pacer.take(0, 100), 0)
    assert.equal(pacer.take(60_000, 100), 0)
    assert.equal(pacer.take(60_000, 100), 100)
  })

  test('without a rate there is no wait; a low one means smaller parts', () => {
    assert.equal(new Pacer(undefined).take(0, 1e9), 0)
    const range = { bytes: 512, bytesMin: 16 }
    assert.equal(rangeBytesFor(undefined, range), 512)
    assert.equal(rangeBytesFor(1e6, range), 512)
    assert.equal(rangeBytesFor(800, range), 100)
    assert.equal(rangeBytesFor(1, range), 16)
  })
})

describe('checkpoints that a source keeps', () => {
  const kept = (id: string, changes: Partial<KeptCheckpoint> = {}): KeptCheckpoint => ({
    id,
    slot: `bootstrap:${id}`,
    inUse: false,
    idleMs: 0,
    ...changes,
  })

  test('they go with their slot, or when nobody has read them for long; never while they are read', () => {
    const slots = new Set(['bootstrap:a', 'bootstrap:b', 'bootstrap:d'])
    const all = [
      kept('a', { idleMs: 100 }),
      kept('b', { idleMs: 101 }),
      kept('c'),
      kept('d', { idleMs: 1e6, inUse: true }),
      kept('e', { inUse: true }),
    ]
    assert.deepEqual(checkpointsToRemove(all, slots, 100), ['b', 'c'])
  })

  test('I8: no more than allowed: one for a slot, the longest idle goes first, none that is read', () => {
    const all = [kept('a', { idleMs: 5 }), kept('b', { idleMs: 9 }), kept('c', { inUse: true, idleMs: 99 })]
    assert.deepEqual(checkpointsToReplace(all, 'bootstrap:new', 4), [])
    assert.deepEqual(checkpointsToReplace(all, 'bootstrap:new', 3), ['b'])
    assert.deepEqual(checkpointsToReplace(all, 'bootstrap:a', 3), ['a'], 'its own older one')
    assert.deepEqual(checkpointsToReplace(all, 'bootstrap:new', 2), ['b', 'a'])
    assert.equal(checkpointsToReplace(all, 'bootstrap:new', 1), undefined)
  })
})
