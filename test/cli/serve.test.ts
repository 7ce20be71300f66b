import assert from 'node:assert/strict'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { codedError, ServeProcess, understudy } from '../support/command.js'
import { makeDirectory, removeDirectory } from '../support/directory.js'
import { closeServer, listenAnywhere } from '../support/listen.js'

/** An option for NODE_OPTIONS: the module runs before the program. */
function preload(module: string): string {
  return `--import data:text/javascript,${encodeURIComponent(module)}`
}

describe('serve', { concurrency: true }, () => {
  let root = ''
  before(async () => {
    root = await makeDirectory()
  })
  after(() => removeDirectory(root))
  const argsOf = (name: string, listen = '127.0.0.1:0') => [
    ...['--data', join(root, name), '--cluster', 'c', '--node', 'a', '--listen', listen],
  ]

  test('announces itself, answers, refuses a second process, and closes cleanly on SIGTERM', async () => {
    const node = new ServeProcess(argsOf('one'))
    try {
      const url = await node.url()
      const status = await understudy(['status', '--url', url])
      assert.equal(status.code, 0, status.stderr)
      assert.match(status.stdout, /warning: a: writes rest on one node only/)
      assert.match(status.stdout, /\na +primary +(primary|promoting)/)
      const second = await understudy(['serve', '--json', ...argsOf('one'), '--log-level', 'silent'])
      assert.equal(second.code, 4)
      assert.equal(codedError(second).code, 'UNDERSTUDY_LOCKED')
      assert.match(second.stderr, /in use by another process/)
    } finally {
      assert.equal(await node.end(), 0)
    }
    assert.match(node.stdout, /"event":"closed"/)
    // Every line on standard error is a log record of its own.
    for (const line of node.stderr.trim().split('\n')) assert.equal((JSON.parse(line) as { node: string }).node, 'a')
  })

  test('exit code 4 for an address in use, 2 for a directory of another node', async () => {
    const server = createServer()
    const address = await listenAnywhere(server)
    try {
      const taken = await understudy(['serve', ...argsOf('two', address), '--log-level', 'silent'])
      assert.equal(taken.code, 4)
      assert.match(taken.stderr, /UNDERSTUDY_ADDRESS_IN_USE/)
    } finally {
      await closeServer(server)
    }
    await writeFile(join(root, 'holiday.jpg'), '')
    const args = ['--data', root, '--cluster', 'c', '--node', 'a', '--listen', '127.0.0.1:0', '--log-level', 'silent']
    const foreign = await understudy(['serve', ...args])
    assert.equal(foreign.code, 2)
    assert.match(foreign.stderr, /UNDERSTUDY_FOREIGN_DIRECTORY/)
  })

  test('a second signal ends it at once; a bug ends it with its code in the log', async () => {
    // The bug comes when the node serves, however long it took to start.
    const bug = preload(`process.on('SIGUSR2', () => { Promise.reject(Error('boom')) })`)
    const node = new ServeProcess(argsOf('three'), { env: { NODE_OPTIONS: bug } })
    await node.url()
    node.child.kill('SIGUSR2')
    const [code] = (await once(node.child, 'close')) as [number]
    assert.equal(code, 1)
    assert.match(node.stderr, /"code":"UNDERSTUDY_INTERNAL".*boom/)

    // The first signal is not carried out before the second one is there too.
    const sent = join(root, 'both signals were sent')
    const stalled = preload(
      `import { existsSync } from 'node:fs'
       process.on('SIGTERM', () => { while (!existsSync(${JSON.stringify(sent)})); })`,
    )
    const other = new ServeProcess(argsOf('four'), { env: { NODE_OPTIONS: stalled } })
    await other.url()
    other.child.kill('SIGTERM')
    other.child.kill('SIGINT')
    await writeFile(sent, '')
    const [ended] = (await once(other.child, 'close')) as [number]
    assert.equal(ended, 1)
    assert.match(other.stderr, /second signal/)
  })

  test('a node with a secret answers only with it: file, variable, or exit code 1', async () => {
    const file = join(root, 'secret')
    await writeFile(file, 'open-sesame\n')
    const node = new ServeProcess([...argsOf('five'), '--secret-file', file])
    try {
      const url = await node.url()
      const [without, withFile, withVariable, wrong] = await Promise.all([
        understudy(['status', '--url', url, '--json']),
        understudy(['status', '--url', url, '--json', '--secret-file', file]),
        understudy(['status', '--json'], { env: { UNDERSTUDY_URL: url, UNDERSTUDY_SECRET: 'open-sesame' } }),
        understudy(['promote', '--url', url], { env: { UNDERSTUDY_SECRET: 'guess' } }),
      ])
      assert.equal(without.code, 1)
      assert.equal(codedError(without).code, 'UNDERSTUDY_UNAUTHORIZED')
      assert.equal(withFile.code, 0, withFile.stderr)
      assert.equal(withVariable.code, 0, withVariable.stderr)
      assert.equal(wrong.code, 1)
      assert.ok(!node.stderr.includes('open-sesame'))
    } finally {
      await node.end()
    }
  })
})
