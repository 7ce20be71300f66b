/** Single conditions of a node's own requests that no other test would miss: mutation testing found them. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { OwnRequests } from '#src/core/requests.js'
import { epoch } from './support.js'

const first = epoch(1, 'a')
const second = epoch(2, 'b')
const direct = { direct: true }

/** In a way whose epoch's first block is applied. */
function open(of = first, applied = 10): OwnRequests {
  const own = new OwnRequests()
  own.begin(of, 1, applied)
  return own
}

/** What would be sent now, in order; all of it is sent. */
function send(own: OwnRequests): number[] {
  const sent: number[] = []
  for (let request = own.next; request !== undefined; request = own.next) {
    own.sent(request)
    sent.push(request)
  }
  return sent
}

describe("a node's own requests", () => {
  test('what may be said of one, wherever it is', () => {
    const own = open()
    assert.equal(own.outcomeOf(1), 'none', 'it is not known at all')
    own.add(1, direct)
    assert.equal(own.outcomeOf(1), 'none')
    own.sent(1)
    assert.equal(own.outcomeOf(1), 'unknown')
    own.told(1, 20)
    assert.equal(own.outcomeOf(1), 'done')
    assert.equal(own.isSeen(1), false)
    own.seen(1)
    assert.equal(own.outcomeOf(1), 'done')
    assert.equal(own.isSeen(1), true)
    own.remove(1)
    assert.equal(own.outcomeOf(1), 'none')
    assert.equal(own.isSeen(1), false)
  })

  test('S9: entries are looked at as long as one of them may be here, and no longer', () => {
    const own = open()
    assert.equal(own.isWatching, false)
    own.add(1, direct)
    assert.equal(own.isWatching, false, 'it was not sent')
    own.sent(1)
    assert.equal(own.isWatching, true)
    own.told(1, 20)
    assert.equal(own.isWatching, true, 'told, and not seen')
    own.seen(1)
    assert.equal(own.isWatching, false)
    for (const end of [
      () => own.remove(2),
      () => own.returned(2),
      () => own.seen(2),
      () => {
        own.told(2, 11)
        own.advance(11)
      },
    ]) {
      own.add(2, direct)
      own.sent(2)
      assert.equal(own.isWatching, true)
      end()
      assert.equal(own.isWatching, false)
      own.remove(2)
    }
    own.remove(2)
    own.remove(99)
    assert.equal(own.isWatching, false)
    own.barrierSent(3)
    assert.equal(own.isWatching, true, 'the barrier')
    own.seen(3)
    assert.equal(own.isWatching, false)
  })

  test('S9: what was removed is not sent', () => {
    const own = open()
    own.add(1, direct)
    own.add(2, direct)
    own.remove(1)
    assert.deepEqual(send(own), [2])
    own.sent(1)
    own.told(1, 11)
    own.returned(1)
    own.seen(1)
    assert.equal(own.isWatching, true, 'the second one')
    assert.deepEqual(own.advance(20), [])
    assert.equal(own.next, undefined)
  })

  test('S9: nothing is sent without a way, nor before its first block is applied here', () => {
    const own = new OwnRequests()
    own.add(1, direct)
    assert.equal(own.next, undefined)
    own.sent(1)
    assert.equal(own.outcomeOf(1), 'none', 'there is no way to send it on')
    own.begin(first, 5, 4)
    assert.equal(own.next, undefined)
    assert.deepEqual(own.advance(4), [])
    assert.equal(own.next, undefined)
    own.advance(5)
    assert.equal(own.next, 1)
    own.end()
    assert.equal(own.next, undefined)
    own.begin(second, 5, 5)
    assert.equal(own.next, 1, 'at once, where it is applied already')
    own.begin(second, 6, 5)
    assert.equal(own.next, undefined, 'another way, whose first block is not')
  })

  test('S9: an answer says something of the sending that it answers only', () => {
    const own = open()
    const { turn } = own
    assert.equal(own.isAnswerable(1, turn), false)
    own.add(1, direct)
    assert.equal(own.isAnswerable(1, turn), false, 'nothing was sent')
    own.sent(1)
    assert.equal(own.isAnswerable(1, turn), true)
    assert.equal(own.isAnswerable(1, turn + 1), false)
    own.told(1, 12)
    assert.equal(own.isAnswerable(1, turn), true)
    own.end()
    own.begin(second, 11, 11)
    assert.equal(own.turn, turn + 1)
    assert.equal(own.isAnswerable(1, turn), false, 'it is nowhere')
    own.sent(1)
    assert.equal(own.isAnswerable(1, turn), false, 'it was sent another way')
    assert.equal(own.isAnswerable(1, turn + 1), true)
  })

  test('S9: an answer that comes late changes nothing', () => {
    const own = open()
    own.add(1, direct)
    own.told(1, 12)
    assert.equal(own.outcomeOf(1), 'none', 'it was not sent')
    own.returned(1)
    assert.equal(own.next, 1)
    own.sent(1)
    own.told(1, 12)
    own.returned(1)
    assert.equal(own.outcomeOf(1), 'done', 'committed is committed')
    own.seen(1)
    own.returned(1)
    own.told(1, 13)
    assert.equal(own.isSeen(1), true)
    assert.deepEqual(send(own), [])
  })

  test('a request without an entry is there as soon as what it was told with is applied, in that epoch', () => {
    const own = open()
    own.add(1, direct)
    own.add(2, direct)
    send(own)
    own.told(1, 12)
    own.told(2, 13)
    assert.deepEqual(own.advance(11), [])
    assert.deepEqual(own.advance(12), [1])
    assert.deepEqual(own.advance(12), [], 'once')
    assert.equal(own.isSeen(1), true)
    own.end()
    assert.deepEqual(own.advance(20), [], 'without a way')
    own.begin(first, 1, 12)
    assert.equal(own.isSeen(2), false)
    assert.deepEqual(own.advance(13), [2])
  })

  test('S9: what was told in an epoch that is over, and has no entry here, is nowhere', () => {
    const own = new OwnRequests()
    own.addAppended(1, first, 12)
    own.addAppended(2, first, undefined)
    assert.equal(own.outcomeOf(1), 'done')
    assert.equal(own.outcomeOf(2), 'unknown')
    assert.equal(own.isWatching, true)
    own.begin(second, 15, 14)
    assert.equal(own.isAnswerable(1, 0), true)
    assert.equal(own.next, undefined)
    assert.deepEqual(own.advance(15), [], 'its sequence is of another epoch')
    assert.equal(own.outcomeOf(1), 'none')
    assert.equal(own.outcomeOf(2), 'none')
    assert.equal(own.isWatching, false)
    assert.deepEqual(send(own), [1, 2])
  })

  test('S9: what was told is not asked after with a barrier, and a barrier does not make it nowhere', () => {
    const own = open()
    own.add(1, direct)
    send(own)
    own.told(1, 12)
    own.end()
    own.begin(first, 1, 10)
    assert.equal(own.wantsBarrier, false)
    own.barrierSent(9)
    own.seen(9)
    assert.equal(own.outcomeOf(1), 'done')
    assert.deepEqual(own.advance(12), [1])
  })

  test('S9: a barrier settles what was sent before its way, and nothing else', () => {
    const own = open()
    own.add(1, direct)
    own.add(2, { direct: false })
    own.addAppended(3, second, undefined)
    send(own)
    own.end()
    own.begin(first, 1, 10)
    assert.equal(own.wantsBarrier, true)
    own.add(4, direct)
    assert.deepEqual(send(own), [4])
    own.barrierSent(9)
    own.seen(9)
    assert.deepEqual(
      [1, 2, 3, 4].map((request) => own.outcomeOf(request)),
      ['none', 'unknown', 'unknown', 'unknown'],
    )
    assert.deepEqual(send(own), [1])
    own.seen(9)
    assert.equal(own.outcomeOf(1), 'unknown', 'it is no barrier any more')
  })

  test('S9: what this node itself appended is settled by a barrier too, where its epoch goes on', () => {
    const own = new OwnRequests()
    own.addAppended(1, first, undefined)
    own.begin(first, 1, 10)
    assert.equal(own.next, undefined)
    assert.equal(own.wantsBarrier, true)
    own.barrierSent(9)
    own.seen(9)
    assert.deepEqual(send(own), [1])
  })

  test('S9: a barrier is of its way: neither wanted nor waited for in another one', () => {
    const own = open()
    own.add(1, direct)
    send(own)
    own.end()
    assert.equal(own.wantsBarrier, false)
    own.begin(first, 1, 10)
    assert.equal(own.wantsBarrier, true)
    own.end()
    assert.equal(own.wantsBarrier, false)
    own.begin(first, 20, 10)
    assert.equal(own.wantsBarrier, false, 'the first block is not here')
    own.advance(20)
    assert.equal(own.wantsBarrier, true)
    own.barrierSent(9)
    assert.equal(own.barrierRefused(8), false)
    assert.equal(own.wantsBarrier, false)
    own.end()
    own.begin(first, 1, 20)
    own.seen(9)
    assert.equal(own.outcomeOf(1), 'unknown', 'an entry of the way before settles nothing')
    assert.equal(own.barrierRefused(9), false)
    own.barrierSent(10)
    own.begin(first, 1, 20)
    own.seen(10)
    assert.equal(own.outcomeOf(1), 'unknown')
    own.seen(1)
    own.begin(first, 1, 20)
    assert.equal(own.wantsBarrier, false, 'nothing is uncertain')
    own.begin(second, 21, 20)
    assert.equal(own.wantsBarrier, false)
  })

  test('what goes nowhere together is sent in the order in which it came', () => {
    const own = open()
    for (const request of [1, 2, 3, 4]) own.add(request, direct)
    own.sent(1)
    own.sent(2)
    own.sent(3)
    own.returned(3)
    assert.equal(own.next, 4)
    own.end()
    own.begin(second, 11, 11)
    assert.deepEqual(send(own), [1, 2, 3, 4])
  })
})
