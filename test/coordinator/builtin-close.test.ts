import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BuiltinCoordinator } from '#src/coordinator/builtin/client.js'
import type { UnderstudyError } from '#src/errors.js'
import { nodeClock } from '#src/platform/node-clock.js'
import { nodeRandom } from '#src/platform/node-random.js'
import { silentLogger } from '#src/ports/logger.js'

function deferred<T>(): { readonly promise: Promise<T>; resolve(value: T): void } {
  let settle: (value: T) => void = () => {}
  const promise = new Promise<T>((resolve) => {
    settle = resolve
  })
  return { promise, resolve: (value) => settle(value) }
}

test('I8: closed while its channel begins, the coordinator ends that channel and does not wait for the voter', async () => {
  const began = deferred<undefined>()
  const watched = deferred<void>()
  const ended = deferred<UnderstudyError | undefined>()
  const coordinator = new BuiltinCoordinator({
    description: 'builtin',
    voters: ['w'],
    open: async () => ({
      description: 'voter w',
      voterBoot: '00',
      coordinatorId: 'c0',
      closed: ended.promise,
      read: () => new Promise(() => {}),
      swap: () => new Promise(() => {}),
      register: () => new Promise(() => {}),
      unregister: () => new Promise(() => {}),
      watch: () => {
        began.resolve(undefined)
        return watched.promise
      },
      close: () => ended.resolve(undefined),
    }),
    clock: nodeClock,
    random: nodeRandom,
    logger: silentLogger,
    registrationMs: 1_000,
  })
  coordinator.start()
  await began.promise
  const closing = coordinator.close()
  watched.resolve(undefined)
  await Promise.race([
    closing,
    new Promise((_, reject) => nodeClock.setTimer(2_000, () => reject(new Error('close waits')), { keepsAlive: true })),
  ])
  assert.equal(coordinator.registeredUntilMs, 0)
})
