import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { ClassicLevel } from 'classic-level'
import { type ContentEntry, type ContentReader, checkContent } from '#src/cli/content.js'
import { limits } from '#src/core/limits.js'
import { open as openUnderstudy } from '#src/index.js'
import { until } from '../support/cluster.js'
import { codedError, environment, ServeProcess, understudy } from '../support/command.js'
import { makeDirectory, removeDirectory } from '../support/directory.js'
import { ask } from '../support/http.js'
import { needsRocksdb } from '../support/rocksdb.js'

const program = fileURLToPath(new URL('../../../dist/cli/main.js', import.meta.url))
const bytes = { keyEncoding: 'buffer', valueEncoding: 'buffer' } as const

type Pairs = ReadonlyArray<readonly [string, string]>

/** Keys and values as hexadecimal digits, in key order. */
const binary: Pairs = [
  ['', 'empty key'],
  ['00', '00'],
  ['00ff', ''],
  ['216e616d6521', 'a key as sublevels make them'],
  ['7f', '80'],
  ['c3a9', 'text'],
  ['ff', 'ff'.repeat(2000)],
  ['ffff00', '00ff'],
].map(([key = '', value = '']) => [key, /^[0-9a-f]*$/.test(value) ? value : Buffer.from(value).toString('hex')])

async function makeLevel(directory: string, pairs: Pairs, more = 0): Promise<void> {
  const level = new ClassicLevel<Buffer, Buffer>(directory, bytes)
  const put = (key: Buffer, value: Buffer) => ({ type: 'put' as const, key, value })
  await level.batch(pairs.map(([key, value]) => put(Buffer.from(key, 'hex'), Buffer.from(value, 'hex'))))
  for (let at = 0; at < more; at += 5000) {
    const batch = Array.from({ length: 5000 }, (_, index) =>
      put(Buffer.from(`key ${String(at + index).padStart(8, '0')}`), Buffer.alloc(100, index % 256)),
    )
    await level.batch(batch)
  }
  await level.close()
}

async function contentOfLevel(directory: string): Promise<Pairs> {
  const level = new ClassicLevel<Buffer, Buffer>(directory, { ...bytes, createIfMissing: false })
  try {
    const entries = await level.iterator().all()
    return entries.map(([key, value]) => [key.toString('hex'), value.toString('hex')])
  } finally {
    await level.close()
  }
}

async function contentOfUnderstudy(directory: string): Promise<Pairs> {
  const db = await openUnderstudy<Buffer, Buffer>(directory, { ...bytes, createIfMissing: false })
  try {
    const entries = await db.iterator().all()
    return entries.map(([key, value]) => [key.toString('hex'), value.toString('hex')])
  } finally {
    await db.close()
  }
}

