import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import {
  compareEpochs,
  comparePositions,
  formatPosition,
  higherEpoch,
  nextEpoch,
  parsePosition,
  sameEpoch,
} from '#src/core/position.js'

const epochs = fc.tuple(fc.nat(5), fc.constantFrom('a', 'b', 'node-3.x_y')).map(([number, node]) => ({ number, node }))

describe('epochs and positions', () => {
  test('C8, I2: epochs are totally ordered by number, then by node', () => {
    fc.assert(
      fc.property(epochs, epochs, epochs, (a, b, c) => {
        assert.equal(compareEpochs(a, b), -compareEpochs(b, a) + 0)
        assert.equal(compareEpochs(a, b) === 0, sameEpoch(a, b))
        if (compareEpochs(a, b) <= 0 && compareEpochs(b, c) <= 0) assert.ok(compareEpochs(a, c) <= 0)
        assert.ok(compareEpochs(higherEpoch(a, b), a) >= 0 && compareEpochs(higherEpoch(a, b), b) >= 0)
      }),
    )
  })

  test('S3: the next epoch is above what was seen, and two nodes never make the same one', () => {
    fc.assert(
      fc.property(epochs, (seen) => {
        assert.ok(compareEpochs(nextEpoch(seen, 'a'), seen) > 0)
        assert.ok(!sameEpoch(nextEpoch(seen, 'a'), nextEpoch(seen, 'b')))
      }),
    )
  })

  test('a position is read back as it was written', () => {
    fc.assert(
      fc.property(epochs, fc.nat(), (epoch, sequence) => {
        assert.deepEqual(parsePosition(formatPosition({ epoch, sequence })), { epoch, sequence })
      }),
    )
  })

  test('F27: anything else is no position', () => {
    for (const text of [
      '',
      '1',
      '1.',
      '.1',
      '-1.1',
      '1@.1',
      '1.1.1',
      '1@a.1x',
      '1@a b.1',
      '99999999999999999.1',
      '1e3.1',
    ]) {
      assert.equal(parsePosition(text), undefined, text)
    }
    assert.equal(parsePosition('9007199254740993.1'), undefined, 'beyond what a number holds exactly')
  })

  test('positions are ordered by epoch, then sequence', () => {
    const at = (number: number, sequence: number) => ({ epoch: { number, node: 'a' }, sequence, chain: '' })
    assert.ok(comparePositions(at(2, 5), at(1, 9)) > 0)
    assert.ok(comparePositions(at(2, 5), at(2, 6)) < 0)
  })
})
