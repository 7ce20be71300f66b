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
    assert.equal(chooser.choose([candidate('a', true), candidate('b')])?.node, 'b')
    assert.equal(chooser.choose([candidate('a', true)])?.node, 'a')
    assert.equal(chooser.choose([]), undefined)
  })

  test('a source that failed is asked last, even if the others failed more often before', () => {
    const chooser = new SourceChooser()
    chooser.onFailure('b', 0)
    assert.equal(chooser.choose([candidate('a', true), candidate('b')])?.node, 'a')
    chooser.onFailure('a', 0)
    chooser.onFailure('a', 0)
    assert.equal(chooser.choose([candidate('a', true), candidate('b')])?.node, 'b')
    assert.equal(chooser.choose([candidate('a', true)])?.node, 'a', 'the only one is asked again')
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
    assert.equal(chooser.choose(all)?.node, 'c')
    assert.ok(!chooser.allRefuse(all))
    for (const node of ['c', 'a']) chooser.onRefusal(node, 0)
    assert.ok(chooser.allRefuse(all))
    assert.ok(!chooser.hasUntried(all), 'it waits before it begins anew')
    chooser.onStartedOver()
    assert.ok(!chooser.allRefuse(all))
    assert.equal(chooser.choose(all)?.node, 'b', 'as at first')
  })

  test('B2: nobody begins again with what the primary does not have, while there is anybody else', () => {
    const chooser = new SourceChooser()
    const all = [candidate('a', true), candidate('b')]
    chooser.onDiverged(['b'])
    for (const node of ['b', 'a']) chooser.onRefusal(node, 0)
    chooser.onStartedOver()
    assert.equal(chooser.choose(all)?.node, 'a')
    chooser.onFailure('a', 0)
    assert.equal(chooser.choose(all)?.node, 'a', 'rather than what is refused in the end')
    assert.equal(chooser.choose([candidate('b')])?.node, 'b', 'it may have been mended')
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
