/** The file operations of a real process fail as they are told to, and the simulated disk knows the same failures. */
import assert from 'node:assert/strict'
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import type { File, FileSystem } from '#src/ports/file-system.js'
import { type DiskFault, diskError, SimulatedDisk } from '#src/sim/disk.js'
import { FaultyDisk } from './fs-shim/faulty-disk.js'
import { undoUnsynced } from './fs-shim/power-loss.js'
import { needsShim } from './fs-shim/shim-library.js'

const program = fileURLToPath(new URL('./fs-shim/shim-child.js', import.meta.url))

interface Answer {
  readonly value?: unknown
  readonly code?: string
  readonly message?: string
}

class Child {
  readonly path: string
  readonly disk: FaultyDisk
  private readonly child: ChildProcessWithoutNullStreams
  private readonly lines: AsyncIterator<string>

  constructor(directory: string, name: string, options: { readonly undo?: boolean } = {}) {
    this.path = join(directory, name)
    this.disk = new FaultyDisk(directory, `${name}-disk`, options)
    const [command = '', ...line] = [...this.disk.launcher, process.execPath, program, this.path]
    this.child = spawn(command, line, { stdio: 'pipe' })
    this.child.stderr.on('data', (text: Buffer) => console.error(String(text)))
    this.lines = createInterface({ input: this.child.stdout })[Symbol.asyncIterator]()
  }

  async does(step: string, text = ''): Promise<Answer> {
    this.child.stdin.write(`${JSON.stringify([step, text])}\n`)
    const { value } = await this.lines.next()
    if (value === undefined) throw new Error(`the child ended: ${this.child.exitCode}`)
    return JSON.parse(value) as Answer
  }

  /** As `does`, and it must succeed. */
  async must(step: string, text = ''): Promise<unknown> {
    const { code, message, value } = await this.does(step, text)
    assert.equal(code, undefined, message)
    return value
  }

  async kill(): Promise<void> {
    if (this.child.signalCode !== null) return
    const ended = new Promise((resolve) => this.child.once('exit', resolve))
    this.child.kill('SIGKILL')
    await ended
  }
}

