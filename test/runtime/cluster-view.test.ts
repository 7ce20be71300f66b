import assert from 'node:assert/strict'
import { test } from 'node:test'
import { limits } from '#src/core/limits.js'
import type { AutomaticCoordinator, CoordinatorEvent } from '#src/ports/coordinator.js'
import { ClusterView } from '#src/runtime/cluster-view.js'

/** A coordinator that tells what the test says. */
function toldBy(): { coordinator: AutomaticCoordinator; tell(event: CoordinatorEvent): void } {
  let listener: (event: CoordinatorEvent) => void = () => undefined
  const coordinator = {
    kind: 'automatic',
    subscribe: (tell: (event: CoordinatorEvent) => void) => {
      listener = tell
      return () => undefined
    },
  } as unknown as AutomaticCoordinator
  return { coordinator, tell: (event) => listener(event) }
}

function member(node: string) {
  return { node, address: `${node}.test:1`, boot: 'b' }
}

test('I8: nodes that come and go under ever new names are forgotten, those that are registered are not', () => {
  const { coordinator, tell } = toldBy()
  const view = new ClusterView(coordinator, 'main', 'self', () => 0)
  tell({ type: 'members', members: [member('stays'), member('left-first')] })
  for (let index = 0; index < 3 * limits.membersMax; index++) {
    tell({ type: 'members', members: [member('stays'), member(`passing-${index}`)] })
  }
  assert.equal(view.others.length, limits.membersMax)
  assert.ok(view.addressOf('stays') !== undefined)
  assert.equal(view.addressOf('left-first'), undefined)
  assert.ok(view.addressOf(`passing-${3 * limits.membersMax - 1}`) !== undefined, 'the newest is kept')
  view.close()
})

test('L4: who lost its registration keeps its address', () => {
  const { coordinator, tell } = toldBy()
  const view = new ClusterView(coordinator, 'main', 'self', () => 0)
  tell({ type: 'members', members: [member('a'), member('b')] })
  tell({ type: 'members', members: [member('b')] })
  assert.equal(view.addressOf('a'), 'a.test:1')
  view.close()
})
