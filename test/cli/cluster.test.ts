import assert from 'node:assert/strict'
import { cp, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { findFreePorts } from '#src/cli/free-ports.js'
import { codedError, ServeProcess, understudy } from '../support/command.js'
import { makeDirectory, removeDirectory } from '../support/directory.js'

interface Picture {
  readonly warnings: readonly string[]
  readonly shards: ReadonlyArray<{
    readonly primary?: string
    readonly epoch: string
    readonly inSync: readonly string[]
    readonly nodes: ReadonlyArray<{
      readonly node: string
      readonly state?: string
      readonly answers: boolean
      readonly position?: string
      readonly reason?: string
      readonly inSync: boolean
    }>
  }>
}

/** One story: what an operator does to three nodes, in order. */
describe('commands against a running cluster', () => {
  let root = ''
  let urls: Record<string, string> = {}
  let coordinator = ''
  const nodes = new Map<string, ServeProcess>()

  const data = (name: string) => join(root, name)
  const serve = async (name: string) => {
    const listen = new URL(urls[name]!).host
    const args = ['--data', data(name), '--cluster', 'demo', '--node', name, '--listen', listen]
    const node = new ServeProcess([...args, '--coordinator', coordinator, '--segment-bytes', '1MiB'])
    nodes.set(name, node)
    await node.url()
    return node
  }
  const picture = async (name: string): Promise<Picture> => {
    const { code, stdout, stderr } = await understudy(['status', '--url', urls[name]!, '--json'])
    assert.equal(code, 0, stderr)
    return JSON.parse(stdout) as Picture
  }
  const until = async (name: string, holds: (shard: Picture['shards'][number]) => boolean): Promise<Picture> => {
    for (const endMs = Date.now() + 10_000; ; ) {
      const taken = await picture(name)
      if (holds(taken.shards[0]!)) return taken
      assert.ok(Date.now() < endMs, JSON.stringify(taken))
    }
  }
  const put = async (count: number) => {
    const operations = Array.from({ length: count }, (_, index) => ({
      type: 'put',
      key: `key-${index}`,
      value: 'v'.repeat(500),
    }))
    const body = JSON.stringify(operations)
    const answer = await fetch(`${urls.a}/v1/batch`, { method: 'POST', body })
    assert.equal(answer.status, 200, await answer.text())
  }

  before(async () => {
    root = await makeDirectory()
    const ports = await findFreePorts(3)
    urls = Object.fromEntries(['a', 'b', 'c'].map((name, index) => [name, `http://127.0.0.1:${ports[index]}`]))
    const members = Object.entries(urls).map(([name, url]) => `${name}=${new URL(url).host}`)
    coordinator = `static://${members.join(',')}?primary=a`
    await Promise.all(['a', 'b', 'c'].map(serve))
    await until('a', (shard) => shard.inSync.length === 3)
  })
  after(async () => {
    for (const node of nodes.values()) await node.end('SIGKILL')
    await removeDirectory(root)
  })

  test('status shows the whole cluster, whichever node is asked', async () => {
    const { code, stdout } = await understudy(['status', '--url', urls.c!])
    assert.equal(code, 0)
    assert.match(stdout, /^cluster demo · shard main · durability standby, inSyncMin 2 · in-sync set/)
    assert.match(stdout, /\na +primary +primary +1@a +1@a\.1 /)
    assert.match(stdout, /\nb +standby +streaming +1@a .* yes /)
    const { warnings, shards } = await picture('b')
    assert.deepEqual(warnings, [])
    assert.equal(shards[0]!.primary, 'a')
  })

  test('in-sync asks the primary: exit code 3 elsewhere, 2 for a node that is none', async () => {
    const [elsewhere, unknown] = await Promise.all([
      understudy(['in-sync', '--url', urls.b!, '--remove', 'c', '--json']),
      understudy(['in-sync', '--url', urls.a!, '--remove', 'z', '--json']),
    ])
    assert.equal(elsewhere.code, 3)
    assert.equal(codedError(elsewhere).code, 'UNDERSTUDY_NOT_PRIMARY')
    assert.notEqual(unknown.code, 0)
  })

  test('J5: journal finds the journal, and its raw bytes are the same on every node', async () => {
    await put(2000)
    await until('a', (shard) => shard.nodes.every((node) => node.position === '1@a.2'))
    const [a, b, table, json, none] = await Promise.all([
      understudy(['journal', data('a'), '--raw', '--from', '2'], { binary: true }),
      understudy(['journal', join(data('b'), 'shards', 'main'), '--raw', '--from', '2'], { binary: true }),
      understudy(['journal', join(data('a'), 'shards', 'main', 'current', 'journal')]),
      understudy(['journal', data('b'), '--json', '--from', '2']),
      understudy(['journal', root]),
    ])
    assert.equal(a.code, 0)
    assert.ok(a.stdout.length > 1_000_000)
    assert.ok(a.stdout === b.stdout)
    assert.equal(table.code, 0)
    assert.match(table.stdout, /block 2 {2}epoch 1@a {2}1 entry {2}2,000 operations/)
    assert.match(table.stdout, /no damage\n$/)
    const records = json.stdout.trim().split('\n')
    const blocks = records.map((line) => JSON.parse(line)).filter((record) => record.type === 'block')
    assert.deepEqual(
      blocks.map((block) => [block.sequence, block.operations]),
      [[2, 2000]],
    )
    assert.equal(none.code, 2)
  })

  test('S1: bootstrap builds an empty directory, and serve follows without another one', async () => {
    assert.equal(await nodes.get('c')!.end(), 0)
    await rm(data('c'), { recursive: true })
    const built = await understudy(['bootstrap', '--data', data('c'), '--node', 'c', '--from', urls.b!, '--json'])
    assert.equal(built.code, 0, built.stderr)
    const events = built.stdout.trim().split('\n')
    const done = JSON.parse(events.at(-1)!)
    assert.equal(done.result, 'built')
    assert.equal(done.position, '1@a.2')
    assert.equal(done.entries, 2000)
    assert.equal(JSON.parse(events.at(-2)!).phase, 'done')
    assert.equal(JSON.parse(events.at(-2)!).source, 'b')
    const again = await understudy(['bootstrap', '--data', data('c'), '--node', 'c', '--from', urls.a!])
    assert.equal(again.code, 0, again.stderr)
    assert.match(again.stdout, /nothing was changed/)
    const node = await serve('c')
    await until('a', (shard) => shard.inSync.length === 3)
    assert.ok(!node.stderr.includes('bootstrapping'))
    const locked = await understudy(['bootstrap', '--data', data('c'), '--node', 'c', '--from', urls.a!, '--replace'])
    assert.equal(locked.code, 4)
  })

  test('B1: an interrupted bootstrap resumes where it stopped', async () => {
    const target = join(root, 'resumed')
    const args = ['bootstrap', '--data', target, '--node', 'd', '--from', urls.a!, '--json']
    // Slow enough to be seen between its first chunk and its end.
    const cut = await understudy([...args, '--bootstrap-max-rate', '400KiB'], { interruptAt: '"phase":"transferring"' })
    assert.equal(cut.code, 1, cut.stderr)
    assert.equal(codedError(cut).code, 'UNDERSTUDY_ABORTED')
    assert.match(cut.stderr, /resumes/)
    const resumed = await understudy(args)
    assert.equal(resumed.code, 0, resumed.stderr)
    assert.match(resumed.stderr, /knows no member d/)
    assert.match(JSON.parse(resumed.stdout.trim().split('\n').at(-1)!).resumedFrom, /family default from key/)
  })

  test('data of another history is given up only with --replace, and is there until then', async () => {
    const target = join(root, 'other')
    const args = ['--data', target, '--cluster', 'demo', '--node', 'd']
    const other = new ServeProcess([...args, '--listen', '127.0.0.1:0'])
    const url = await other.url()
    await fetch(`${url}/v1/kv/precious`, { method: 'PUT', body: 'x' })
    await other.end()
    const from = ['bootstrap', ...args, '--from', urls.a!, '--json']
    const refused = await understudy(from)
    assert.equal(refused.code, 1)
    const { code, message, hint } = codedError(refused)
    assert.equal(code, 'UNDERSTUDY_HISTORY_MISMATCH')
    assert.match(message, /holds history [0-9a-f]{32}, a [0-9a-f]{32}/)
    assert.match(hint ?? '', /--replace/)
    // Damage of what is given up does not stand in the way either.
    const damaged = join(root, 'damaged')
    await cp(target, damaged, { recursive: true })
    await writeFile(join(damaged, 'shards', 'main', 'current', 'shard.json'), 'garbage\n{}')
    const onDamaged = ['bootstrap', '--data', damaged, '--node', 'd', '--from', urls.a!]
    const corrupt = await understudy(onDamaged)
    assert.equal(corrupt.code, 5, corrupt.stderr)
    for (const command of [from, onDamaged]) {
      const replaced = await understudy([...command, '--replace'])
      assert.equal(replaced.code, 0, replaced.stderr)
    }
    const built = await understudy([...from])
    assert.match(built.stdout, /"result":"present"/)
  })

  test('bootstrap writes nothing when the source refuses: exit codes 2 and 4', async () => {
    const target = join(root, 'never')
    const args = ['bootstrap', '--data', target, '--node']
    const [mismatch, name, silent] = await Promise.all([
      understudy([...args, 'd', '--cluster', 'other', '--from', urls.a!]),
      understudy([...args, 'a', '--from', urls.a!]),
      understudy([...args, 'd', '--from', '127.0.0.1:1']),
    ])
    assert.equal(mismatch.code, 2, mismatch.stderr)
    assert.match(mismatch.stderr, /CLUSTER_MISMATCH/)
    assert.equal(name.code, 2, name.stderr)
    assert.equal(silent.code, 4, silent.stderr)
    await assert.rejects(readFile(join(target, 'understudy.json')), { code: 'ENOENT' })
  })

  test('promote: taken over with all nodes alive', async () => {
    const promoted = await understudy(['promote', '--url', urls.b!])
    assert.equal(promoted.code, 0, promoted.stderr)
    assert.match(promoted.stdout, /^node b is the primary in epoch 2@b/)
    await until('c', (shard) => shard.primary === 'b' && shard.inSync.length === 3)
  })

  test('C8: promote alone is refused with what --force would lose (1), forced it waits for others (4)', async () => {
    await Promise.all([nodes.get('b')!.end('SIGKILL'), nodes.get('a')!.end('SIGKILL')])
    const refused = await understudy(['promote', '--url', urls.c!])
    assert.equal(refused.code, 1, refused.stderr)
    assert.match(refused.stderr, /PROMOTION_REFUSED: 1 of 3 nodes answer/)
    assert.match(refused.stderr, /with --force: c ends at 3;.*cannot be known \(a, last seen at 3; b, last seen at 3\)/)
    const forced = await understudy(['promote', '--url', urls.c!, '--force', '--timeout', '3s', '--json'])
    assert.equal(forced.code, 4, forced.stderr)
    assert.match(codedError(forced).message, /has taken epoch 3@c/)
    const { warnings } = await picture('c')
    assert.match(warnings[0]!, /no primary/)
    assert.ok(warnings.some((warning) => /^a: UNDERSTUDY_UNAVAILABLE/.test(warning)))
    await serve('a')
    await until('a', (shard) => shard.primary === 'c')
  })
})