describe('import and export', () => {
  let directory = ''
  const at = (name: string) => join(directory, name)
  before(async () => {
    directory = await makeDirectory()
    await makeLevel(at('old'), binary)
  })
  after(() => removeDirectory(directory))

  for (const engine of ['level', 'rocksdb']) {
    const options = { timeout: 60_000, ...(engine === 'rocksdb' ? needsRocksdb : {}) }
    test(`binary keys and values survive the way in and out (${engine})`, options, async () => {
      const [data, out] = [at(`data-${engine}`), at(`out-${engine}`)]
      const args = ['--data', data, '--engine', engine]
      const imported = await understudy(['import', at('old'), ...args, '--json'])
      assert.equal(imported.code, 0, imported.stderr)
      const { entries, digest, others } = JSON.parse(imported.stdout)
      assert.deepEqual([entries, others], [binary.length, 0])
      const exported = await understudy(['export', out, ...args, '--json'])
      assert.equal(exported.code, 0, exported.stderr)
      assert.equal(JSON.parse(exported.stdout).digest, digest, 'the same digest on both ways')
      assert.deepEqual(await contentOfLevel(out), binary)
      assert.deepEqual(await contentOfLevel(at('old')), binary, 'the source is as it was')
      if (engine === 'level') assert.deepEqual(await contentOfUnderstudy(data), binary, 'the library opens it')
      const lines = await understudy(['export', '-', ...args])
      assert.equal(lines.code, 0, lines.stderr)
      assert.equal(lines.stdout.trim().split('\n').length, binary.length)
      assert.deepEqual(JSON.parse(lines.stdout.split('\n')[1]!), { key: '\0', value: '\0' })
      const file = at(`${engine}.ndjson`)
      assert.equal((await understudy(['export', file, ...args])).code, 0)
      assert.equal(await readFile(file, 'utf8'), lines.stdout)
      assert.equal((await understudy(['export', file, ...args])).code, 2, 'nothing is overwritten')
    })
  }

  test('a running node: imported, refused when it is not empty, added with --force', { timeout: 60_000 }, async () => {
    const args = ['--cluster', 'shop', '--node', 'a', '--listen', '127.0.0.1:0', '--data', at('served')]
    const serve = new ServeProcess(args)
    try {
      const url = await serve.url()
      const imported = await understudy(['import', at('old'), '--url', url, '--json'])
      assert.equal(imported.code, 0, imported.stderr)
      const again = await understudy(['import', at('old'), '--url', url, '--json'])
      assert.equal(again.code, 2)
      assert.match(codedError(again).message, /holds entries already/)
      await makeLevel(at('more'), [['aa', 'bb']])
      const forced = await understudy(['import', at('more'), '--url', url, '--force', '--json'])
      assert.equal(forced.code, 0, forced.stderr)
      assert.deepEqual([JSON.parse(forced.stdout).entries, JSON.parse(forced.stdout).others], [1, binary.length])
      const exported = await understudy(['export', at('from-node'), '--url', url])
      assert.equal(exported.code, 0, exported.stderr)
      const expected = [...binary, ['aa', 'bb'] as const].sort(([a], [b]) => (a < b ? -1 : 1))
      assert.deepEqual(await contentOfLevel(at('from-node')), expected)
      const unknown = await understudy(['export', at('none'), '--url', url, '--family', 'nope', '--json'])
      assert.equal(unknown.code, 2)
      assert.equal(codedError(unknown).code, 'UNDERSTUDY_UNKNOWN_FAMILY')
      assert.equal(existsSync(at('none')), false)
    } finally {
      await serve.end()
    }
  })

  test('interrupted on its way into a running node, the same command with --force completes it', {
    timeout: 120_000,
  }, async () => {
    await makeLevel(at('long-way'), [], 250_000)
    const place = ['--cluster', 'shop', '--node', 'a', '--listen', '127.0.0.1:0', '--data', at('served-2')]
    const serve = new ServeProcess(place)
    try {
      const url = await serve.url()
      const hasSome = async () => {
        const { status, text } = await ask(new URL(url).host, '/v1/kv?limit=1')
        return status === 200 && text !== ''
      }
      const child = spawn(process.execPath, [program, 'import', at('long-way'), '--url', url, '--json'], {
        env: environment(),
      })
      const closed = once(child, 'close')
      let stderr = ''
      child.stderr.on('data', (piece: Buffer) => {
        stderr += piece.toString()
      })
      await until(hasSome, 'something has arrived')
      child.kill('SIGINT')
      const [code] = (await closed) as [number | null]
      assert.equal(code, 1)
      assert.match(stderr, /UNDERSTUDY_ABORTED.*--force completes it/)
      const done = await understudy(['import', at('long-way'), '--url', url, '--force', '--json'])
      assert.equal(done.code, 0, done.stderr)
      assert.deepEqual([JSON.parse(done.stdout).entries, JSON.parse(done.stdout).others], [250_000, 0])
    } finally {
      await serve.end()
    }
  })

  test('F9: what is interrupted is never there under its name, and the same command does it', {
    timeout: 120_000,
  }, async () => {
    await makeLevel(at('large'), [], 100_000)
    const building = at('.target.importing')
    for (const signal of ['SIGINT', 'SIGKILL'] as const) {
      const child = spawn(process.execPath, [program, 'import', at('large'), '--data', at('target'), '--json'], {
        env: environment(),
      })
      const closed = once(child, 'close')
      await until(() => existsSync(join(building, 'shards')), 'the import has begun')
      child.kill(signal)
      const [code] = (await closed) as [number | null]
      assert.equal(code, signal === 'SIGINT' ? 1 : null)
      assert.equal(existsSync(at('target')), false)
      assert.equal(existsSync(building), signal === 'SIGKILL', 'only a kill leaves something behind')
    }
    const done = await understudy(['import', at('large'), '--data', at('target'), '--json'])
    assert.equal(done.code, 0, done.stderr)
    assert.equal(JSON.parse(done.stdout).entries, 100_000)
    assert.equal(existsSync(building), false)
  })

  test('refused with the reason: no LevelDB, one in use, an understudy directory, a full target, both targets', async () => {
    await mkdir(at('empty'))
    await mkdir(at('full'))
    await writeFile(at('full/file'), 'x')
    const held = new ClassicLevel(at('held'))
    await held.open()
    try {
      const cases: ReadonlyArray<readonly [string, readonly string[], number, RegExp]> = [
        ['nowhere', ['--data', at('t')], 2, /no such directory/],
        ['empty', ['--data', at('t')], 2, /no LevelDB directory/],
        ['held', ['--data', at('t')], 4, /open in another process/],
        ['old', ['--data', at('full')], 2, /is not empty/],
        ['old', ['--url', 'http://127.0.0.1:1'], 4, /does not answer/],
        ['old', [], 2, /neither --url/],
        ['old', ['--url', 'http://127.0.0.1:1', '--data', at('t')], 2, /exclude each other/],
        ['old', ['--data', at('t'), '--engine', 'lmdb'], 2, /engine: must be/],
      ]
      for (const [source, args, code, message] of cases) {
        const result = await understudy(['import', at(source), ...args, '--json'])
        assert.equal(result.code, code, `${source} ${args}: ${result.stderr}`)
        assert.match(codedError(result).message, message)
      }
      await understudy(['import', at('old'), '--data', at('own')])
      const own = await understudy(['import', at('own'), '--data', at('t'), '--json'])
      assert.equal(own.code, 2)
      assert.match(codedError(own).message, /data directory of understudy/)
    } finally {
      await held.close()
    }
    assert.equal(existsSync(at('t')), false)
    assert.deepEqual(
      (await readdir(directory)).filter((name) => name.startsWith('.')),
      [],
      'nothing is left behind',
    )
  })

  test('an entry that no node takes is named before it is written', { timeout: 60_000 }, async () => {
    await makeLevel(at('long'), [['61'.repeat(limits.keyBytesMax + 1), '00']])
    const result = await understudy(['import', at('long'), '--data', at('t2'), '--json'])
    assert.equal(result.code, 1)
    assert.equal(codedError(result).code, 'UNDERSTUDY_LIMIT_EXCEEDED')
    assert.match(codedError(result).message, /key "aaaa/)
    assert.equal(existsSync(at('t2')), false)
  })
})

describe('what was imported is read back', () => {
  const store = (content: Readonly<Record<string, string>>): ContentReader => ({
    async *read() {
      const entries = Object.entries(content).map(
        ([key, value]): ContentEntry => [Buffer.from(key), Buffer.from(value)],
      )
      for (const entry of entries) yield [entry]
    },
  })
  const check = (there: Readonly<Record<string, string>>) =>
    checkContent(store({ a: '1', b: '2' }), store(there), new AbortController().signal, () => undefined)

  test('F46: a missing key and another value are found, others are counted', async () => {
    const { entries, others } = await check({ '0': 'x', a: '1', ab: 'x', b: '2', c: 'x' })
    assert.deepEqual([entries, others], [2, 3])
    await assert.rejects(check({ a: '1' }), /key "b" is missing/)
    await assert.rejects(check({ b: '2' }), /key "a" is missing/)
    await assert.rejects(check({ a: '1', b: '3' }), /key "b" has another value/)
    await assert.rejects(check({}), /key "a" is missing/)
  })
})
