import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { encodeBlock } from '#src/codec/block.js'
import type { Block, Operation } from '#src/core/entry.js'
import { type Epoch, epochZero, type Position } from '#src/core/position.js'
import type { ShardRecord } from '#src/core/record.js'
import { memoryEngine } from '#src/engine/memory.js'
import { sampleBase } from '#src/journal/sample-blocks.js'
import { describeEngine } from '#src/sim/folded-content.js'
import { type FreshRead, judgeFreshRead } from '#src/sim/fresh-reads.js'
import { Oracle } from '#src/sim/oracle.js'
import { PlacedHistory } from '#src/sim/placed-history.js'
import type { RegisterOperation } from '#src/sim/register-history.js'

const a1: Epoch = { number: 1, node: 'a' }
const b2: Epoch = { number: 2, node: 'b' }

function put(key: string, value: string, family = 0): Operation {
  return { type: 'put', family, key: Buffer.from(key), value: Buffer.from(value) }
}

function block(after: Position, epoch: Epoch, ...operations: Operation[]): Block {
  return encodeBlock({
    epoch,
    firstSequence: after.sequence + 1,
    timestampMs: 0,
    committed: after.sequence,
    flushedBefore: after.sequence,
    chainBefore: after.chain,
    epochStart: operations.length === 0,
    entries: [{ origin: { node: 'a', boot: '1'.repeat(16) }, request: after.sequence + 1, operations }],
  })
}

/** Each block as one apply of its own, a millisecond after the one before. */
class Run {
  nowMs = 0
  readonly oracle: Oracle

  constructor(durability: 'local' | 'standby' = 'standby') {
    this.oracle = new Oracle(durability, () => this.nowMs)
  }

  apply(node: string, after: Position, epoch: Epoch, ...operations: Operation[]): Position {
    this.nowMs += 1
    const made = block(after, epoch, ...operations)
    this.oracle.apply(node, after, [made])
    this.oracle.applied(made.end)
    return made.end
  }

  /** A record of this epoch; forced if it gives up something. */
  record(epoch: Epoch, lossySince: Epoch = epochZero): void {
    this.oracle.onRecord({ epoch, lossySince } as ShardRecord)
  }

  get said(): string {
    return this.oracle.problems.texts.join('\n')
  }
}

