import assert from 'node:assert/strict'
import { readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { gunzipSync } from 'node:zlib'
import { Redactor } from '#src/cli/redact.js'
import { codedError, ServeProcess, understudy } from '../support/command.js'
import { makeDirectory, removeDirectory } from '../support/directory.js'
import { ask } from '../support/http.js'

const canary = 'canary-4711-do-not-print'
const etcdPassword = 'canary-etcd-p4ssword'
const tokenCanary = 'canary-token-0123456789abcdef'
const pingCanary = '/canary-ping-9a8b7c6d'
const valueCanary = 'canary-in-a-value-of-a-user'

describe('dump', () => {
  let directory = ''
  let serve: ServeProcess
  let url = ''
  before(async () => {
    directory = await makeDirectory()
    await writeFile(join(directory, 'secret'), `${canary}\n`, { mode: 0o600 })
    await writeFile(
      join(directory, 'understudy.toml'),
      [
        `data = "${join(directory, 'a')}"`,
        'cluster = "shop"',
        'node = "a"',
        'listen = "127.0.0.1:7400"',
        `coordinator = "etcd://root:${etcdPassword}@127.0.0.1:2379"`,
        `secretFile = "${join(directory, 'secret')}"`,
      ].join('\n'),
      { mode: 0o600 },
    )
    const args = ['--data', join(directory, 'a'), '--cluster', 'shop', '--node', 'a', '--listen', '127.0.0.1:0']
    serve = new ServeProcess([...args, '--secret-file', join(directory, 'secret')])
    url = await serve.url()
    const body = { method: 'PUT', headers: { authorization: `Bearer ${canary}` }, body: valueCanary }
    assert.equal((await ask(new URL(url).host, '/v1/kv/key-of-a-user', body)).status, 204)
  })
  after(async () => {
    await serve.end()
    await removeDirectory(directory)
  })

  test('holds what helps and no secret, whatever way it came in', { timeout: 60_000 }, async () => {
    const file = join(directory, 'report.json.gz')
    const args = ['dump', '--url', url, '-o', file, '--config', join(directory, 'understudy.toml')]
    const data = ['--data', join(directory, 'a')]
    const env = {
      UNDERSTUDY_SECRET: canary,
      UNDERSTUDY_TOKENS: `read:${tokenCanary}`,
      UNDERSTUDY_HEARTBEAT_URL: `https://ping.example${pingCanary}`,
    }
    const { code, stderr, stdout } = await understudy([...args, ...data, '--json'], { env })
    assert.equal(code, 0, stderr)
    assert.equal(JSON.parse(stdout).answered, 1)
    const text = gunzipSync(await readFile(file)).toString()
    for (const secret of [canary, etcdPassword, tokenCanary, pingCanary, valueCanary, 'key-of-a-user']) {
      assert.equal(text.includes(secret), false, `${secret} is in the report`)
      assert.equal(text.includes(Buffer.from(secret).toString('base64')), false, `${secret} is in it as base64`)
    }
    const report = JSON.parse(text)
    assert.equal(report.nodes[0].status.node, 'a')
    assert.ok(report.nodes[0].metrics.some((line: string) => line.startsWith('understudy_epoch')))
    assert.equal(report.config.options.cluster, 'shop')
    assert.match(report.config.options.coordinator, /etcd:/)
    assert.ok(report.doctor.checks.length > 5)
    assert.ok(report.data.journal.records.block >= 1, JSON.stringify(report.data.journal))
    assert.ok(report.environment.includes('UNDERSTUDY_SECRET'))
    assert.equal((await stat(file)).mode & 0o077, 0, 'only its owner reads it')
    const again = await understudy([...args, '--json'], { env })
    assert.equal(again.code, 2, 'a file is not overwritten unasked')
    assert.match(codedError(again).message, /exists already/)
  })

  test('is written also when no node answers, and says so', async () => {
    const file = join(directory, 'dead.json')
    const { code, stdout } = await understudy(['dump', '--url', 'http://127.0.0.1:1', '-o', file])
    assert.equal(code, 0)
    assert.match(stdout, /0 of 1 node/)
    assert.equal(JSON.parse(await readFile(file, 'utf8')).nodes[0].error.code, 'UNDERSTUDY_UNAVAILABLE')
    const beside = ['--data', join(directory, 'a'), '--overwrite', '--json']
    const again = await understudy(['dump', '--url', 'http://127.0.0.1:1', '-o', file, ...beside])
    assert.deepEqual([JSON.parse(again.stdout).nodes, JSON.parse(again.stdout).answered], [1, 0])
    assert.ok(JSON.parse(await readFile(file, 'utf8')).data.files.length > 0)
  })
})

describe('what is removed from a report', () => {
  const redactor = new Redactor(['s3cr3t/+=', undefined, 'ab'])
  test('known secrets in any spelling, and what looks like one', () => {
    for (const [before, after] of [
      ['x s3cr3t/+= y', 'x (removed) y'],
      [`x ${encodeURIComponent('s3cr3t/+=')}`, 'x (removed)'],
      ['etcd://user:pw@host:1/x', 'etcd://(removed)@host:1/x'],
      ['Authorization: Bearer abcdefgh', 'Authorization: Bearer (removed)'],
      ['http://h/p?token=abc&x=1', 'http://h/p?token=(removed)&x=1'],
      ['-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----', '(removed)'],
      ['ab: too short to be a secret', 'ab: too short to be a secret'],
    ] as const) {
      assert.equal(redactor.text(before), after)
    }
    assert.deepEqual(redactor.value({ secret: 'set', token: 'abc', nested: [{ password: 'x', secretFile: '/f' }] }), {
      secret: 'set',
      token: '(removed)',
      nested: [{ password: '(removed)', secretFile: '/f' }],
    })
  })
})
