import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { backoffMs } from '#src/core/backoff.js'
import { judgeSnapshot, type SourceCandidate, SourceChooser } from '#src/core/bootstrap.js'
import { limits } from '#src/core/limits.js'
import { position } from './support.js'

const candidate = (node: string, primary = false): SourceCandidate => ({
  node,
  address: `${node}:1`,
  primary,
  durable: 10,
})

/** Whoever is chosen, in whatever order the candidates come. */
function chosen(chooser: SourceChooser, candidates: readonly SourceCandidate[]): string | undefined {
  const [first, ...others] = orders(candidates).map((order) => chooser.choose(order)?.node)
  for (const other of others) assert.equal(other, first, 'the order of the candidates decides nothing')
  return first
}

function orders<T>(items: readonly T[]): T[][] {
  if (items.length < 2) return [[...items]]
  return items.flatMap((item, at) => orders(items.toSpliced(at, 1)).map((rest) => [item, ...rest]))
}

const plan = { historyId: 'h', first: position(100), highest: position(150) }

describe('bootstrap decisions', () => {
  test('B1: a snapshot of another history starts over, one before the first waits, any other fits', () => {
    assert.equal(judgeSnapshot(undefined, 'h', position(1)), 'fits')
    assert.equal(judgeSnapshot(plan, 'other', position(200)), 'start-over')
    assert.equal(judgeSnapshot(plan, 'h', position(99)), 'behind')
    assert.equal(judgeSnapshot(plan, 'h', position(100)), 'fits')
    assert.equal(judgeSnapshot(plan, 'h', position(120)), 'fits', 'below the highest, but not below the first')
  })

  test('standbys are asked before the primary', () => {
    const chooser = new SourceChooser()
    assert.equal(chosen(chooser, [candidate('a', true), candidate('b')]), 'b')
    assert.equal(chosen(chooser, [candidate('a', true)]), 'a')
    assert.equal(chosen(chooser, []), undefined)
  })

  test('a source that failed is asked last, even if the others failed more often before', () => {
    const chooser = new SourceChooser()
    chooser.onFailure('b', 0)
    assert.equal(chosen(chooser, [candidate('a', true), candidate('b')]), 'a')
    chooser.onFailure('a', 0)
    chooser.onFailure('a', 0)
    assert.equal(chosen(chooser, [candidate('a', true), candidate('b')]), 'b')
    assert.equal(chosen(chooser, [candidate('a', true)]), 'a', 'the only one is asked again')
  })

  test('of those that did not fail last, who failed least is asked', () => {
    const chooser = new SourceChooser()
    for (const node of ['b', 'b', 'c', 'd']) chooser.onFailure(node, 0)
    assert.equal(chosen(chooser, [candidate('b'), candidate('c'), candidate('d')]), 'c')
    assert.equal(chosen(chooser, [candidate('b'), candidate('d')]), 'b', 'rather than who failed last')
    chooser.onProgress()
    assert.equal(chosen(chooser, [candidate('b'), candidate('d')]), 'd')
  })

  test('F12: the back-off grows from 1 s to 60 s and begins anew when data arrives', () => {
    const chooser = new SourceChooser()
    const waits = Array.from({ length: 12 }, () => chooser.onFailure('a', 0.99))
    assert.ok(waits.every((wait) => wait >= limits.bootstrapBackoffMinMs && wait <= limits.bootstrapBackoffMaxMs))
    assert.ok(waits.at(-1)! > 50_000)
    assert.ok(!chooser.hasUntried([candidate('a')]))
    chooser.onProgress()
    assert.ok(chooser.onFailure('a', 0.99) <= 2 * limits.bootstrapBackoffMinMs)
    chooser.onProgress()
    assert.ok(chooser.hasUntried([candidate('a')]), 'what failed before data arrived is worth another attempt')
  })

  test('F12: another source need not wait for the back-off of the failed one', () => {
    const chooser = new SourceChooser()
    chooser.onFailure('a', 0)
    assert.ok(chooser.hasUntried([candidate('a'), candidate('b')]))
  })

  test('B2: who cannot go on with what was begun comes last until it is given up, and has not failed', () => {
    const chooser = new SourceChooser()
    const all = [candidate('a', true), candidate('b'), candidate('c')]
    chooser.onRefusal('b', 0)
    assert.equal(chosen(chooser, all), 'c')
    assert.ok(!chooser.allRefuse(all))
    for (const node of ['c', 'a']) chooser.onRefusal(node, 0)
    assert.ok(chooser.allRefuse(all))
    assert.ok(!chooser.hasUntried(all), 'it waits before it begins anew')
    chooser.onStartedOver()
    assert.ok(!chooser.allRefuse(all))
    assert.equal(chosen(chooser, all), 'b', 'as at first')
  })

  test('B2: nobody begins again with what the primary does not have, while there is anybody else', () => {
    const chooser = new SourceChooser()
    const all = [candidate('a', true), candidate('b')]
    chooser.onDiverged(['b'])
    for (const node of ['b', 'a']) chooser.onRefusal(node, 0)
    chooser.onStartedOver()
    assert.equal(chosen(chooser, all), 'a')
    chooser.onFailure('a', 0)
    assert.equal(chosen(chooser, all), 'a', 'rather than what is refused in the end')
    assert.equal(chosen(chooser, [candidate('b')]), 'b', 'it may have been mended')
  })

  test('back-off is bounded by half and all of its step', () => {
    fc.assert(
      fc.property(fc.nat(100), fc.double({ min: 0, max: 0.999, noNaN: true }), (attempt, random) => {
        const wait = backoffMs(attempt, 50, 5_000, random)
        const step = Math.min(5_000, 50 * 2 ** Math.min(attempt, 30))
        assert.ok(wait >= Math.floor(step / 2) && wait <= step)
      }),
    )
  })
})
