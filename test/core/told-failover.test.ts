import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { mergeFailoverAnswers, type ToldFailover } from '#src/core/told-failover.js'
import { epoch } from './support.js'

const yes = (to: string) => ({ possible: true, reason: `${to} holds everything and can take over`, to })
const no = (reason: string) => ({ possible: false, reason, to: undefined })

function told(node: string, changes: Partial<ToldFailover['shard']> = {}): ToldFailover {
  const shard = {
    role: 'standby',
    state: 'streaming',
    epoch: epoch(1, 'a'),
    coordinator: { connected: true },
    failover: yes('b'),
    ...changes,
  } as const
  return { node, shard }
}

describe('the answers of several nodes about a failover', () => {
  const set = ['a', 'b', 'c']
  const primary = told('a', { role: 'primary', state: 'primary' })

  test('the primary is believed, of two the one of the higher epoch', () => {
    const old = told('z', { role: 'primary', state: 'primary', failover: no('old') })
    const newer = { ...primary, shard: { ...primary.shard, epoch: epoch(2, 'a') } }
    assert.deepEqual(mergeFailoverAnswers([told('b', { failover: no('x') }), old, newer], set), {
      ...yes('b'),
      saidBy: 'a',
    })
  })

  test("without a primary a member that sees a way is believed, before one of nobody's set", () => {
    const answers = [
      told('x', { failover: yes('x') }),
      told('b', { failover: no('?') }),
      told('c', { failover: yes('c') }),
    ]
    assert.equal(mergeFailoverAnswers(answers, set)?.saidBy, 'c')
    assert.equal(mergeFailoverAnswers([], set), undefined)
  })

  test('who is named must reach the coordinator itself; else another member that does', () => {
    const away = told('b', { coordinator: { connected: false } })
    assert.deepEqual(mergeFailoverAnswers([primary, away], set), {
      ...no('b does not reach the coordinator'),
      saidBy: 'b',
    })
    const other = mergeFailoverAnswers([primary, away, told('c')], set)
    assert.deepEqual([other?.possible, other?.to], [true, 'c'])
    assert.equal(mergeFailoverAnswers([primary, away, told('c', { state: 'fenced' })], set)?.possible, false)
    assert.equal(mergeFailoverAnswers([primary, away, told('x')], set)?.possible, false, 'x is no member')
  })
})