describe('the fold', () => {
  test('a block that excludes another one is found, whichever comes first', () => {
    for (const [first, second] of [
      [a1, b2],
      [b2, a1],
    ] as const) {
      const run = new Run()
      run.apply('a', sampleBase, first, put('k', '1'))
      assert.equal(run.said, '')
      run.apply('b', sampleBase, second, put('k', '2'))
      assert.match(run.said, /I3: b applies/)
    }
  })

  test('C5: what a forced promotion gives up may be replaced, and nothing else', () => {
    const run = new Run()
    const common = run.apply('a', sampleBase, a1, put('k', '1'))
    run.apply('a', common, a1, put('k', 'given up'))
    run.record(b2, b2)
    const forced = run.apply('b', common, b2, put('k', '2'))
    // The old primary has not heard of it.
    run.apply('a', common, a1, put('k', 'beside'))
    assert.equal(run.said, '')
    const c3 = { number: 3, node: 'c' }
    run.record(c3, b2)
    run.apply('c', common, c3, put('k', '3'))
    assert.match(run.said, /I3: c applies 3@c.2-2, but b has applied 2@b.2-2/)
    assert.equal(forced.sequence, 2)
  })

  test('C5: an acknowledged write is gone although nothing gave it up', () => {
    const run = new Run()
    const common = run.apply('a', sampleBase, a1, put('k', '1'))
    const lost = run.apply('a', common, a1, put('k', '2'))
    run.oracle.acknowledge('client', lost)
    run.record(b2)
    run.oracle.leads('b', b2, common)
    assert.match(run.said, /I1: b leads in epoch 2@b with 1 applied; 1@a.2 was acknowledged/)
    const forced = new Run()
    forced.apply('a', forced.apply('a', sampleBase, a1, put('k', '1')), a1, put('k', '2'))
    forced.oracle.acknowledge('client', lost)
    forced.record(b2, b2)
    forced.oracle.leads('b', b2, common)
    forced.apply('b', common, b2)
    forced.oracle.finish()
    assert.equal(forced.said, '')
  })

  test('C5: what is acknowledged after a forced promotion is not given up by it', () => {
    const run = new Run()
    const common = run.apply('a', sampleBase, a1, put('k', '1'))
    run.record(b2, b2)
    const begun = run.apply('b', common, b2)
    run.oracle.acknowledge('client', run.apply('b', begun, b2, put('k', '2')))
    run.record({ number: 3, node: 'c' }, b2)
    run.oracle.leads('c', { number: 3, node: 'c' }, begun)
    assert.match(run.said, /I1: c leads .* 2@b.3 was acknowledged/)
  })

  test('C5: a promotion that says nothing of what its record gives up, and the opposite', () => {
    for (const [lossySince, mayLose] of [
      [b2, undefined],
      [epochZero, { entries: 1, seconds: undefined, reason: '' }],
    ] as const) {
      const run = new Run()
      run.record(b2, lossySince)
      run.oracle.promoted('b', { epoch: b2, position: sampleBase, mayLose })
      assert.match(run.said, /C5: b says/)
    }
  })

  test('I4: what is taken back must have been given up', () => {
    const run = new Run()
    const applied = run.apply('a', sampleBase, a1, put('k', '1'))
    run.record(b2, b2)
    run.oracle.rewind('a', applied, sampleBase)
    assert.equal(run.said, '')
    run.oracle.rewind('b', { ...applied, epoch: b2 }, sampleBase)
    assert.match(run.said, /I4: b takes back/)
  })

  test('S8: ids that are used again, ids that go down and names that are there twice are found', () => {
    const create = (family: number, name: string): Operation => ({ type: 'createFamily', family, name })
    const drop = (family: number): Operation => ({ type: 'dropFamily', family })
    for (const [operations, said] of [
      [[create(1, 'x'), drop(1), create(1, 'y')], /family 1 is y, and was x/],
      [[create(2, 'x'), create(1, 'y')], /family 1 is created after 2/],
      [[create(1, 'x'), create(2, 'x')], /families 1 and 2 are both called x/],
      [[create(1, 'x'), create(1, 'x'), drop(1), drop(1), create(2, 'x')], /^$/],
    ] as const) {
      const run = new Run()
      let end: Position = sampleBase
      for (const operation of operations) end = run.apply('a', end, a1, operation)
      assert.match(run.said, said)
    }
  })

  test('S8: an engine is described as the fold is, and each difference shows', async () => {
    const run = new Run()
    const engine = await memoryEngine.open('', sampleBase)
    let end: Position = sampleBase
    for (const operations of [
      [{ type: 'createFamily', family: 1, name: 'x' }],
      [put('a', '1'), put('b', '2', 1), put('c', '3', 1)],
      [{ type: 'delRange', family: 1, start: Buffer.from('b'), end: Buffer.from('c') }],
      [{ type: 'createFamily', family: 2, name: 'y' }],
      [put('k', 'skipped with its family', 2), { type: 'del', family: 0, key: Buffer.from('a') }],
      [{ type: 'dropFamily', family: 2 }],
    ] as Operation[][]) {
      const made = block(end, a1, ...operations)
      await engine.apply([made])
      end = run.apply('a', end, a1, ...operations)
      const { lines } = await describeEngine(engine)
      assert.deepEqual(lines, run.oracle.fold.describe(run.oracle.fold.at(end)))
    }
    assert.deepEqual(run.oracle.fold.describe(run.oracle.fold.newest), [
      'next id 3',
      'family 0 default',
      'family 1 x',
      '1 c = 3',
    ])
  })
})

