/** The blocks in memory against a plain list: every read, place and bound. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Block } from '#src/core/entry.js'
import { SampleBlocks, sampleBase } from '#src/journal/sample-blocks.js'
import { TailCache } from '#src/journal/tail-cache.js'

const everything = { bytesMax: 1e9, limitSequence: 1e9 }

/** A cache of `bytesMax` in which `blocks` are, all durable. */
function filled(blocks: readonly Block[], bytesMax: number, durableSequence = 1e9): TailCache {
  const cache = new TailCache(bytesMax)
  for (const block of blocks) {
    cache.push(block)
    cache.evict(durableSequence)
  }
  return cache
}

function sequences(blocks: readonly Block[] | undefined): number[] | undefined {
  return blocks?.map((block) => block.end.sequence)
}

describe('blocks in memory', () => {
  test('the newest stay, as many as fit, and answer as the disk would', () => {
    const made = new SampleBlocks().many(40, { entryCount: 3, valueBytes: 50 })
    const sizes = made.map((block) => block.bytes.length)
    for (const count of [0, 1, 7, 39, 40]) {
      const bytesMax = sizes.slice(made.length - count).reduce((sum, bytes) => sum + bytes, 0)
      for (const spare of [0, 5]) {
        const cache = filled(made, bytesMax + spare)
        const oldest = made.length - count
        for (const [index, { header, end }] of made.entries()) {
          const from = made[index - 1]?.end ?? sampleBase
          const expected = index < oldest ? undefined : made.slice(index).map((block) => block.end.sequence)
          assert.deepEqual(sequences(cache.read(from, everything)), expected)
          assert.equal(cache.read({ ...from, chain: 'f'.repeat(32) }, everything), undefined, 'of another history')
          for (let sequence = header.firstSequence; sequence <= end.sequence; sequence++) {
            assert.equal(cache.covers(sequence), index >= oldest, `${count} ${sequence}`)
            const isEnd = index >= oldest && sequence === end.sequence
            assert.deepEqual(cache.positionAt(sequence), isEnd ? end : undefined, `${count} ${sequence}`)
          }
        }
        const { end } = made.at(-1)!
        assert.equal(cache.read(end, everything), undefined, 'nothing follows')
        assert.equal(cache.read({ ...end, sequence: end.sequence - 1 }, everything), undefined, 'inside of a block')
        assert.equal(cache.positionAt(end.sequence + 1), undefined)
        assert.equal(cache.positionAt(0), undefined)
      }
    }
  })

  test('F17: what is not durable stays, whatever it takes', () => {
    const made = new SampleBlocks().many(10)
    const cache = filled(made, 0, made[5]!.end.sequence)
    assert.deepEqual(sequences(cache.read(made[5]!.end, everything)), [7, 8, 9, 10])
    assert.equal(cache.read(made[4]!.end, everything), undefined)
    cache.evict(made[6]!.end.sequence)
    assert.equal(cache.read(made[5]!.end, everything), undefined)
    assert.deepEqual(sequences(cache.read(made[6]!.end, everything)), [8, 9, 10])
    cache.evict(made[9]!.end.sequence)
    assert.equal(cache.covers(10), false)
  })

  test('a read keeps to its bounds, and gives at least one block', () => {
    const made = new SampleBlocks().many(6, { entryCount: 2 })
    const cache = filled(made, 1e9)
    const from = made[0]!.end
    const bytes = made[1]!.bytes.length
    const read = (bytesMax: number, limitSequence: number) => sequences(cache.read(from, { bytesMax, limitSequence }))
    assert.deepEqual(read(1, 1e9), [4])
    assert.deepEqual(read(bytes * 2, 1e9), [4, 6])
    assert.deepEqual(read(bytes * 2 - 1, 1e9), [4])
    assert.deepEqual(read(1e9, 8), [4, 6, 8])
    assert.deepEqual(read(1e9, 7), [4, 6])
    assert.deepEqual(read(1e9, 3), [])
  })

  test('F23: after a cut nothing is here, and what follows is', () => {
    const blocks = new SampleBlocks()
    const made = blocks.many(6)
    const cache = filled(made, 1e9)
    cache.clear()
    assert.equal(cache.covers(6), false)
    assert.equal(cache.positionAt(6), undefined)
    assert.equal(cache.read(made[2]!.end, everything), undefined)
    const others = blocks.fork(made[2]!.end, { number: 2, node: 'b' }).many(3)
    for (const block of others) cache.push(block)
    assert.deepEqual(cache.read(made[2]!.end, everything), others)
    // What was cut counts no more.
    const small = filled(made, others[0]!.bytes.length * 3)
    small.clear()
    for (const block of others) small.push(block)
    small.evict(1e9)
    const kept = small.read(others[0]!.end, everything)
    assert.deepEqual(kept, others.slice(1))
  })

  test('thousands of blocks later it is as it was in the beginning', () => {
    const blocks = new SampleBlocks()
    const made = blocks.many(5000)
    const room = made.slice(-100).reduce((sum, block) => sum + block.bytes.length, 0)
    const cache = filled(made, room)
    for (let index = 1; index < made.length; index++) {
      const expected = index < made.length - 100 ? undefined : made[index]!.end
      assert.equal(cache.read(made[index - 1]!.end, { bytesMax: 1, limitSequence: 1e9 })?.[0]?.end, expected)
      assert.equal(cache.positionAt(made[index]!.end.sequence), expected)
    }
    cache.clear()
    const [next] = blocks.many(1)
    cache.push(next!)
    assert.deepEqual(cache.read(made.at(-1)!.end, everything), [next])
  })
})
