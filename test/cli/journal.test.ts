import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { open, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { codedError, ServeProcess, understudy } from '../support/command.js'
import { makeDirectory, removeDirectory } from '../support/directory.js'

const program = fileURLToPath(new URL('../../../dist/cli/main.js', import.meta.url))

describe('journal', () => {
  let data = ''
  let file = ''
  before(async () => {
    data = join(await makeDirectory(), 'a')
    const node = new ServeProcess(['--data', data, '--cluster', 'c', '--node', 'a', '--listen', '127.0.0.1:0'])
    const url = await node.url()
    for (let index = 0; index < 20; index++) {
      const answer = await fetch(`${url}/v1/kv/key-${index}`, { method: 'PUT', body: 'v'.repeat(20_000) })
      assert.equal(answer.status, 204)
    }
    await node.end()
    const directory = join(data, 'shards', 'main', 'current', 'journal')
    const segments = (await readdir(directory)).filter((name) => name.endsWith('.journal'))
    file = join(directory, segments[0]!)
  })
  after(() => removeDirectory(join(data, '..')))

  test('a reader that stops is no failure', () => {
    const command = `"${process.execPath}" "${program}" journal "${data}" --raw | head -c 10 | wc -c; exit "\${PIPESTATUS[0]}"`
    const run = spawnSync('bash', ['-c', command], { encoding: 'utf8' })
    assert.equal(run.status, 0, run.stderr)
    assert.equal(run.stdout.trim(), '10')
    assert.equal(run.stderr, '')
  })

  test('J2: corruption is said with file, offset, expected, found and verdict; exit code 5', async () => {
    const blocks = (await understudy(['journal', file, '--json'])).stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
      .filter((record) => record.type === 'block')
    const hurt = blocks[5]
    const handle = await open(file, 'r+')
    await handle.write(Buffer.from([0xff, 0xff]), 0, 2, hurt.offset + 1000)
    await handle.close()
    const [table, json, raw] = await Promise.all([
      understudy(['journal', data]),
      understudy(['journal', data, '--json']),
      understudy(['journal', data, '--raw'], { binary: true }),
    ])
    for (const result of [table, json, raw]) assert.equal(result.code, 5, result.stderr)
    assert.match(table.stdout, /damage \(corruption\).*expected .*found /)
    assert.match(table.stdout, /damaged in 1 place\n$/)
    assert.match(table.stderr, new RegExp(`UNDERSTUDY_CORRUPTION: .*\\.journal at byte ${hurt.offset}: expected`))
    const damage = json.stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
      .find((record) => record.type === 'damage')
    assert.equal(damage.offset, hurt.offset)
    assert.equal(damage.verdict, 'corruption')
    assert.equal(codedError(json).code, 'UNDERSTUDY_CORRUPTION')
    // The blocks before the damage are printed, and nothing behind it.
    const before = blocks.slice(0, 5).reduce((sum, block) => sum + block.bytes, 0)
    assert.equal(raw.stdout.length, before)
  })

  test('a node refuses to serve from it: exit code 5, nothing shorter', async () => {
    const args = ['--data', data, '--cluster', 'c', '--node', 'a', '--listen', '127.0.0.1:0', '--log-level', 'silent']
    const result = await understudy(['serve', ...args])
    assert.equal(result.code, 5, result.stderr)
    assert.match(result.stderr, /UNDERSTUDY_CORRUPTION/)
  })
})
