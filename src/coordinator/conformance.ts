/** What every coordinator must do. One suite for all: `describeCoordinatorConformance(name, harness)` registers it. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { RecordState } from '../ports/coordinator.js'
import {
  assertFails,
  type CoordinatorHarness,
  failureOf,
  makeRecord,
  pass,
  patient,
  successor,
  until,
  Watcher,
  withClients,
  won,
  write,
} from './conformance-kit.js'
import { describeMembersConformance } from './conformance-members.js'

/** What a busy machine may add to a time-out. */
const slackMs = 1_500

export function describeCoordinatorConformance(name: string, harness: CoordinatorHarness): void {
  const options = { timeout: 120_000 }
  describe(`coordinator ${name}: records`, () => {
    test('where nothing is, a read shows revision 0, and a swap of revision 0 creates', options, () =>
      withClients(harness, 2, async ([one, two]) => {
        const a = one!.coordinator
        const b = two!.coordinator
        const nothing = await a.read('main', patient)
        assert.equal(nothing.record, undefined)
        assert.equal(nothing.revision, 0)
        const record = makeRecord(nothing.coordinatorId, { lossySince: { number: 1, node: 'a' }, voters: ['a', 'b'] })
        const created = await a.swap('main', 0, record, patient)
        assert.equal(created.swapped, true)
        assert.deepEqual(created.state.record, record)
        assert.ok(created.state.revision > 0)
        assert.deepEqual(await b.read('main', patient), created.state)
        assert.equal((await b.read('other', patient)).revision, 0)
      }),
    )

    test('S6: the id of the store is made once and is the same for all; another store has another', options, () =>
      withClients(harness, 4, async (clients) => {
        const states = await Promise.all(clients.map(({ coordinator }) => coordinator.read('main', patient)))
        const ids = new Set(states.map(({ coordinatorId }) => coordinatorId))
        assert.equal(ids.size, 1)
        const [id] = [...ids]
        assert.match(id!, /^[0-9a-f]{32}$/)
        assert.equal((await write(clients[0]!.coordinator)).coordinatorId, id)
        await withClients(harness, 1, async ([other]) => {
          assert.notEqual((await other!.coordinator.read('main', patient)).coordinatorId, id)
        })
      }),
    )

    test('S6: a swap that was meant for another store changes nothing, whatever the revision', options, () =>
      withClients(harness, 1, async ([one]) => {
        const { coordinator } = one!
        const foreign = 'f'.repeat(32)
        const nothing = await coordinator.read('main', patient)
        assert.deepEqual(await coordinator.swap('main', 0, makeRecord(foreign), patient), {
          swapped: false,
          state: nothing,
        })
        const first = await write(coordinator)
        const late = { ...successor(first), coordinatorId: foreign }
        assert.deepEqual(await coordinator.swap('main', first.revision, late, patient), {
          swapped: false,
          state: first,
        })
        assert.deepEqual(await coordinator.read('main', patient), first)
      }),
    )

    test('a swap of a revision that is gone changes nothing and answers the present state', options, () =>
      withClients(harness, 2, async ([one, two]) => {
        const a = one!.coordinator
        const b = two!.coordinator
        const first = await write(a)
        const second = await write(b)
        for (const expected of [0, first.revision]) {
          const refused = await a.swap('main', expected, successor(second), patient)
          assert.deepEqual(refused, { swapped: false, state: second })
        }
        assert.deepEqual(await a.read('main', patient), second)
        const absent = await a.swap('other', second.revision, successor(second), patient)
        assert.equal(absent.swapped, false)
        assert.deepEqual([absent.state.record, absent.state.revision], [undefined, 0])
      }),
    )

    test('of swaps that race, exactly one wins, and the others see its record', options, () =>
      withClients(harness, 3, async (clients) => {
        let state = await clients[0]!.coordinator.read('main', patient)
        for (let round = 0; round < 5; round++) {
          const results = await Promise.all(
            [...clients, ...clients].map(({ coordinator }) =>
              coordinator.swap('main', state.revision, successor(state), patient),
            ),
          )
          const [winner, ...more] = won(results)
          assert.ok(winner !== undefined && more.length === 0, `${more.length + 1} winners`)
          for (const result of results) assert.deepEqual(result.state, winner.state)
          assert.ok(winner.state.revision > state.revision, 'revisions grow')
          state = winner.state
        }
      }),
    )

    test('many writers: no swap is lost or done twice, and all listeners hear them in that order', options, () =>
      withClients(harness, 3, async (clients) => {
        const watchers = clients.map(({ coordinator }) => new Watcher(coordinator))
        await until(() => watchers.every((one) => one.count('connected') > 0), 'all are connected')
        const swaps: Array<{ readonly expected: number; readonly state: RecordState }> = []
        const perWriter = 12
        await Promise.all(
          clients.map(async ({ coordinator }) => {
            let state = await coordinator.read('main', patient)
            for (let done = 0; done < perWriter; ) {
              const expected = state.revision
              const result = await coordinator.swap('main', expected, successor(state), patient)
              state = result.state
              if (!result.swapped) continue
              swaps.push({ expected, state })
              done += 1
            }
          }),
        )
        swaps.sort((a, b) => a.state.revision - b.state.revision)
        assert.equal(swaps.length, clients.length * perWriter)
        for (const [index, { expected, state }] of swaps.entries()) {
          assert.equal(expected, swaps[index - 1]?.state.revision ?? 0, 'each follows the one before')
          assert.equal(state.record?.version, index + 1)
        }
        const order = swaps.map(({ state }) => state)
        for (const watcher of watchers) {
          await until(
            () => watcher.distinct('main').length >= order.length,
            () => `${watcher.distinct('main').length} heard`,
          )
          assert.deepEqual(watcher.distinct('main'), order)
        }
      }),
    )

    test('shards are apart: records, revisions and names that begin alike', options, () =>
      withClients(harness, 1, async ([one]) => {
        const { coordinator } = one!
        const watcher = new Watcher(coordinator)
        await until(() => watcher.count('connected') > 0, 'connected')
        const main = await write(coordinator, 'main')
        const longer = await write(coordinator, 'main-2')
        assert.deepEqual(await coordinator.read('main', patient), main)
        assert.equal((await coordinator.read('mai', patient)).revision, 0)
        await until(() => watcher.last('main-2') !== undefined, 'both are told')
        assert.deepEqual(watcher.distinct('main'), [main])
        assert.deepEqual(watcher.distinct('main-2'), [longer])
      }),
    )
  })

  describe(`coordinator ${name}: watching`, () => {
    test('a listener that comes late hears connected, the members and the present records first', options, () =>
      withClients(harness, 2, async ([one, two]) => {
        const a = one!.coordinator
        const early = new Watcher(a)
        a.register({ node: 'a', address: '10.0.0.1:7400', boot: '0000000000000001' })
        await write(two!.coordinator)
        const state = await write(two!.coordinator)
        await until(
          () => early.last('main')?.revision === state.revision && early.names.includes('a'),
          'the first listener heard it',
        )
        const late = new Watcher(a)
        assert.deepEqual(late.events[0], { type: 'connected' })
        assert.deepEqual(late.names, ['a'])
        assert.deepEqual(late.states('main'), [state])
        late.stop()
        const next = await write(two!.coordinator)
        await until(() => early.last('main')?.revision === next.revision, 'the first listener goes on')
        assert.deepEqual(late.states('main'), [state], 'a listener that stopped hears nothing')
      }),
    )

    for (const how of ['refused', 'silent'] as const) {
      for (const compaction of [false, true]) {
        const title = `F3: what changed during a break (${how}${compaction ? ', history compacted' : ''}) is told after it`
        test(title, options, (context) =>
          withClients(harness, 2, async ([one, two], store) => {
            if (compaction && store.compact === undefined) return context.skip('the store keeps no history')
            const watcher = new Watcher(one!.coordinator)
            const writer = two!.coordinator
            await write(writer, 'before')
            await write(writer, 'main')
            await until(() => watcher.last('main') !== undefined, 'the first record is told')
            await one!.cut(how)
            const noticeMs = 2 * store.registrationMs + slackMs
            await until(() => watcher.count('disconnected') === 1, 'the break is told', noticeMs)
            const late = new Watcher(one!.coordinator)
            assert.equal(late.events[0]?.type, 'disconnected', 'also to those who come during it')
            for (let round = 0; round < 3; round++) await write(writer, 'main')
            const created = await write(writer, 'created')
            const changed = await write(writer, 'main')
            if (compaction) await store.compact?.()
            await one!.heal()
            await until(
              () =>
                watcher.last('main')?.revision === changed.revision &&
                watcher.last('created')?.revision === created.revision,
              () => JSON.stringify(watcher.events.at(-1)),
            )
            const types = watcher.events.map(({ type }) => type)
            assert.ok(types.indexOf('connected', types.indexOf('disconnected')) > 0, 'connected is told')
            const after = await write(writer, 'main')
            await until(() => watcher.last('main')?.revision === after.revision, 'the watch goes on')
            assert.deepEqual(late.last('main'), after)
            for (const event of watcher.events) {
              if (event.type === 'disconnected') assert.equal((event.error as { retryable?: unknown }).retryable, true)
            }
          }),
        )
      }
    }

    test('F3: a store that is restarted keeps its records, and the watch goes on', options, (context) =>
      withClients(harness, 2, async ([one, two], store) => {
        if (store.restart === undefined) return context.skip('the store has no processes')
        const watcher = new Watcher(one!.coordinator)
        const before = await write(two!.coordinator)
        await until(() => watcher.last('main')?.revision === before.revision, 'the record is told')
        await store.restart()
        await until(() => watcher.count('disconnected') > 0, 'the break is told')
        await until(() => watcher.count('connected') >= 2, 'connected again')
        assert.deepEqual(await one!.coordinator.read('main', patient), before)
        const after = await write(two!.coordinator)
        await until(() => watcher.last('main')?.revision === after.revision, 'the watch goes on')
      }),
    )

    test('a store that is away at the start is told, and found when it comes', options, () =>
      withClients(harness, 0, async (_, store) => {
        const client = await store.client()
        try {
          await client.cut('refused')
          const watcher = new Watcher(client.coordinator)
          client.coordinator.start()
          client.coordinator.start()
          await until(() => watcher.count('disconnected') === 1, 'disconnected')
          await client.heal()
          await until(() => watcher.count('connected') === 1, 'connected')
          await write(client.coordinator)
        } finally {
          await client.coordinator.close()
        }
      }),
    )
  })

  describe(`coordinator ${name}: calls`, () => {
    for (const how of ['refused', 'silent'] as const) {
      test(`F45: while the store is away (${how}) every call ends in time, retryable`, options, () =>
        withClients(harness, 1, async ([one], { clock }) => {
          const { coordinator } = one!
          const state = await write(coordinator)
          await one!.cut(how)
          const timeoutMs = 400
          const calls = [
            () => coordinator.read('main', { timeoutMs }),
            () => coordinator.swap('main', state.revision, successor(state), { timeoutMs }),
          ]
          // Twice: right after the break, and when it has been noticed.
          for (let round = 0; round < 2; round++) {
            for (const { error, tookMs } of await Promise.all(calls.map((call) => failureOf(clock, call)))) {
              assert.ok(['TIMEOUT', 'UNAVAILABLE'].includes(error.failure), error.message)
              assert.equal(error.retryable, true)
              assert.ok(tookMs < timeoutMs + slackMs, `${tookMs} ms`)
            }
          }
          await one!.heal()
          assert.deepEqual((await coordinator.read('main', patient)).record?.historyId, state.record?.historyId)
        }),
      )
    }

    test(
      'C3: a swap whose reply is lost is unknown; a read, or the same swap again, shows the own nonce',
      options,
      (context) =>
        withClients(harness, 2, async ([one, two], { clock }) => {
          if (one!.loseReplies === undefined) return context.skip('replies cannot be lost')
          const { coordinator } = one!
          const before = await write(coordinator)
          const next = successor(before)
          await one!.loseReplies()
          const { error } = await failureOf(clock, () =>
            coordinator.swap('main', before.revision, next, { timeoutMs: 600 }),
          )
          assert.equal(error.outcome, 'unknown')
          assert.equal(error.retryable, true)
          assert.equal((await two!.coordinator.read('main', patient)).record?.nonce, next.nonce, 'it was applied')
          await one!.heal()
          const after = await coordinator.read('main', patient)
          assert.deepEqual(after.record, next)
          assert.ok(after.revision > before.revision)
          const again = await coordinator.swap('main', before.revision, next, patient)
          assert.deepEqual(again, { swapped: false, state: after })
        }),
    )

    test('C3: a swap that is given up while its reply is awaited is unknown, whoever gives it up', options, (context) =>
      withClients(harness, 1, async ([one], { clock }) => {
        if (one!.loseReplies === undefined) return context.skip('replies cannot be lost')
        const { coordinator } = one!
        const state = await write(coordinator)
        await one!.loseReplies()
        const aborter = new AbortController()
        const swap = (signal?: AbortSignal) =>
          failureOf(clock, () =>
            coordinator.swap('main', state.revision, successor(state), {
              timeoutMs: 60_000,
              ...(signal === undefined ? {} : { signal }),
            }),
          )
        const waiting = [swap(aborter.signal), swap()]
        // Both have left before they are given up.
        await pass(clock, 100)
        aborter.abort()
        await coordinator.close()
        const failures = await Promise.all(waiting)
        assert.deepEqual(
          failures.map(({ error }) => [error.failure, error.outcome]),
          [
            ['ABORTED', 'unknown'],
            ['CLOSED', 'unknown'],
          ],
        )
      }),
    )

    test('calls are aborted by their signal, before and while they wait', options, () =>
      withClients(harness, 1, async ([one], { clock }) => {
        const { coordinator } = one!
        const state = await write(coordinator)
        await one!.cut('silent')
        const aborter = new AbortController()
        const call = { timeoutMs: 60_000, signal: aborter.signal }
        const waiting = [
          failureOf(clock, () => coordinator.read('main', call)),
          failureOf(clock, () => coordinator.swap('main', state.revision, successor(state), call)),
        ]
        setTimeout(() => aborter.abort(), 50)
        for (const { error, tookMs } of await Promise.all(waiting)) {
          assert.equal(error.failure, 'ABORTED')
          assert.ok(tookMs < 50 + slackMs, `${tookMs} ms`)
        }
        await assertFails(clock, 'ABORTED', () => coordinator.read('main', call))
        const late = await failureOf(clock, () => coordinator.swap('main', 0, successor(state), call))
        assert.equal(late.error.failure, 'ABORTED')
        assert.equal(late.error.outcome, 'none', 'it was never sent')
      }),
    )

    test('close ends every call with CLOSED, and all that is told; again, it does nothing', options, () =>
      withClients(harness, 2, async ([one, two], { clock }) => {
        const { coordinator } = one!
        const watcher = new Watcher(coordinator)
        const state = await write(coordinator)
        await until(() => watcher.last('main') !== undefined, 'the record is told')
        await one!.cut('silent')
        const call = { timeoutMs: 60_000 }
        const waiting = [
          failureOf(clock, () => coordinator.read('main', call)),
          failureOf(clock, () => coordinator.swap('main', state.revision, successor(state), call)),
        ]
        const startMs = clock.nowMs()
        await Promise.all([coordinator.close(), coordinator.close()])
        const tookMs = clock.nowMs() - startMs
        assert.ok(tookMs < slackMs, `a store that does not answer holds nobody up: ${tookMs} ms`)
        for (const { error } of await Promise.all(waiting)) assert.equal(error.failure, 'CLOSED')
        await assertFails(clock, 'CLOSED', () => coordinator.read('main', patient))
        await assertFails(clock, 'CLOSED', () => coordinator.swap('main', 0, successor(state), patient))
        const heard = watcher.events.length
        await one!.heal()
        await write(two!.coordinator)
        await coordinator.close()
        assert.equal(watcher.events.length, heard)
      }),
    )

    test('close before start, and without a store, ends', options, () =>
      withClients(harness, 0, async (_, store) => {
        const never = await store.client()
        await never.coordinator.close()
        const away = await store.client()
        await away.cut('silent')
        away.coordinator.register({ node: 'a', address: '10.0.0.1:7400', boot: '0000000000000001' })
        away.coordinator.start()
        await away.coordinator.close()
      }),
    )
  })

  describeMembersConformance(name, harness)
}
