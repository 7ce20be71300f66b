import assert from 'node:assert/strict'
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { withoutOpenssl } from '../support/certificates.js'
import { codedError, understudy } from '../support/command.js'
import { makeDirectory, removeDirectory } from '../support/directory.js'
import { SecureCluster } from '../support/secure-cluster.js'

const shop = 'canary-token-of-the-shop'
const ops = 'canary-token-of-people'
const nextShop = 'canary-token-of-the-shop-next'

/** Looks again until it holds; a node that is gone or not ready yet is looked at again. */
async function until<T>(what: string, look: () => Promise<T | undefined>, timeoutMs = 60_000): Promise<T> {
  const endMs = Date.now() + timeoutMs
  for (;;) {
    let last: unknown
    try {
      const found = await look()
      if (found !== undefined) return found
    } catch (error) {
      last = error
    }
    if (Date.now() > endMs) throw new Error(`not in time: ${what}`, { cause: last })
    await sleep(20)
  }
}

describe('a cluster with TLS, client certificates and tokens', { skip: withoutOpenssl, timeout: 240_000 }, () => {
  let directory = ''
  let cluster: SecureCluster
  const written: string[] = []
  before(async () => {
    directory = await makeDirectory()
    cluster = await SecureCluster.create(directory, ['w', 'a', 'b', 'c'])
    cluster.allow([
      [shop, 'read', 'write'],
      [ops, 'admin'],
    ])
    for (const name of ['w', 'a', 'b', 'c']) await cluster.start(name)
  })
  after(async () => {
    await cluster.close()
    await removeDirectory(directory)
  })

  const primaryOf = (names: readonly string[], inSync: number) =>
    until(`a primary among ${names.join()} with ${inSync} in sync`, async () => {
      for (const name of names) {
        const [main] = (await cluster.status(name, ops)).shards
        if (main?.state === 'primary' && main.inSync.length >= inSync) return name
      }
      return undefined
    })

  const write = (name: string, key: string, token = shop) =>
    until(`${key} written`, async () => {
      const answer = await cluster.ask(name, `/v1/kv/${key}`, { method: 'PUT', body: `value of ${key}`, token })
      if (answer.status !== 204) throw new Error(answer.text)
      written.push(key)
      return true
    })

  const clientArgs = (token = 'ops.token') => [
    ...['--ca', cluster.authority.ca, '--cert', cluster.client.cert, '--key', cluster.client.key],
    ...['--token-file', join(directory, token)],
  ]

  test('replicates, forwards, fails over and takes the old primary back', async () => {
    const first = await primaryOf(['a', 'b', 'c'], 3)
    const [near, far] = ['a', 'b', 'c'].filter((name) => name !== first) as [string, string]
    await write(first, 'k1')
    // A standby sends it on, over its own TLS connection.
    await write(near, 'k2')
    const refused = await cluster.ask(far, '/v1/kv/k?forward=false', { method: 'PUT', body: 'v', token: shop })
    assert.equal(refused.status, 421)
    assert.equal(refused.location, `${cluster.url(first)}/v1/kv/k?forward=false`)

    await cluster.kill(first)
    const second = await primaryOf([near, far], 2)
    await write(second, 'k3')
    await write(second === near ? far : near, 'k4')
    await cluster.start(first)
    await primaryOf([second], 3)
    for (const name of ['a', 'b', 'c']) {
      for (const key of written) {
        const found = await until(`${key} on ${name}`, async () => {
          const answer = await cluster.ask(name, `/v1/kv/${key}?consistency=local`, { token: shop })
          return answer.status === 200 ? answer : undefined
        })
        assert.equal(found.text, `value of ${key}`)
      }
    }
    const { voter, access } = await cluster.status('w', ops)
    assert.equal(voter?.state, 'serving')
    assert.equal(access?.tls?.clients, 'required')
  })

  test('the command line uses token, authority and certificate, and says which of them is missing', async () => {
    writeFileSync(join(directory, 'ops.token'), `${ops}\n`)
    writeFileSync(join(directory, 'shop.token'), `${shop}\n`)
    writeFileSync(join(directory, 'wrong.token'), 'canary-token-of-nobody\n')
    const primary = await primaryOf(['a', 'b', 'c'], 3)
    const all = await understudy(['status', '--url', cluster.address(primary), ...clientArgs()])
    assert.equal(all.code, 0, all.stderr)
    for (const name of ['a', 'b', 'c']) assert.match(all.stdout, new RegExp(`\\n${name} +(primary|standby)`))
    const env = {
      UNDERSTUDY_URL: cluster.url(primary),
      UNDERSTUDY_TOKEN: ops,
      UNDERSTUDY_TLS_CA: cluster.authority.ca,
      UNDERSTUDY_TLS_CERT: cluster.client.cert,
      UNDERSTUDY_TLS_KEY: cluster.client.key,
    }
    assert.equal((await understudy(['status', '--json'], { env })).code, 0)
    const switched = await understudy(['switchover', '--json', '--timeout', '20s'], { env })
    assert.equal(switched.code, 0, switched.stderr)
    const bench = ['bench', '--url', cluster.url(primary), '--duration', '500ms', '--writers', '4', '--json']
    const measured = await understudy([...bench, ...clientArgs('shop.token')])
    assert.equal(measured.code, 0, measured.stderr)
    assert.ok(JSON.parse(measured.stdout).operations > 0)

    // With the node's own configuration nothing else is needed.
    const file = join(directory, `${primary}.toml`)
    const files = cluster.certificates.get(primary)!
    writeFileSync(
      file,
      Object.entries({
        ...{
          data: join(directory, `data-${primary}`),
          cluster: 'shop',
          node: primary,
          listen: cluster.address(primary),
        },
        ...{ coordinator: `builtin://w=${cluster.address('w')}`, accessFile: cluster.accessFile },
        ...{ tlsCert: files.cert, tlsKey: files.key, tlsCa: cluster.authority.ca, tlsClients: 'required' },
      })
        .map(([name, value]) => `${name} = ${JSON.stringify(value)}\n`)
        .join(''),
    )
    const doctor = await understudy(['doctor', '--json', '--config', file])
    const { checks } = JSON.parse(doctor.stdout) as { checks: Array<{ id: string; status: string; found: string }> }
    const certificates = checks.find(({ id }) => id === 'certificates')
    assert.equal(certificates?.status, 'warn', 'they are valid for a day')

    const url = ['status', '--json', '--url', cluster.url(primary)]
    const [ca, token] = [
      ['--ca', cluster.authority.ca],
      ['--token-file', join(directory, 'ops.token')],
    ] as const
    const own = ['--cert', cluster.client.cert, '--key', cluster.client.key]
    for (const [args, code] of [
      [[...url, ...own, ...token], 'UNDERSTUDY_UNAUTHORIZED'],
      [[...url, ...ca, ...own], 'UNDERSTUDY_UNAUTHORIZED'],
      [[...url, ...ca, ...own, '--token-file', join(directory, 'wrong.token')], 'UNDERSTUDY_UNAUTHORIZED'],
      [['status', '--json', '--url', `http://${cluster.address(primary)}`, ...token], 'UNDERSTUDY_BAD_REQUEST'],
      [[...url, ...ca, '--cert', cluster.client.cert, ...token], 'UNDERSTUDY_CONFIG'],
      [[...url, '--ca', join(directory, 'nowhere.pem'), ...token], 'UNDERSTUDY_CONFIG'],
    ] as const) {
      const result = await understudy(args)
      assert.notEqual(result.code, 0)
      assert.equal(codedError(result).code, code, result.stderr)
      assert.ok(!result.stderr.includes('canary'), result.stderr)
    }
    // A token that may read and write may not promote.
    const promote = await understudy(['switchover', '--json'], { env: { ...env, UNDERSTUDY_TOKEN: shop } })
    assert.equal(promote.code, 1)
    assert.equal(codedError(promote).code, 'UNDERSTUDY_FORBIDDEN')
  })

  test('a directory is built from a node over TLS', async () => {
    const primary = await primaryOf(['a', 'b', 'c'], 3)
    const { cert, key } = cluster.certificates.get('c')!
    const result = await understudy([
      ...['bootstrap', '--json', '--from', cluster.url(primary), '--data', join(directory, 'data-d'), '--node', 'd'],
      ...['--access-file', cluster.accessFile, '--tls-cert', cert, '--tls-key', key, '--tls-ca', cluster.authority.ca],
    ])
    assert.equal(result.code, 0, result.stderr)
    const plain = await understudy([
      ...['bootstrap', '--json', '--from', cluster.url(primary), '--data', join(directory, 'data-e'), '--node', 'e'],
    ])
    assert.equal(codedError(plain).code, 'UNDERSTUDY_BAD_REQUEST')
  })

  test('tokens are rotated and certificates exchanged while everything runs', async () => {
    const primary = await primaryOf(['a', 'b', 'c'], 3)
    const nodes = ['w', 'a', 'b', 'c']
    const accepted = async (name: string, token: string) =>
      (await cluster.ask(name, '/v1/status', { token })).status === 200
    const everywhere = (token: string, wanted: boolean) =>
      until(`${token} is ${wanted ? 'valid' : 'invalid'} everywhere`, async () => {
        for (const name of nodes) if ((await accepted(name, token)) !== wanted) return undefined
        return true
      })
    cluster.allow([
      [shop, 'read', 'write'],
      [nextShop, 'read', 'write'],
      [ops, 'admin'],
    ])
    await everywhere(nextShop, true)
    assert.equal(await accepted(primary, shop), true, 'both are valid while both are in the file')
    cluster.allow([
      [nextShop, 'read', 'write'],
      [ops, 'admin'],
    ])
    await everywhere(shop, false)

    const before = new Map<string, string>()
    for (const name of nodes) before.set(name, (await cluster.ask(name, '/livez')).serial)
    for (const name of nodes) {
      const next = cluster.authority.issue(`${name}.internal`)
      const files = cluster.certificates.get(name)!
      copyFileSync(next.cert, files.cert)
      copyFileSync(next.key, files.key)
    }
    await until('new certificates are shown everywhere', async () => {
      for (const name of nodes) if ((await cluster.ask(name, '/livez')).serial === before.get(name)) return undefined
      return true
    })
    // Sessions of before go on, and a node that starts now connects with the new ones.
    await write(primary, 'k5', nextShop)
    const standby = ['a', 'b', 'c'].find((name) => name !== primary)!
    await cluster.kill(standby)
    await cluster.start(standby)
    const now = await primaryOf(['a', 'b', 'c'], 3)
    await write(now, 'k6', nextShop)
  })

  test('SIGTERM of the primary: a switchover, and no write that was taken fails', async () => {
    const primary = await primaryOf(['a', 'b', 'c'], 3)
    const others = ['a', 'b', 'c'].filter((name) => name !== primary)
    const outcomes: string[] = []
    let isOver = false
    const writers = Array.from({ length: 4 }, async (_, writer) => {
      for (let index = 0; !isOver; index++) {
        const path = `/v1/kv/drain-${writer}-${index}`
        try {
          const answer = await cluster.ask(primary, path, { method: 'PUT', body: 'v', token: nextShop })
          if (answer.status === 204) written.push(path.slice('/v1/kv/'.length))
          else outcomes.push(`${answer.status} ${(JSON.parse(answer.text) as { outcome: string }).outcome}`)
        } catch (error) {
          // The port is closed: nothing was taken.
          outcomes.push((error as NodeJS.ErrnoException).code ?? String(error))
          return
        }
      }
    })
    await until('writes are under way', async () => (written.some((key) => key.startsWith('drain')) ? true : undefined))
    const code = await cluster.processes.get(primary)!.end('SIGTERM')
    isOver = true
    await Promise.all(writers)
    assert.equal(code, 0)
    const bad = outcomes.filter((outcome) => !/^503 none$|^ECONNREFUSED$|^ECONNRESET$/.test(outcome))
    assert.deepEqual(bad, [])
    const next = await primaryOf(others, 2)
    for (const key of written.filter((one) => one.startsWith('drain'))) {
      assert.equal((await cluster.ask(next, `/v1/kv/${key}`, { token: nextShop })).status, 200, key)
    }
    await cluster.start(primary)
    await primaryOf(others, 3)
  })

  test('no token and no key is in any output, status, metrics, error or printed configuration', async () => {
    const primary = await primaryOf(['a', 'b', 'c'], 3)
    const said: string[] = [cluster.output]
    for (const name of ['w', 'a', 'b', 'c']) {
      for (const path of ['/v1/status', '/metrics', '/v1/openapi.json', '/readyz', '/v1/kv/nothing', '/nowhere']) {
        said.push((await cluster.ask(name, path, { token: ops })).text)
        said.push((await cluster.ask(name, path, { token: 'canary-token-of-nobody' })).text)
      }
    }
    const { cert, key } = cluster.certificates.get('a')!
    const config = join(directory, 'understudy.toml')
    const lines = {
      data: join(directory, 'data-x'),
      cluster: 'shop',
      node: 'a',
      listen: '0.0.0.0:7400',
      secret: 'canary-secret-in-file',
      tokens: 'admin:canary-token-in-file-1',
      token: 'canary-token-in-file-2',
      tlsCert: cert,
      tlsKey: key,
    }
    const toml = (table: Record<string, string>) =>
      Object.entries(table)
        .map(([name, value]) => `${name} = ${JSON.stringify(value)}\n`)
        .join('')
    writeFileSync(config, toml(lines))
    const wrongs = [
      { ...lines, token: 'canary' },
      { ...lines, tokens: 'canary-token-without-scope' },
      { ...lines, secret: 'canary with spaces' },
      { ...lines, tokenFile: config },
      { ...lines, secretFile: config },
      { ...lines, accessFile: config },
      { ...lines, tlsKey: cluster.authority.ca },
    ]
    for (const extra of [[], ['--json']]) {
      const checked = await understudy(['config', 'check', config, ...extra])
      assert.equal(checked.code, 0, checked.stderr)
      assert.match(checked.stdout, /tokens/)
      said.push(checked.stdout, checked.stderr)
      const changes = extra.length === 0 ? [] : wrongs
      for (const wrong of changes) {
        writeFileSync(`${config}.wrong`, toml(wrong))
        const refused = await understudy(['config', 'check', `${config}.wrong`, ...extra])
        assert.equal(refused.code, 2, JSON.stringify(wrong))
        said.push(refused.stdout, refused.stderr)
      }
      writeFileSync(`${config}.wrong`, `${toml(lines)}secret = "canary-secret-in-file\n`)
      const torn = await understudy(['config', 'check', `${config}.wrong`, ...extra])
      assert.equal(torn.code, 2)
      said.push(torn.stdout, torn.stderr)
    }
    const text = said.join('\n')
    assert.ok(text.includes(`"node":"${primary}"`), 'the output was gathered')
    const at = text.indexOf('canary')
    assert.equal(at, -1, text.slice(Math.max(0, at - 300), at + 100))
    const keyLines = readFileSync(key, 'utf8').split('\n').slice(1, -2)
    for (const line of keyLines) assert.ok(!text.includes(line))
  })
})
