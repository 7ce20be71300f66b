import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { describe, test } from 'node:test'
import { UnderstudyError } from '#src/errors.js'
import { silentLogger } from '#src/ports/logger.js'
import { createHttpServer } from '#src/server/http-server.js'
import { testCredentials } from '../support/credentials.js'
import { FakeNode } from '../support/fake-node.js'
import { withServer } from '../support/fake-server.js'
import { ask } from '../support/http.js'

describe('operation', () => {
  test('status is the status of the node, or of one shard', async () => {
    await withServer(async ({ ask, node }) => {
      const { access, ...status } = (await ask('/v1/status')).json()
      assert.deepEqual(status, JSON.parse(JSON.stringify(node.status())))
      assert.deepEqual(access, { open: true, tokens: 0, certificates: 0 })
      assert.equal(((await ask('/v1/status?shard=main')).json().shards as unknown[]).length, 1)
      assert.equal((await ask('/v1/status?shard=x')).json().code, 'UNDERSTUDY_UNKNOWN_SHARD')
    })
  })

  test('promote passes force on, and answers 409 with the reason when refused', async () => {
    await withServer(async ({ ask, node }) => {
      node.main.state = 'streaming'
      const refusal = new UnderstudyError('PROMOTION_REFUSED', 'c does not answer', { hint: 'force loses 3 entries' })
      node.main.failures.set('promote', refusal)
      const refused = await ask('/v1/promote', { method: 'POST' })
      assert.equal(refused.status, 409)
      assert.equal(refused.json().hint, 'force loses 3 entries')
      node.main.failures.clear()
      const body = JSON.stringify({ force: true, timeoutMs: 500 })
      const promoted = await ask('/v1/promote', { method: 'POST', body })
      assert.equal(promoted.status, 200)
      assert.deepEqual(promoted.json(), { epoch: '2@a', position: '2@a.0', mayLose: null })
      assert.deepEqual(node.main.calls.at(-1)?.argument, { force: true, timeoutMs: 500 })
      for (const bad of ['{"force":"yes"}', '{"forced":true}', '[]', '{', '{"timeoutMs":0}']) {
        const answer = await ask('/v1/promote', { method: 'POST', body: bad })
        assert.equal(answer.status, 400, bad)
        assert.equal(answer.json().code, 'UNDERSTUDY_BAD_REQUEST')
      }
      assert.equal(node.main.epoch.number, 2)
    })
  })

  test('switchover passes target and time-out on, and answers 409 with the reason when refused', async () => {
    await withServer(async ({ ask, node }) => {
      const refusal = new UnderstudyError('SWITCHOVER_REFUSED', 'c has not caught up', { hint: 'try b' })
      node.main.failures.set('switchover', refusal)
      const refused = await ask('/v1/switchover', { method: 'POST', body: '{"to":"c"}' })
      assert.equal(refused.status, 409)
      const { code, message, hint, outcome, retryable } = refused.json()
      assert.deepEqual(
        [code, message, hint, outcome, retryable],
        ['UNDERSTUDY_SWITCHOVER_REFUSED', 'c has not caught up', 'try b', 'none', true],
      )
      node.main.failures.clear()
      for (const bad of ['{"to":1}', '{"to":""}', '{"too":"b"}', '[]', '{', '{"timeoutMs":0}', '{"timeoutMs":"1s"}']) {
        const answer = await ask('/v1/switchover', { method: 'POST', body: bad })
        assert.equal(answer.status, 400, bad)
        assert.equal(answer.json().code, 'UNDERSTUDY_BAD_REQUEST')
      }
      assert.equal((await ask('/v1/switchover?shard=x', { method: 'POST' })).status, 404)
      assert.equal((await ask('/v1/switchover')).status, 405)
      assert.equal(node.main.epoch.number, 1, 'nothing of this reached the node')
      const body = JSON.stringify({ to: 'c', timeoutMs: 500 })
      const done = await ask('/v1/switchover', { method: 'POST', body })
      assert.equal(done.status, 200)
      assert.deepEqual(done.json(), { epoch: '2@c', primary: 'c', pauseMs: 12 })
      assert.deepEqual(node.main.calls.at(-1), { name: 'switchover', argument: { to: 'c', timeoutMs: 500 } })
      // Also asked of a standby, and without a body: the node finds the primary and the target.
      assert.equal(node.main.state, 'streaming')
      assert.equal((await ask('/v1/switchover', { method: 'POST' })).status, 200)
      assert.deepEqual(node.main.calls.at(-1), { name: 'switchover', argument: {} })
    })
  })

  test('a member is taken out of the in-sync set by name', async () => {
    await withServer(async ({ ask, node }) => {
      node.main.inSync = ['a', 'b', 'c']
      const answer = await ask('/v1/in-sync', { method: 'POST', body: '{"remove":"c"}' })
      assert.deepEqual(answer.json(), { inSync: ['a', 'b'], recordVersion: 2, epoch: '1@a' })
      assert.equal((await ask('/v1/in-sync', { method: 'POST', body: '{"remove":"z"}' })).status, 404)
      for (const bad of ['', '{}', '{"remove":1}', '{"add":"c"}']) {
        assert.equal((await ask('/v1/in-sync', { method: 'POST', body: bad })).status, 400, bad)
      }
    })
  })

  test('readyz tells who may be sent what; a broken stream is never ready (F43)', async () => {
    await withServer(async ({ ask, node }) => {
      const ready = async (query: string): Promise<number> => (await ask(`/readyz${query}`)).status
      assert.equal((await ask('/livez')).status, 200)
      assert.equal(await ready(''), 200)
      assert.equal(await ready('?role=primary'), 200)
      assert.equal(await ready('?role=standby'), 503)
      node.main.state = 'streaming'
      node.main.lagMs = 80
      assert.equal(await ready(''), 200)
      assert.equal(await ready('?role=standby&lag_ms=100'), 200)
      assert.equal(await ready('?role=standby&lag_ms=50'), 503)
      assert.equal(await ready('?role=primary'), 503)
      node.main.lagMs = undefined
      assert.equal(await ready('?lag_ms=50'), 503)
      for (const state of ['reconnecting', 'bootstrapping', 'catching-up', 'fenced', 'failed'] as const) {
        node.main.state = state
        node.main.lagMs = 0
        const answer = await ask('/readyz')
        assert.equal(answer.status, 503)
        assert.match(String(answer.json().message), new RegExp(`it is ${state}`))
      }
      assert.equal((await ask('/readyz?shard=x')).status, 404)
    })
  })

  test('metrics have the names of the contract, each with its shard', async () => {
    await withServer(async ({ ask, node }) => {
      node.main.inSync = ['a', 'b']
      node.main.bootstrap = undefined
      const text = (await ask('/metrics')).text
      for (const line of [
        'understudy_role{shard="main",role="primary"} 1',
        'understudy_epoch{shard="main"} 1',
        'understudy_sequence{shard="main",state="committed"} 0',
        'understudy_in_sync{shard="main",standby="b"} 1',
        'understudy_journal_bytes{shard="main"} 1234',
        'understudy_slots_bytes{shard="main",slot="standby-b"} 42',
        'understudy_reconnects_total{shard="main"} 1',
        'understudy_checksum_failures_total{shard="main"} 2',
        'understudy_gaps_total{shard="main"} 3',
        'understudy_fenced_total{shard="main"} 4',
        'understudy_failovers_total{shard="main"} 2',
        'understudy_in_sync_changes_total{shard="main"} 3',
        'understudy_coordinator_errors_total{shard="main"} 1',
        'understudy_coordinator_connected{shard="main"} 1',
        'understudy_can_fail_over{shard="main"} 1',
        'understudy_bootstrap_bytes_total{shard="main"} 5',
        'understudy_bootstrap_restarts_total{shard="main"} 6',
        'understudy_state_transitions_total{shard="main",from="catching-up",to="streaming"} 7',
        'understudy_commit_seconds_count{shard="main"} 1',
        'understudy_journal_flush_seconds_count{shard="main"} 1',
        'understudy_apply_seconds_count{shard="main"} 1',
        'understudy_blocks_entries_count{shard="main"} 1',
      ]) {
        assert.ok(text.includes(`${line}\n`), `${line}\n---\n${text}`)
      }
      node.main.failover = { possible: false, reason: 'b does not answer', to: undefined }
      node.main.coordinator = { ...node.main.coordinator, connected: false, lastError: 'refused' }
      const away = (await ask('/metrics')).text
      assert.ok(away.includes('understudy_can_fail_over{shard="main"} 0\n'))
      assert.ok(away.includes('understudy_coordinator_connected{shard="main"} 0\n'))
      node.main.inSync = ['a']
      const again = (await ask('/metrics')).text
      assert.ok(again.includes('understudy_reconnects_total{shard="main"} 1\n'), 'totals are not added up twice')
      assert.ok(again.includes('understudy_commit_seconds_count{shard="main"} 1\n'))
      assert.ok(!again.includes('standby="b"'), 'a standby that left leaves no number behind')
    })
  })
})

