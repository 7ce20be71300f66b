import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Link } from '#src/link/link.js'
import { silentLogger } from '#src/ports/logger.js'
import { Peers } from '#src/runtime/peers.js'
import { createInMemoryNetwork } from '#src/transport/in-memory.js'
import { testClock } from '../support/clock.js'
import { until } from '../support/cluster.js'

const member = { node: 'b', address: 'b.test:7400' }

describe('sessions with the other members', () => {
  test('a session that opens while all are closed is closed too, and closing ends', { timeout: 20_000 }, async () => {
    const network = createInMemoryNetwork()
    const here = network.transport('a.test:7400')
    const there = network.transport(member.address)
    // It says nothing, and stays.
    const far: Link[] = []
    there.accept((connection) => far.push(new Link(connection, testClock)))
    const dialling: Array<() => void> = []
    const peers = new Peers({
      members: [member],
      dial: async (to) => {
        const link = new Link(await here.connect(to.address, { timeoutMs: 1_000 }), testClock)
        // As where an epoch is stored that the other side has promised.
        await new Promise<void>((resolve) => dialling.push(resolve))
        return link
      },
      pollMs: 10,
      silenceMs: 1_000,
      clock: testClock,
      random: { next: () => 0.5, hex: (bytes) => '00'.repeat(bytes) },
      logger: silentLogger,
      onState: async () => {},
      onChange: () => {},
    })
    peers.start()
    await until(() => dialling.length === 1, 'it is being opened')
    const closing = peers.close()
    dialling[0]!()
    await closing
    await far[0]!.closed
    assert.equal(peers.view('b')?.reachable, false)
    await here.close()
    await there.close()
  })
})