describe('L6: reads that say how fresh', () => {
  const terms = { clockDrift: 0, ageIsKnown: true }

  function judge(run: Run, read: Partial<FreshRead> & Pick<FreshRead, 'applied'>): string | undefined {
    const { applied } = read
    const found = run.oracle.fold.valueAt(run.oracle.fold.at(applied), 0, Buffer.from('k'))
    const value = found.type === 'value' ? found.value : undefined
    return judgeFreshRead(run.oracle, terms, { node: 'n', family: 0, key: 'k', value, checkedMs: run.nowMs, ...read })
  }

  test('a position, an age and a value that are what they should be', () => {
    const run = new Run()
    const first = run.apply('a', sampleBase, a1, put('k', '1'))
    const second = run.apply('a', first, a1, put('k', '2'))
    assert.equal(judge(run, { applied: first, minPosition: first, maxLagMs: 0, checkedMs: 1 }), undefined)
    assert.equal(judge(run, { applied: second, minPosition: first, maxLagMs: 0 }), undefined)
    // As old as it may be, to the rounding of a lag.
    assert.equal(judge(run, { applied: first, maxLagMs: 10, checkedMs: 12.4 }), undefined)
  })

  test('older than was asked for, in position or in age', () => {
    const run = new Run()
    const first = run.apply('a', sampleBase, a1, put('k', '1'))
    const second = run.apply('a', first, a1, put('k', '2'))
    assert.match(judge(run, { applied: first, minPosition: second })!, /L6: n at 1@a.1 .* asked for 1@a.2/)
    assert.match(
      judge(run, { applied: first, maxLagMs: 10, checkedMs: 13 })!,
      /L6: .* 1@a.2 was committed 11 ms before/,
    )
  })

  test('a position of another history under the same number', () => {
    const run = new Run('local')
    const first = run.apply('a', sampleBase, a1, put('k', '1'))
    const lost = run.apply('a', first, a1, put('k', 'lost'))
    const other = run.apply('b', first, b2, put('k', '2'))
    assert.match(judge(run, { applied: other, minPosition: lost })!, /L6: .* asked for 1@a.2/)
    assert.equal(judge(run, { applied: lost, minPosition: lost }), undefined)
  })

  test('I4: a value that is not the one of this position, and an engine that nobody has brought there', () => {
    const run = new Run()
    const first = run.apply('a', sampleBase, a1, put('k', '1'))
    run.apply('a', first, a1, put('k', '2'))
    assert.match(judge(run, { applied: first, value: Buffer.from('2') })!, /I4: .* has 2 as k .* it is 1/)
    assert.match(judge(run, { applied: first, value: undefined })!, /has nothing/)
    assert.match(judge(run, { applied: { ...first, chain: '0'.repeat(32) } })!, /nobody has applied/)
  })

  test('a false DIVERGED', () => {
    const run = new Run()
    run.oracle.refused('b', run.apply('a', sampleBase, a1, put('k', '1')))
    assert.match(run.said, /L6: b calls 1@a.1 diverged/)
  })
})

test('I7: after a forced promotion the present history is judged, without what it lacks and what an old primary showed', () => {
  const run = new Run()
  const common = run.apply('a', sampleBase, a1, put('k', '1'))
  const lost = run.apply('a', common, a1, put('k', 'lost'))
  const history = new PlacedHistory()
  const operation = (kind: 'get' | 'put', value: string, returnedMs: number): RegisterOperation => ({
    key: 'k',
    client: 'c',
    kind,
    value,
    calledMs: returnedMs - 1,
    returnedMs,
    outcome: 'ok',
  })
  history.add(operation('put', '1', 1), { type: 'write', position: common })
  history.add(operation('put', 'lost', 2), { type: 'write', position: lost })
  history.add(operation('get', 'lost', 3), { type: 'read', applied: lost })
  run.nowMs = 10
  assert.equal(history.judged(run.oracle).length, 3)
  run.record(b2, b2)
  const forced = run.apply('b', common, b2, put('k', '2'))
  history.add(operation('put', '2', 12), { type: 'write', position: forced })
  // Of the common part, but read where nobody had heard of the promotion.
  history.add(operation('get', '1', 20), { type: 'read', applied: common })
  history.add(operation('get', '2', 21), { type: 'read', applied: forced })
  assert.deepEqual(
    history.judged(run.oracle).map(({ kind, value, outcome }) => `${kind} ${value} ${outcome}`),
    // What was given up may have come back from where it had been appended before.
    ['put 1 ok', 'put lost unknown', 'put 2 ok', 'get 2 ok'],
  )
})
