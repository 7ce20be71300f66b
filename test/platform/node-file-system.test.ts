import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { nodeFileSystem as fs } from '#src/platform/node-file-system.js'
import { writeAll } from '#src/platform/write-all.js'

let directory = ''
before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'understudy-fs-'))
})
after(() => rm(directory, { recursive: true }))

describe('node file system', () => {
  test('writes parts in order at an offset and reads them back, fewer only at the end', async () => {
    const path = fs.join(directory, 'file')
    const file = await fs.open(path, 'create')
    await file.write([Buffer.from('abc'), Buffer.from(''), Buffer.from('defg')], 5)
    await file.datasync()
    await file.sync()
    assert.equal(await file.size(), 12)
    const into = Buffer.alloc(20)
    assert.equal(await file.read(into, 4), 8)
    assert.equal(into.toString('latin1', 0, 8), '\0abcdefg')
    assert.equal(await file.read(into, 12), 0)
    await file.truncate(6)
    await file.close()
    await file.close()
    assert.deepEqual(Buffer.from(await fs.readFile(path, 6)), Buffer.from('\0\0\0\0\0a'))
    await assert.rejects(fs.readFile(path, 5), { code: 'EFBIG' })
    await assert.rejects(fs.open(path, 'create'), { code: 'EEXIST' })
    await assert.rejects(fs.open(fs.join(directory, 'none'), 'write'), { code: 'ENOENT' })
    const reading = await fs.open(path, 'read')
    await assert.rejects(reading.write([Buffer.from('x')], 0), { code: 'EBADF' })
    await reading.close()
  })

  test('names: list, stat, rename, remove, removeTree, syncDirectory', async () => {
    const deep = fs.join(directory, 'one', 'two')
    await fs.makeDirectory(deep)
    await fs.makeDirectory(deep)
    for (const name of ['b', 'a']) await (await fs.open(fs.join(deep, name), 'create')).close()
    assert.deepEqual(await fs.list(deep), ['a', 'b'])
    await fs.rename(fs.join(deep, 'a'), fs.join(deep, 'c'))
    await fs.remove(fs.join(deep, 'b'))
    await fs.syncDirectory(deep)
    assert.deepEqual(await fs.list(deep), ['c'])
    assert.deepEqual(await fs.stat(fs.join(deep, 'c')), { kind: 'file', bytes: 0 })
    assert.equal((await fs.stat(deep))?.kind, 'directory')
    assert.equal(await fs.stat(fs.join(deep, 'none')), undefined)
    await assert.rejects(fs.remove(fs.join(deep, 'none')), { code: 'ENOENT' })
    await assert.rejects(fs.list(fs.join(deep, 'none')), { code: 'ENOENT' })
    await fs.removeTree(fs.join(directory, 'one'))
    await fs.removeTree(fs.join(directory, 'one'))
    assert.equal(await fs.stat(deep), undefined)
  })

  test('S2: a directory is locked once, in this process and for others', async () => {
    const path = fs.join(directory, 'data')
    const lock = await fs.lock(path)
    assert.ok(lock !== undefined)
    assert.equal(await fs.lock(path), undefined)
    await lock.release()
    const again = await fs.lock(path)
    assert.ok(again !== undefined)
    await again.release()
  })

  test('S2: the lock of a process that was killed is free', async () => {
    const path = fs.join(directory, 'killed')
    const module = new URL('../../../dist/platform/node-file-system.js', import.meta.url)
    const script = `const { nodeFileSystem } = await import(${JSON.stringify(module.href)})
      console.log(await nodeFileSystem.lock(${JSON.stringify(path)}) !== undefined)
      setInterval(() => {}, 1000)`
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const [line] = await once(child.stdout, 'data')
    assert.equal(String(line).trim(), 'true')
    assert.equal(await fs.lock(path), undefined)
    child.kill('SIGKILL')
    await once(child, 'exit')
    const lock = await fs.lock(path)
    assert.ok(lock !== undefined)
    await lock.release()
  })
})

describe('writeAll', () => {
  test('F17: a short write is continued where it stopped', async () => {
    const parts = ['abcdef', 'gh', '', 'ijklmnop'].map((text) => Buffer.from(text))
    for (let step = 1; step <= 17; step++) {
      const disk = Buffer.alloc(20)
      const writer = {
        async writev(given: readonly NodeJS.ArrayBufferView[], offset: number) {
          const bytes = Buffer.concat(given.map((part) => Buffer.from(part.buffer, part.byteOffset, part.byteLength)))
          const bytesWritten = Math.min(step, bytes.length)
          bytes.copy(disk, offset, 0, bytesWritten)
          return { bytesWritten }
        },
      }
      await writeAll(writer, parts, 3)
      assert.equal(disk.toString('latin1', 3, 19), 'abcdefghijklmnop')
    }
  })

  test('F17: a write that makes no progress, or fails after some, is an error', async () => {
    const stuck = { writev: async () => ({ bytesWritten: 0 }) }
    await assert.rejects(writeAll(stuck, [Buffer.from('abc')], 0), { code: 'EIO' })
    let calls = 0
    const full = {
      async writev() {
        if (calls++ > 0) throw Object.assign(new Error('full'), { code: 'ENOSPC' })
        return { bytesWritten: 1 }
      },
    }
    await assert.rejects(writeAll(full, [Buffer.from('abc')], 0), { code: 'ENOSPC' })
  })
})