describe('access', () => {
  test('with a secret everything but health asks for it', async () => {
    await withServer(
      async ({ ask }) => {
        for (const path of ['/v1/kv/k', '/v1/kv', '/v1/status', '/metrics', '/nothing']) {
          for (const authorization of [undefined, '', 'Bearer', 'Bearer s3cre', 'Bearer s3cret2', 'Basic s3cret']) {
            const answer = await ask(path, { headers: authorization === undefined ? {} : { authorization } })
            assert.equal(answer.status, 401, `${path} ${authorization}`)
            assert.equal(answer.json().code, 'UNDERSTUDY_UNAUTHORIZED')
            assert.equal(answer.headers['www-authenticate'], 'Bearer')
          }
        }
        for (const authorization of ['Bearer s3cret', 'bearer s3cret']) {
          assert.equal((await ask('/v1/status', { headers: { authorization } })).status, 200)
        }
        assert.equal((await ask('/livez')).status, 200)
        assert.equal((await ask('/readyz?role=primary')).status, 200)
        assert.equal((await ask('/livez/../v1/status')).status, 401)
      },
      { secret: 's3cret' },
    )
  })

  test('without a secret pages of other sites are refused', async () => {
    await withServer(async ({ ask, address, node }) => {
      for (const headers of [
        { origin: 'https://evil.example' },
        { origin: 'null' },
        { 'sec-fetch-site': 'cross-site' },
        { host: 'evil.example:7400' },
      ]) {
        const answer = await ask('/v1/kv/k', { method: 'PUT', headers: headers as Record<string, string> })
        assert.equal(answer.status, 401, JSON.stringify(headers))
      }
      assert.equal(node.main.sequence, 0)
      const own = { origin: `http://${address}`, 'sec-fetch-site': 'same-origin' }
      assert.equal((await ask('/v1/kv/k', { method: 'PUT', headers: own })).status, 204)
      assert.equal((await ask('/v1/status', { headers: { host: 'localhost:1' } })).status, 200)
      assert.equal((await ask('/livez', { headers: { host: 'probe' } })).status, 200)
    })
  })
})

