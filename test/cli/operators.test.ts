/** What an operator runs against real nodes: healthy, damaged on one disk, with a node killed. */
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { ClassicLevel } from 'classic-level'
import type { Check } from '#src/cli/doctor-checks.js'
import { findFreePorts } from '#src/cli/free-ports.js'
import { until } from '../support/cluster.js'
import { codedError, ServeProcess, understudy } from '../support/command.js'
import { makeDirectory, removeDirectory } from '../support/directory.js'
import { ask } from '../support/http.js'

const names = ['a', 'b', 'c'] as const
type Name = (typeof names)[number]

describe('operators at work', () => {
  let root = ''
  let urls: Readonly<Record<string, string>> = {}
  let coordinator = ''
  const nodes = new Map<Name, ServeProcess>()

  const serve = async (name: Name) => {
    const args = [
      '--data',
      join(root, name),
      '--cluster',
      'shop',
      '--node',
      name,
      '--listen',
      new URL(urls[name]!).host,
    ]
    const node = new ServeProcess([...args, '--coordinator', coordinator])
    nodes.set(name, node)
    await node.url()
  }
  const inSync = async (): Promise<string[]> => {
    const answer = await ask(new URL(urls.a!).host, '/v1/status')
    return (answer.json() as { shards: Array<{ inSync: string[] }> }).shards[0]!.inSync
  }
  const run = (...args: readonly string[]) => understudy(args, { env: { UNDERSTUDY_URL: urls.a! } })

  before(async () => {
    root = await makeDirectory()
    const ports = await findFreePorts(3)
    urls = Object.fromEntries(names.map((name, index) => [name, `http://127.0.0.1:${ports[index]}`]))
    coordinator = `static://${names.map((name) => `${name}=${new URL(urls[name]!).host}`).join(',')}?primary=a`
    await Promise.all(names.map(serve))
    await until(async () => (await inSync()).length === 3, 'three nodes in sync')
    const operations = Array.from({ length: 2_000 }, (_, index) => ({
      type: 'put',
      key: `k${index}`,
      value: `${index}`,
    }))
    const answer = await ask(new URL(urls.a!).host, '/v1/batch', { method: 'POST', body: JSON.stringify(operations) })
    assert.equal(answer.status, 200)
  })
  after(async () => {
    for (const node of nodes.values()) await node.end('SIGKILL')
    await removeDirectory(root)
  })

  test('healthy: verify 0, doctor without failures, status --watch goes on until Ctrl-C, bench writes', {
    timeout: 120_000,
  }, async () => {
    const verified = await run('verify', '--json')
    assert.equal(verified.code, 0, verified.stderr)
    const { verdict, entries, nodes: compared } = JSON.parse(verified.stdout)
    assert.deepEqual([verdict, entries, compared.length], ['equal', 2_000, 2])
    const diagnosed = await run('doctor', '--json', '--data', join(root, 'a'))
    const { checks } = JSON.parse(diagnosed.stdout) as { checks: Check[] }
    const bad = checks.filter(({ id, status }) => status === 'fail' && !id.startsWith('disk'))
    assert.deepEqual(bad, [])
    const watched = await understudy(['status', '--watch', '--json', '--url', urls.a!], { interruptAt: '}\n{' })
    assert.equal(watched.code, 0, watched.stderr)
    const lines = watched.stdout.trim().split('\n')
    assert.ok(lines.length >= 2)
    for (const line of lines) assert.equal(JSON.parse(line).cluster, 'shop')
    const plain = await understudy(['status', '--watch', '--url', urls.a!], { interruptAt: 'Ctrl-C ends\n\ncluster' })
    assert.equal(plain.code, 0)
    assert.ok(!plain.stdout.includes('\x1b'), 'plain lines where there is no terminal')
    const bench = await run('bench', '--url', urls.a!, '--duration', '500ms', '--writers', '4', '--json')
    assert.equal(bench.code, 0, bench.stderr)
    assert.ok(JSON.parse(bench.stdout).operations > 0)
  })

  test('F46: what was changed on the disk of one node is found: exit code 5, and the key', {
    timeout: 120_000,
  }, async () => {
    await nodes.get('c')!.end()
    const engine = new ClassicLevel<Buffer, Buffer>(join(root, 'c/shards/main/current/engine'), {
      keyEncoding: 'buffer',
      valueEncoding: 'buffer',
      createIfMissing: false,
    })
    const data = (key: string) => Buffer.concat([Buffer.from([1, 0, 0, 0, 0]), Buffer.from(key)])
    assert.equal((await engine.get(data('k77')))?.toString(), '77', 'that is where it lies')
    await engine.put(data('k77'), Buffer.from('rotten'))
    await engine.del(data('k1999'))
    await engine.close()
    await serve('c')
    await until(async () => (await inSync()).includes('c'), 'c is back')
    const { code, stdout, stderr } = await run('verify')
    assert.equal(code, 5, stderr)
    assert.match(stdout, /\nc +missing on c +default +k1999\n/)
    assert.match(stdout, /\nc +other value +default +k77\n/)
    assert.match(stdout, /\nb +equal +0\n/)
    const json = await run('verify', '--json', '--differences', '1')
    assert.equal(json.code, 5)
    assert.equal(JSON.parse(json.stdout).differences.length, 1)
    // As the help says: another node tells who is wrong, and the wrong one is rebuilt.
    const fromB = JSON.parse((await run('verify', '--url', urls.b!, '--json')).stdout)
    assert.deepEqual(
      fromB.nodes
        .filter((one: { state: string }) => one.state === 'different')
        .map((one: { node: string }) => one.node),
      ['c'],
    )
    await nodes.get('c')!.end()
    const rebuilt = await run(
      'bootstrap',
      '--data',
      join(root, 'c'),
      '--node',
      'c',
      '--from',
      urls.a!,
      '--replace',
      '--json',
    )
    assert.equal(rebuilt.code, 0, rebuilt.stderr)
    await serve('c')
    await until(async () => (await inSync()).includes('c'), 'c is back')
    assert.equal((await run('verify')).code, 0)
  })

  test('a node killed: verify 4, doctor 1 with the next command, dump says so', { timeout: 120_000 }, async () => {
    await nodes.get('c')!.end('SIGKILL')
    // With the static coordinator writes wait for c until a person takes it out.
    const refused = await run('verify', '--json', '--timeout', '2s')
    assert.equal(refused.code, 4)
    assert.equal(codedError(refused).code, 'UNDERSTUDY_VERIFY_REFUSED')
    assert.equal((await run('in-sync', '--remove', 'c')).code, 0)
    const verified = await run('verify', '--json', '--timeout', '5s')
    assert.equal(verified.code, 4, verified.stdout)
    assert.equal(JSON.parse(verified.stdout).verdict, 'incomplete')
    assert.equal(codedError(verified).code, 'UNDERSTUDY_UNAVAILABLE')
    const diagnosed = await run('doctor')
    assert.equal(diagnosed.code, 1)
    assert.match(diagnosed.stdout, /-> start c/)
    const file = join(root, 'report.json')
    const dumped = await run('dump', '-o', file, '--json')
    assert.equal(dumped.code, 0, dumped.stderr)
    assert.deepEqual([JSON.parse(dumped.stdout).nodes, JSON.parse(dumped.stdout).answered], [3, 2])
    const report = JSON.parse(await readFile(file, 'utf8'))
    const a = report.nodes.find((one: { node: string }) => one.node === 'a')
    assert.ok(Array.isArray(a.events) && a.events.length > 0, JSON.stringify(a.events))
  })
})