describe('file operations of a process that are made to fail', needsShim(), () => {
  const directory = mkdtempSync(join(tmpdir(), 'understudy-shim-test-'))
  const children: Child[] = []
  let count = 0
  const start = (options: { readonly undo?: boolean } = {}) => {
    const child = new Child(directory, `file-${count++}`, options)
    children.push(child)
    return child
  }
  after(async () => {
    for (const child of children) {
      child.disk.heal()
      await child.kill()
      child.disk.close()
    }
    rmSync(directory, { recursive: true, force: true })
  })

  for (const [step, text, calls] of [
    ['write', 'abcdef', 'write'],
    ['read', '3', 'read'],
    ['sync', '', 'sync'],
    ['datasync', '', 'sync'],
    ['truncate', '2', 'truncate'],
    ['rename', join(directory, 'renamed'), 'rename'],
    ['open', '', 'open'],
    ['remove', '', 'unlink'],
    ['syncDirectory', directory, 'sync'],
  ] as const) {
    test(`${step}: EIO once, after one that passes, and nothing else of it happens`, async () => {
      const child = start()
      await child.must('create')
      await child.must('write', 'before')
      const path = step === 'rename' || step === 'syncDirectory' ? text : child.path
      const fault = child.disk.fault({ path, calls: [calls], count: 1, after: step === 'write' ? 1 : 0 })
      if (step === 'write') await child.must('write', 'passes')
      const answer = await child.does(step, text)
      assert.equal(answer.code, 'EIO', answer.message)
      assert.equal(fault.injected, 1, 'F46: it was this rule')
      await child.must(step, text)
    })
  }

  test('a short write is continued where it ended, also in the middle of a part', async () => {
    const child = start()
    const fault = child.disk.fault({ path: child.path, calls: ['write'], action: 'short', count: 3 })
    await child.must('create')
    await child.must('write', 'what is written is whole')
    assert.equal(fault.injected, 3)
    assert.equal(await child.must('read', '100'), 'what is written is whole')
  })

  test('a full disk takes half of a write and refuses the rest; the simulated disk knows both', async () => {
    const child = start()
    await child.must('create')
    const short = child.disk.fault({ path: child.path, calls: ['write'], action: 'short', count: 1 })
    const full = child.disk.fault({ path: child.path, calls: ['write'], error: 'ENOSPC' })
    assert.equal((await child.does('write', 'abcdefgh')).code, 'ENOSPC')
    // libuv goes on with the rest itself, and tells the short count when that fails; the adapter goes on once more.
    assert.deepEqual([short.injected, full.injected], [1, 2])
    assert.equal(await child.must('read', '100'), 'abcd')
    const noSpace: DiskFault = (operation) => (operation === 'write' ? diskError('ENOSPC', 'write') : undefined)
    await simulated({ fault: noSpace }, async (file, _, disk) => {
      await assert.rejects(file.write([Buffer.from('abcdefgh')], 0), { code: 'ENOSPC' })
      assert.equal(Buffer.from(disk.content('/data/file')).toString(), 'abcd')
    })
  })

  test('F17: after an fsync that failed the next one succeeds and stores nothing: what was written may be gone', async () => {
    const child = start()
    child.disk.fault({ path: '/nothing', calls: ['sync'] })
    await child.must('create')
    await child.must('write', 'stored')
    await child.must('sync')
    await child.must('write', 'LOST!!!!!')
    const fault = child.disk.fault({ path: child.path, calls: ['sync'], action: 'drop', count: 1 })
    assert.equal((await child.does('datasync')).code, 'EIO')
    assert.equal(fault.injected, 1)
    await child.must('datasync')
    assert.equal(await child.must('read', '100'), 'stored')
    // The simulated disk: the pages count as clean, and a loss of power decides what became of them.
    let failing = false
    const fault2: DiskFault = (operation) =>
      failing && operation === 'datasync' ? diskError('EIO', 'datasync') : undefined
    await simulated({ fault: fault2 }, async (file, _, disk) => {
      await file.write([Buffer.from('stored')], 0)
      await file.datasync()
      await file.write([Buffer.from('LOST!!!!!')], 0)
      failing = true
      await assert.rejects(file.datasync())
      failing = false
      await file.datasync()
      disk.crash({ keep: 'none' })
      assert.equal(Buffer.from(disk.content('/data/file')).toString(), 'stored')
    })
  })

  test('a sync that hangs returns when it is let go, and a slow one in its time', async () => {
    const child = start()
    await child.must('create')
    const hang = child.disk.fault({ path: child.path, calls: ['sync'], action: 'hang' })
    let returned = false
    const syncing = child.must('sync').then(() => {
      returned = true
    })
    await hang.until()
    assert.equal(returned, false)
    hang.remove()
    await syncing
    child.disk.fault({ path: child.path, calls: ['sync'], action: 'delay', delayMs: 200 })
    const startedMs = performance.now()
    await child.must('sync')
    assert.ok(performance.now() - startedMs >= 199)
  })

  test('which calls fail follows from the seed', async () => {
    const patterns: string[] = []
    for (let run = 0; run < 2; run++) {
      const child = start()
      await child.must('create')
      child.disk.fault({ path: child.path, calls: ['sync'], probability: 0.5, seed: 7 })
      let pattern = ''
      for (let call = 0; call < 40; call++) pattern += (await child.does('sync')).code === undefined ? '.' : 'x'
      patterns.push(pattern)
    }
    assert.equal(patterns[0], patterns[1])
    assert.ok(/x/.test(patterns[0]!) && /\./.test(patterns[0]!), patterns[0])
  })

  test('LevelDB too: its own files fail, and it says so', async () => {
    const child = start()
    const path = join(directory, 'level')
    await child.must('level', path)
    await child.must('put', 'one')
    const fault = child.disk.fault({ path: `${path}/*.log`, calls: ['sync'], count: 1 })
    const answer = await child.does('put', 'two')
    assert.notEqual(answer.code, undefined, 'not swallowed')
    assert.match(answer.message ?? '', /Input\/output error/)
    assert.equal(fault.injected, 1)
  })

  test('J3: a kill and then a loss of power takes what was not synced, and nothing else', async () => {
    const child = start({ undo: true })
    await child.must('create')
    await child.must('write', 'synced')
    await child.must('sync')
    await child.must('write', 'NOT SYNCED')
    await child.must('write', 'neither')
    await child.kill()
    assert.equal(readFileSync(child.path, 'utf8'), 'neitherCED', 'the page cache outlives the process')
    const undone = undoUnsynced(child.disk.undoFile, () => true)
    assert.equal(undone, 2)
    assert.equal(readFileSync(child.path, 'utf8'), 'synced')
  })
})

/** A file of a simulated disk. */
async function simulated(
  options: ConstructorParameters<typeof SimulatedDisk>[0],
  work: (file: File, files: FileSystem, disk: SimulatedDisk) => Promise<void>,
): Promise<void> {
  const disk = new SimulatedDisk(options)
  const files = disk.process()
  await files.makeDirectory('/data')
  await files.syncDirectory('/')
  const file = await files.open('/data/file', 'create')
  await files.syncDirectory('/data')
  await work(file, files, disk)
}
