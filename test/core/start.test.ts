import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { decideCreate, decideStart, type StartQuestion } from '#src/core/start.js'
import { epoch, member, peer, record } from './support.js'

function question(changes: Partial<StartQuestion> = {}): StartQuestion {
  return {
    node: 'a',
    own: undefined,
    configured: ['a', 'b', 'c'],
    initialPrimary: 'a',
    answers: [],
    byHand: false,
    ...changes,
  }
}

const empty = (node: string) => peer(node, { historyId: undefined, record: undefined, durable: undefined })
const own = { member: member('a'), record: record(['a', 'b', 'c']) }

describe('start', () => {
  test('S1: a history is created only when all other nodes have said that they are empty', () => {
    assert.equal(decideStart(question()).type, 'wait')
    assert.equal(decideStart(question({ answers: [empty('b')] })).type, 'wait')
    const decision = decideStart(question({ answers: [empty('b')], byHand: true }))
    assert.ok(
      decision.type === 'wait' && decision.reason.includes('c'),
      'not by hand either, and it says who is missing',
    )
    assert.equal(decideStart(question({ answers: [empty('b'), empty('c')] })).type, 'create')
  })

  test('S1: beside a node with data an empty one bootstraps, whoever begins and whoever is missing', () => {
    const holder = peer('c', { record: record(['c']) })
    const decision = decideStart(question({ answers: [holder], byHand: true }))
    assert.deepEqual(decision, { type: 'bootstrap', historyId: 'h'.repeat(32) })
  })

  test('S1: of several empty nodes only the one that shall begin begins', () => {
    const answers = [empty('a'), empty('c')]
    assert.equal(decideStart(question({ node: 'b', answers })).type, 'wait')
    assert.equal(decideStart(question({ node: 'b', answers, initialPrimary: undefined })).type, 'wait')
    const byHand = question({ node: 'b', answers, initialPrimary: undefined, byHand: true })
    assert.equal(decideStart(byHand).type, 'create')
    const beside = question({ node: 'b', answers, initialPrimary: 'a', byHand: true })
    assert.equal(decideStart(beside).type, 'wait', 'two that begin would make two histories')
  })

  test('a single node begins by itself', () => {
    assert.equal(decideStart(question({ configured: ['a'], initialPrimary: undefined })).type, 'create')
  })

  test('C8: a former primary stays fenced until every other node has answered', () => {
    const alone = decideStart(question({ own }))
    assert.ok(alone.type === 'wait' && alone.fenced)
    const half = decideStart(question({ own, answers: [peer('b', { record: own.record })] }))
    assert.ok(half.type === 'wait' && half.fenced && half.reason.includes('c'))
    const all = [peer('b', { record: own.record }), peer('c', { record: own.record })]
    assert.equal(decideStart(question({ own, answers: all })).type, 'promote')
  })

  test('C8: a former primary that hears of a higher epoch follows', () => {
    const newer = record(['b', 'c'], { epoch: epoch(2, 'b'), version: 2 })
    assert.equal(decideStart(question({ own, answers: [peer('b', { record: newer })] })).type, 'follow')
  })

  test('C8: a former primary does not begin beside somebody who is being promoted', () => {
    for (const state of ['promoting', 'primary'] as const) {
      const answers = [peer('b', { state, record: own.record }), peer('c', { record: own.record })]
      assert.equal(decideStart(question({ own, answers })).type, 'follow')
    }
  })

  test('S2: a record that names another directory under this name is not this node', () => {
    assert.equal(decideStart(question({ own: { member: member('a', '2'), record: own.record } })).type, 'follow')
  })

  test('a standby follows, whoever answers', () => {
    assert.equal(decideStart(question({ node: 'b', own: { member: member('b'), record: own.record } })).type, 'follow')
  })
})

describe('creating a history under a coordinator', () => {
  const empty = (node: string) => peer(node, { historyId: undefined, record: undefined, durable: undefined })
  const create = (changes: Partial<Parameters<typeof decideCreate>[0]> = {}) =>
    decideCreate({
      node: 'a',
      inSyncMin: 2,
      registered: ['a', 'b', 'c'],
      answers: [empty('b'), empty('c')],
      byHand: false,
      ...changes,
    })
  const waits = (reason: RegExp, changes: Partial<Parameters<typeof decideCreate>[0]>) => {
    const decision = create(changes)
    assert.ok(decision.type === 'wait', JSON.stringify(decision))
    assert.match(decision.reason, reason)
  }

  test('S1: the first by name begins when all that are registered say that they are empty', () => {
    assert.equal(create().type, 'create')
    waits(/a begins/, { node: 'b', answers: [empty('a'), empty('c')] })
  })

  test('S1: beside data nothing is created, also not by hand', () => {
    for (const byHand of [false, true])
      waits(/c has data, but the coordinator has no record/, { byHand, answers: [empty('b'), peer('c')] })
  })

  test('S1: who says nothing may have data', () => {
    for (const byHand of [false, true]) waits(/waiting for c to say/, { byHand, answers: [empty('b')] })
  })

  test('S1: a history begins with enough nodes to hold a write, or by hand', () => {
    const alone = { registered: ['a'], answers: [] }
    waits(/1 of at least 2 nodes are there/, alone)
    assert.equal(create({ ...alone, byHand: true }).type, 'create')
    assert.equal(create({ ...alone, inSyncMin: 1 }).type, 'create')
  })
})
