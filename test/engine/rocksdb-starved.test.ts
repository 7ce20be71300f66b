import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { describe, type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { Journal } from '#src/engine/conformance/kit.js'
import { rocksdbEngine } from '#src/engine/rocksdb.js'
import { makeDirectory, removeDirectory } from '../support/directory.js'
import { needsRocksdb } from '../support/rocksdb.js'

const starved = fileURLToPath(new URL('../support/rocksdb-starved.js', import.meta.url))

async function temporary(context: TestContext): Promise<string> {
  const directory = await makeDirectory()
  context.after(() => removeDirectory(directory))
  return directory
}

describe('engine rocksdb, when the machine gives no more', { ...needsRocksdb, timeout: 120_000 }, () => {
  test('F17: a table file that cannot be written fails everything that writes, once and for all; reads go on', async (context) => {
    const directory = await temporary(context)
    const shell = ['-c', 'ulimit -f 4096; exec "$0" "$@"', process.execPath, starved, directory, 'files']
    const { stdout, stderr, status, signal } = spawnSync('sh', shell, { encoding: 'utf8' })
    assert.deepEqual([status, signal], [0, null], stderr)
    const { isPending, ...said } = JSON.parse(stdout)
    const close = isPending ? 'IO' : 'done'
    assert.deepEqual(said, { failed: 'IO', next: 'IO', read: 'done', scanned: 'done', close })
    const again = await rocksdbEngine.open(directory, new Journal().empty)
    assert.ok(again.opened.checkpoint !== undefined, 'what was flushed before is there')
    await again.close()
  })

  test('memory that runs out during a read is an error of that read, and the process lives', async (context) => {
    if (spawnSync('prlimit', ['--version']).status !== 0) return context.skip('there is no prlimit here')
    const directory = await temporary(context)
    const args = [starved, directory, 'memory']
    const { stdout, stderr, status, signal } = spawnSync(process.execPath, args, { encoding: 'utf8' })
    assert.deepEqual([status, signal], [0, null], stderr)
    assert.deepEqual(JSON.parse(stdout), { failed: 'IO', next: 'done', read: 'done', scanned: 'done', close: 'done' })
  })

  test('a full disk is DISK_FULL, and reads go on', async (context) => {
    // In a mount namespace of its own, gone with the process.
    const alone = ['--user', '--map-root-user', '--mount']
    const mounted = (...command: string[]) =>
      spawnSync('unshare', [...alone, 'sh', '-c', 'mount -t tmpfs -o size=16m none "$0" && exec "$@"', ...command], {
        encoding: 'utf8',
      })
    const directory = await temporary(context)
    if (mounted(directory, 'true').status !== 0) return context.skip('there is no unshare here, or it is not allowed')
    const { stdout, stderr, status, signal } = mounted(directory, process.execPath, starved, directory, 'files')
    assert.deepEqual([status, signal], [0, null], stderr)
    const full = 'DISK_FULL'
    const { isPending, ...said } = JSON.parse(stdout)
    const close = isPending ? full : 'done'
    assert.deepEqual(said, { failed: full, next: full, read: 'done', scanned: 'done', close })
  })
})