describe('listening and closing', () => {
  const options = {
    listen: { host: '127.0.0.1', port: 0 },
    credentials: testCredentials(),
    logger: silentLogger,
  }

  test('before the node is there, only livez answers', async () => {
    let node: FakeNode | undefined
    await withServer(
      async ({ ask }) => {
        assert.equal((await ask('/livez')).status, 200)
        for (const path of ['/readyz', '/v1/kv/k', '/v1/status', '/metrics']) {
          const answer = await ask(path)
          assert.equal(answer.status, 503)
          assert.equal(answer.json().code, 'UNDERSTUDY_NOT_READY')
        }
        node = new FakeNode()
        assert.equal((await ask('/readyz')).status, 200)
      },
      { node: () => node },
    )
  })

  test('listening twice is listening once; a taken address is named', async () => {
    const first = createHttpServer({ ...options, node: new FakeNode() })
    const address = await first.listen()
    assert.equal(await first.listen(), address)
    const port = Number(address.split(':')[1])
    const second = createHttpServer({ ...options, node: new FakeNode(), listen: { host: '127.0.0.1', port } })
    await assert.rejects(second.listen(), (error: UnderstudyError) => {
      assert.equal(error.code, 'UNDERSTUDY_ADDRESS_IN_USE')
      assert.ok(error.message.includes(address))
      return true
    })
    await second.close()
    await first.close()
    await first.close()
    await assert.rejects(first.listen(), { code: 'UNDERSTUDY_CLOSED' })
    const never = createHttpServer({ ...options, node: new FakeNode() })
    await never.close()
  })

  test('an address of another machine is a matter of configuration', async () => {
    const server = createHttpServer({ ...options, node: new FakeNode(), listen: { host: '192.0.2.1', port: 0 } })
    await assert.rejects(server.listen(), { code: 'UNDERSTUDY_CONFIG' })
    await server.close()
  })

  test('close answers what is under way, and leaves upgraded sockets to their owner', async () => {
    const node = new FakeNode()
    const upgraded: Socket[] = []
    const server = createHttpServer({
      ...options,
      node,
      attach: (http) => http.on('upgrade', (_request, socket) => void upgraded.push(socket as Socket)),
    })
    const address = await server.listen()
    const [host, port] = address.split(':')
    const client = connect(Number(port), host)
    client.on('error', () => {})
    client.write('GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: understudy/1\r\n\r\n')
    await once(server.server, 'upgrade')

    let open: () => void = () => {}
    node.main.gate = new Promise((resolve) => {
      open = resolve
    })
    const write = ask(address, '/v1/kv/k', { method: 'PUT', body: 'v' })
    await once(server.server, 'request')
    const closing = server.close()
    open()
    assert.equal((await write).status, 204)
    await closing
    assert.equal(upgraded[0]?.destroyed, false)
    await assert.rejects(ask(address, '/livez'))
    client.destroy()
    upgraded[0]?.destroy()
  })
})
