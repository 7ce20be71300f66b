import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import {
  type LifecycleEvent,
  type LifecycleState,
  lifecycle,
  lifecycleEvents,
  lifecycleStates,
  roleOf,
} from '#src/core/lifecycle.js'

function next(state: LifecycleState, event: LifecycleEvent): LifecycleState | undefined {
  const transition = lifecycle[state][event]
  return transition === 'ignore' || transition === 'invalid' ? undefined : transition
}

/** States that these events can lead to, in any order and number. */
function reachable(from: LifecycleState, events: readonly LifecycleEvent[]): Set<LifecycleState> {
  const seen = new Set([from])
  for (const state of seen) {
    for (const event of events) {
      const to = next(state, event)
      if (to !== undefined) seen.add(to)
    }
  }
  return seen
}

/** What may go wrong at any moment, whatever the node is doing. */
const setbacks = [
  'connection-lost',
  'failure',
  'bootstrap-retry',
  'promotion-failed',
  'higher-epoch',
  'fence',
  'bootstrap-needed',
] as const satisfies readonly LifecycleEvent[]

/** What happens by itself once the world is well again. */
const recoveries = [
  'subscribed',
  'caught-up',
  'bootstrapped',
  'bootstrap-needed',
  'promoted',
  'demoted',
] as const satisfies readonly LifecycleEvent[]

/** Where a node waits for an operator or a restart, and says so. */
const resting: readonly LifecycleState[] = ['stopped', 'failed']

describe('lifecycle', () => {
  test('F14: the table has a cell for every event in every state, and no other', () => {
    assert.deepEqual(Object.keys(lifecycle).sort(), [...lifecycleStates].sort())
    for (const state of lifecycleStates) {
      assert.deepEqual(Object.keys(lifecycle[state]).sort(), [...lifecycleEvents].sort(), state)
      for (const event of lifecycleEvents) {
        const transition = lifecycle[state][event]
        assert.ok(
          transition === 'ignore' || transition === 'invalid' || lifecycleStates.includes(transition),
          `${state} ${event}: ${transition}`,
        )
      }
    }
    assert.deepEqual(Object.keys(roleOf).sort(), [...lifecycleStates].sort())
  })

  test('every state is reached from the start, and every event does something somewhere', () => {
    assert.deepEqual([...reachable('stopped', lifecycleEvents)].sort(), [...lifecycleStates].sort())
    for (const event of lifecycleEvents) {
      assert.ok(
        lifecycleStates.some((state) => next(state, event) !== undefined),
        event,
      )
    }
  })

  test('failure, fence and stop work in every state where the node works', () => {
    for (const state of lifecycleStates) {
      if (resting.includes(state)) continue
      assert.equal(next(state, 'failure'), 'failed', state)
      assert.equal(next(state, 'stop'), 'stopped', state)
      assert.ok(state === 'fenced' || next(state, 'fence') === 'fenced', state)
    }
    assert.equal(next('failed', 'stop'), 'stopped')
    assert.equal(next('stopped', 'start'), 'connecting')
  })

  for (const setback of setbacks) {
    test(`F13: after ${setback} in any state, recovery alone leads on to streaming, or the node rests and says so`, () => {
      for (const state of lifecycleStates) {
        if (resting.includes(state) || lifecycle[state][setback] === 'invalid') continue
        const after = next(state, setback) ?? state
        if (after === 'failed') continue
        const later = reachable(after, recoveries)
        assert.ok(later.has('streaming') || later.has('primary'), `${state} --${setback}--> ${after}: stuck`)
      }
    })
  }

  test('F13: no sequence of setbacks, however long, leads to a state without a way on', () => {
    for (const state of reachable('connecting', [...setbacks, 'promote'])) {
      if (state === 'failed') {
        assert.equal(next(state, 'stop'), 'stopped')
        continue
      }
      const later = reachable(state, recoveries)
      assert.ok(later.has('streaming') || later.has('primary'), state)
    }
  })

  test('F13: a follower that loses its connection leaves the state of being connected', () => {
    for (const state of ['connecting', 'catching-up', 'streaming'] as const) {
      assert.equal(next(state, 'connection-lost'), 'reconnecting')
    }
    assert.equal(next('reconnecting', 'subscribed'), 'catching-up')
  })

  test('F14: what is on its way when another part moves the node is late there, not a bug', () => {
    const completions = [
      'subscribed',
      'caught-up',
      'bootstrapped',
      'bootstrap-retry',
      'promoted',
      'promotion-failed',
      'demoted',
    ] as const
    // These come from other parts than the one that is at work in the state.
    const interruptions = ['higher-epoch', 'fence', 'failure', 'stop'] as const
    for (const state of lifecycleStates) {
      for (const completion of completions.filter((event) => next(state, event) !== undefined)) {
        for (const interruption of interruptions) {
          const to = next(state, interruption)
          if (to === undefined || to === state) continue
          assert.notEqual(
            lifecycle[to][completion],
            'invalid',
            `${completion} is on its way in ${state} when ${interruption} leads to ${to}`,
          )
        }
      }
    }
  })

  test('F14: world events are never a bug of ours', () => {
    for (const state of lifecycleStates) {
      for (const event of ['connection-lost', 'higher-epoch', 'fence', 'unfence', 'failure', 'stop'] as const) {
        assert.notEqual(lifecycle[state][event], 'invalid', `${state} ${event}`)
      }
    }
  })

  test('F16: primary is entered by promotion alone, and left by whatever ends it', () => {
    for (const state of lifecycleStates) {
      for (const event of lifecycleEvents) {
        if (next(state, event) === 'primary') assert.deepEqual([state, event], ['promoting', 'promoted'])
        if (next(state, event) === 'promoting') assert.equal(event, 'promote', state)
      }
    }
    assert.equal(next('promoting', 'promotion-failed'), 'reconnecting')
    assert.equal(next('promoting', 'higher-epoch'), 'demoting')
    assert.equal(next('primary', 'higher-epoch'), 'demoting')
    for (const state of ['fenced', 'failed', 'demoting', 'stopped'] as const) {
      assert.equal(next(state, 'promoted'), undefined, `a promotion that ends late must not undo ${state}`)
    }
  })

  test('F39: a primary that was overtaken follows the new one without a hand', () => {
    let state: LifecycleState = 'primary'
    for (const event of ['higher-epoch', 'demoted', 'subscribed', 'caught-up'] as const) {
      const to = next(state, event)
      assert.ok(to, `${state} ${event}`)
      state = to
    }
    assert.equal(state, 'streaming')
  })

  test('F17: nothing but a stop leaves the state that a failed disk leads to', () => {
    for (const event of lifecycleEvents) assert.ok(event === 'stop' || next('failed', event) === undefined, event)
  })

  test('F9: a node that is being built is neither promoted nor a standby', () => {
    assert.equal(next('bootstrapping', 'promote'), undefined)
    assert.equal(roleOf.bootstrapping, 'joining')
    assert.equal(next('bootstrapping', 'bootstrapped'), 'connecting')
  })

  test('F14: docs/LIFECYCLE.md shows this table', () => {
    const script = fileURLToPath(new URL('../../../scripts/lifecycle-diagram.mjs', import.meta.url))
    execFileSync(process.execPath, [script, '--check'], { stdio: 'pipe' })
  })
})
