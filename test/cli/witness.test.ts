import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { findFreePorts } from '#src/cli/free-ports.js'
import { BuiltinCoordinator } from '#src/coordinator/builtin/client.js'
import { remoteChannel } from '#src/coordinator/builtin/remote-channel.js'
import { patient, until, Watcher, write } from '#src/coordinator/conformance-kit.js'
import { nodeRandom } from '#src/platform/node-random.js'
import { silentLogger } from '#src/ports/logger.js'
import type { NodeStatus } from '#src/runtime/handle.js'
import { createHttpUpgradeTransport } from '#src/transport/http-upgrade.js'
import { testClock } from '../support/clock.js'
import { codedError, ServeProcess, understudy } from '../support/command.js'
import { makeDirectory, removeDirectory } from '../support/directory.js'

describe('serve --witness', { concurrency: true, timeout: 120_000 }, () => {
  let root = ''
  before(async () => {
    root = await makeDirectory()
  })
  after(() => removeDirectory(root))

  async function place(name: string) {
    const [port] = await findFreePorts(1)
    const address = `127.0.0.1:${port}`
    const args = [
      ...['--witness', '--data', join(root, name), '--cluster', 'c', '--node', 'w', '--listen', address],
      ...['--coordinator', `builtin://w=${address}`],
    ]
    return { address, args, url: `http://${address}` }
  }

  function connect(address: string, node: string) {
    const transport = createHttpUpgradeTransport({ clock: testClock, logger: silentLogger })
    const registrationMs = 3_000
    const coordinator = new BuiltinCoordinator({
      description: `builtin://w=${address}`,
      voters: ['w'],
      open: remoteChannel({
        voters: [{ node: 'w', address }],
        cluster: 'c',
        node,
        boot: nodeRandom.hex(8),
        transport,
        clock: testClock,
        silenceMs: registrationMs / 3,
      }),
      clock: testClock,
      random: nodeRandom,
      logger: silentLogger,
      registrationMs,
    })
    coordinator.register({ node, address: `${node}.test:7400`, boot: nodeRandom.hex(8) })
    coordinator.start()
    const close = async () => {
      await coordinator.close()
      await transport.close()
    }
    return { coordinator, close }
  }

  test('killed and started again it has the same records and the same id, and its clients come back', async () => {
    const { address, args, url } = await place('killed')
    let witness = new ServeProcess(args)
    const clients = [connect(address, 'a'), connect(address, 'b')]
    const [one, two] = clients.map(({ coordinator }) => coordinator)
    try {
      await witness.url()
      const watcher = new Watcher(two!)
      await until(() => watcher.names.join() === 'a,b', 'both are registered')
      const states = [await write(one!), await write(two!), await write(one!)]
      const before = states.at(-1)!
      witness.child.kill('SIGKILL')
      await until(() => watcher.count('disconnected') > 0, 'the end is told')
      witness = new ServeProcess(args)
      await witness.url()
      await until(() => watcher.count('connected') > 1, 'connected again')
      assert.deepEqual(await one!.read('main', patient), before)
      const after = await write(two!)
      assert.equal(after.coordinatorId, before.coordinatorId)
      assert.ok(after.revision > before.revision)
      await until(() => watcher.last('main')?.revision === after.revision, 'the watch goes on')
      await until(() => one!.registeredUntilMs > 0 && two!.registeredUntilMs > 0, 'registered again')
      assert.equal(watcher.names.join(), 'a,b')
      const left = watcher.events.filter((event) => event.type === 'members' && event.members.length < 2)
      assert.ok(left.length <= 2, 'the restart did not look as if members had left')

      const status = await understudy(['status', '--url', url])
      assert.equal(status.code, 0, status.stderr)
      assert.match(status.stdout, /voter w \(witness\) · serving · members a, b/)
      assert.match(status.stdout, /record of main: revision \d+, epoch 1@a, primary a, in-sync set a, b \(version 4\)/)
    } finally {
      for (const { close } of clients) await close()
      assert.equal(await witness.end(), 0)
    }
  })

  test('its HTTP interface says what it is', async () => {
    const { args } = await place('http')
    const witness = new ServeProcess(args)
    try {
      const url = await witness.url()
      const get = async (path: string) => {
        const response = await fetch(`${url}${path}`)
        return { code: response.status, text: await response.text() }
      }
      assert.equal((await get('/livez')).code, 200)
      assert.deepEqual(JSON.parse((await get('/readyz')).text), { status: 'ready', witness: true, voter: 'w' })
      const asPrimary = await get('/readyz?role=primary')
      assert.equal(asPrimary.code, 503)
      assert.match(asPrimary.text, /is a witness: it is never primary/)
      const status = JSON.parse((await get('/v1/status')).text) as NodeStatus
      assert.equal(status.voter?.witness, true)
      assert.deepEqual(status.shards, [])
      const metrics = (await get('/metrics')).text
      assert.match(metrics, /^understudy_voter_up 1$/m)
      assert.match(metrics, /^understudy_voter_members 0$/m)
      const read = await get('/v1/kv/x')
      assert.equal(read.code, 404)
      assert.match(read.text, /is a witness: it does not hold shard main/)
    } finally {
      assert.equal(await witness.end(), 0)
    }
  })

  test('a witness directory is no data directory, and the other way round; of others it is refused', async () => {
    const { address, args } = await place('foreign')
    const data = join(root, 'foreign')
    const witness = new ServeProcess(args)
    await witness.url()
    assert.equal(await witness.end(), 0)
    const quiet = ['--listen', address, '--log-level', 'silent', '--data', data, '--json']
    const refused = async (why: RegExp, ...more: string[]) => {
      const result = await understudy(['serve', ...quiet, ...more])
      assert.equal(codedError(result).code, 'UNDERSTUDY_FOREIGN_DIRECTORY')
      assert.match(result.stderr, why)
    }
    await refused(/made for a witness; configured is data node/, '--cluster', 'c', '--node', 'w')
    const as = (cluster: string, node: string) => [
      ...['--witness', '--cluster', cluster, '--node', node, '--coordinator', `builtin://${node}=${address}`],
    ]
    await refused(/made for cluster c; configured is d/, ...as('d', 'w'))
    await refused(/made for node w; configured is v/, ...as('c', 'v'))
    // Also if the file of the node was made anew beside the voter's.
    const identity = join(data, 'understudy.json')
    const other = join(root, 'other')
    const { args: otherArgs } = await place('other')
    const second = new ServeProcess(otherArgs.map((arg) => (arg === 'c' ? 'd' : arg)))
    await second.url()
    assert.equal(await second.end(), 0)
    await writeFile(identity, await readFile(join(other, 'understudy.json')))
    await refused(/voter of cluster c; configured is d/, ...as('d', 'w'))
  })
})
