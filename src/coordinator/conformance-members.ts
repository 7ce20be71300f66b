import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { type CoordinatorHarness, pass, until, Watcher, withClients } from './conformance-kit.js'

/** The part of the suite about members and their registrations. */
export function describeMembersConformance(name: string, harness: CoordinatorHarness): void {
  const options = { timeout: 120_000 }
  const member = (node: string, boot = 1) => ({
    node,
    address: `10.0.0.${boot}:7400`,
    boot: boot.toString(16).padStart(16, '0'),
  })

  describe(`coordinator ${name}: members`, () => {
    test('who registers is seen by all, also what changed, until it gives it back at close', options, () =>
      withClients(harness, 2, async ([one, two], { clock, registrationMs }) => {
        const watchers = [one!, two!].map(({ coordinator }) => new Watcher(coordinator))
        assert.equal(one!.coordinator.registeredUntilMs, 0)
        one!.coordinator.register(member('a'))
        two!.coordinator.register(member('b'))
        for (const watcher of watchers) {
          await until(() => watcher.names.join() === 'a,b', 'both are seen by both')
          assert.deepEqual(
            watcher.members.find(({ node }) => node === 'a'),
            member('a'),
          )
        }
        const moved = { ...member('a'), address: '10.0.0.99:7400' }
        one!.coordinator.register(moved)
        const seen = () => watchers[1]!.members.find(({ node }) => node === 'a')
        await until(() => seen()?.address === moved.address, 'the new address is seen')
        const startMs = clock.nowMs()
        await one!.coordinator.close()
        assert.equal(one!.coordinator.registeredUntilMs, 0)
        await until(() => watchers[1]!.names.join() === 'b', 'it was given back')
        assert.ok(clock.nowMs() - startMs < registrationMs, 'at once, not when it expired')
      }),
    )

    test('a registration is renewed for longer than its time to live', options, () =>
      withClients(harness, 2, async ([one, two], { clock, registrationMs }) => {
        const { coordinator } = one!
        const watcher = new Watcher(two!.coordinator)
        coordinator.register(member('a'))
        await until(() => watcher.names.join() === 'a' && coordinator.registeredUntilMs > 0, 'registered')
        const heard = watcher.count('members')
        const endMs = clock.nowMs() + 3 * registrationMs
        await until(
          () => {
            assert.ok(coordinator.registeredUntilMs > clock.nowMs(), 'certainly alive all the time')
            assert.ok(coordinator.registeredUntilMs <= clock.nowMs() + registrationMs, 'and never for longer')
            return clock.nowMs() > endMs
          },
          'three times to live pass',
          60_000,
        )
        assert.equal(watcher.names.join(), 'a')
        assert.equal(watcher.count('members'), heard, 'renewing is no change')
      }),
    )

    test('registeredUntilMs counts from when the request was sent, not from its reply', options, (context) =>
      withClients(harness, 1, async ([one], { clock, registrationMs }) => {
        if (one!.delay === undefined) return context.skip('no delays')
        const watcher = new Watcher(one!.coordinator)
        await until(() => watcher.count('connected') > 0, 'connected')
        const delayMs = Math.floor(registrationMs / 8)
        await one!.delay(delayMs)
        one!.coordinator.register(member('a'))
        await until(() => one!.coordinator.registeredUntilMs > 0, 'registered')
        const leftMs = one!.coordinator.registeredUntilMs - clock.nowMs()
        assert.ok(leftMs <= registrationMs - 2 * delayMs + 2, `${leftMs} ms left of ${registrationMs}`)
      }),
    )

    test('who is gone without a word stays for its time to live, then is seen to be gone', options, () =>
      withClients(harness, 2, async ([one, two], { clock, registrationMs }) => {
        const gone = one!.coordinator
        const watcher = new Watcher(two!.coordinator)
        gone.register(member('a'))
        two!.coordinator.register(member('b'))
        await until(() => watcher.names.join() === 'a,b' && gone.registeredUntilMs > 0, 'both are seen')
        const aliveUntilMs = gone.registeredUntilMs
        await one!.cut('silent')
        await until(() => watcher.names.join() === 'b', 'it expired')
        assert.ok(clock.nowMs() >= aliveUntilMs, 'not before the time that was promised to it')
        await until(() => gone.registeredUntilMs === 0, 'it knows itself', 2 * registrationMs + 5_000)
        await one!.heal()
        await until(() => watcher.names.join() === 'a,b' && gone.registeredUntilMs > 0, 'it comes back by itself')
      }),
    )

    test('S2: a newer process of the same name takes its place, and the older one does not take it back', options, () =>
      withClients(harness, 3, async ([one, two, three], { clock, registrationMs }) => {
        const [older, newer] = [one!.coordinator, two!.coordinator]
        const watcher = new Watcher(three!.coordinator)
        const atOlder = new Watcher(older)
        older.register(member('a', 1))
        await until(
          () => watcher.bootOf('a') === member('a', 1).boot && older.registeredUntilMs > 0,
          'the older is seen',
        )
        newer.register(member('a', 2))
        await until(() => watcher.bootOf('a') === member('a', 2).boot, 'the newer is seen')
        await until(() => atOlder.bootOf('a') === member('a', 2).boot, 'by the older as well')
        await until(() => older.registeredUntilMs === 0, 'which is not registered any more')
        const heard = watcher.count('members')
        await pass(clock, 2 * registrationMs)
        assert.equal(watcher.bootOf('a'), member('a', 2).boot)
        assert.equal(watcher.count('members'), heard, 'they do not take turns')
        assert.ok(newer.registeredUntilMs > clock.nowMs())
        await older.close()
        await pass(clock, 200)
        assert.equal(watcher.bootOf('a'), member('a', 2).boot, 'what the older gives back is not the newer one')
      }),
    )
  })
}
