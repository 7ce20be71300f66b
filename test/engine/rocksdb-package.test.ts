import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { cp, mkdir, readdir, readFile, realpath, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { makeDirectory, removeDirectory } from '../support/directory.js'
import { needsRocksdb } from '../support/rocksdb.js'

const root = fileURLToPath(new URL('../../..', import.meta.url))
const built = join(root, 'native/rocksdb/build/Release/understudy_rocksdb.node')
const name = `understudy-db-rocksdb-${process.platform}-${process.arch}`
const needs =
  needsRocksdb.skip === false && (!existsSync('/usr/bin/dpkg-query') || !existsSync(built))
    ? { skip: 'packages are made of what was built, on Debian and its kin' }
    : needsRocksdb

/** Opens a database, and prints what it read and where the libraries of the engine come from. */
const program = `
import { readFileSync } from 'node:fs'
import { open } from 'understudy-db'
try {
  const db = await open(process.argv[2], { engine: 'rocksdb', keyEncoding: 'utf8', valueEncoding: 'json' })
  await db.put('k', { v: 1 })
  const value = await db.get('k')
  const maps = readFileSync('/proc/self/maps', 'utf8')
  const names = maps.match(/\\S*(rocksdb|snappy|lz4|zstd|gflags|bz2|libz\\.)\\S*/g)
  await db.close()
  console.log(JSON.stringify({ value, libraries: [...new Set(names)] }))
} catch (wrapped) {
  const error = wrapped.cause ?? wrapped
  console.log(JSON.stringify({ code: error.code, message: error.message, hint: error.hint }))
}`

interface Answer {
  readonly value?: unknown
  readonly libraries?: readonly string[]
  readonly code?: string
  readonly message?: string
  readonly hint?: string
}

function run(command: string, args: readonly string[], cwd: string): string {
  const { status, stdout, stderr } = spawnSync(command, args, { cwd, encoding: 'utf8' })
  assert.equal(status, 0, `${command} ${args.join(' ')}: ${stderr}`)
  return stdout
}

/** The main package as it is installed where nothing is built, and a program that uses it. */
async function installMain(context: TestContext): Promise<string> {
  const directory = await realpath(await makeDirectory())
  context.after(() => removeDirectory(directory))
  const modules = join(directory, 'node_modules')
  await mkdir(join(modules, 'understudy-db'), { recursive: true })
  for (const part of ['package.json', 'dist']) {
    await cp(join(root, part), join(modules, 'understudy-db', part), { recursive: true })
  }
  for (const dependency of await readdir(join(root, 'node_modules'))) {
    if (!dependency.startsWith('.')) await symlink(join(root, 'node_modules', dependency), join(modules, dependency))
  }
  await writeFile(join(directory, 'program.mjs'), program)
  return directory
}

function answerOf(directory: string, ...wrap: string[]): Answer {
  const [command = '', ...args] = [...wrap, process.execPath, 'program.mjs', 'data']
  return JSON.parse(run(command, args, directory)) as Answer
}

describe('engine rocksdb, the package of a platform', { ...needs, timeout: 120_000 }, () => {
  test('it is packed, installed in an empty folder, and brings every library that it needs', async (context) => {
    const directory = await installMain(context)
    const without = answerOf(directory)
    assert.equal(without.code, 'UNDERSTUDY_CONFIG')
    assert.match(without.hint ?? '', /librocksdb-dev/)

    run(process.execPath, [join(root, 'scripts/pack-platform.mjs'), directory], root)
    const [packed] = (await readdir(directory)).filter((file) => file.endsWith('.tgz'))
    const empty = join(directory, 'empty')
    await mkdir(empty)
    await writeFile(join(empty, 'package.json'), '{}')
    run('npm', ['install', '--offline', '--no-audit', '--no-fund', join(directory, packed!)], empty)
    const installed = join(directory, 'node_modules', name)
    await cp(join(empty, 'node_modules', name), installed, { recursive: true })

    const { value, libraries = [] } = answerOf(directory)
    assert.deepEqual(value, { v: 1 })
    const shared = libraries.filter((path) => !path.startsWith(join(directory, 'data')))
    assert.ok(shared.some((path) => path.includes('librocksdb')))
    assert.deepEqual(
      shared.filter((path) => !path.startsWith(installed)),
      [],
    )

    // As where the system has no such library: it is hidden in a mount namespace of its own.
    const [library] = /\S*librocksdb\.so\S*/.exec(run('ldd', [built], root).split('=> ')[1] ?? '') ?? []
    const hidden = ['unshare', '--user', '--map-root-user', '--mount', 'sh', '-c']
    const bind = `mount --bind /dev/null ${await realpath(library ?? '')} && exec "$0" "$@"`
    if (spawnSync(hidden[0]!, [...hidden.slice(1), bind, 'true']).status === 0) {
      assert.deepEqual(answerOf(directory, ...hidden, bind).value, { v: 1 })
    } else context.diagnostic('unshare is not allowed here: the library of the system was not hidden')

    const manifest = JSON.parse(await readFile(join(installed, 'package.json'), 'utf8')) as object
    await writeFile(join(installed, 'package.json'), JSON.stringify({ ...manifest, version: '9.9.9' }))
    const other = answerOf(directory)
    assert.equal(other.code, 'UNDERSTUDY_CONFIG')
    assert.match(other.message ?? '', /is of version 9\.9\.9/)
  })
})
