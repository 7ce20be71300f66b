import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { diskError, type PowerLoss, SimulatedDisk } from '#src/sim/disk.js'

async function write(disk: SimulatedDisk, path: string, text: string, options: { sync?: boolean } = {}): Promise<void> {
  const process = disk.process()
  const file = await process.open(path, (await process.stat(path)) === undefined ? 'create' : 'write')
  await file.write([Buffer.from(text)], 0)
  if (options.sync) await file.sync()
}

async function text(disk: SimulatedDisk, path: string): Promise<string | undefined> {
  const process = disk.process()
  if ((await process.stat(path)) === undefined) return undefined
  return Buffer.from(await process.readFile(path, 1e6)).toString()
}

function after(disk: SimulatedDisk, loss: PowerLoss): SimulatedDisk {
  const copy = disk.clone()
  copy.crash(loss)
  return copy
}

describe('simulated disk', () => {
  test('content and names are durable only after their own sync', async () => {
    const disk = new SimulatedDisk()
    await write(disk, '/file', 'content', { sync: true })
    assert.equal(await text(after(disk, { keep: 'none' }), '/file'), undefined)
    assert.equal(await text(after(disk, { keep: 'all' }), '/file'), 'content')
    await disk.process().syncDirectory('/')
    assert.equal(await text(after(disk, { keep: 'none' }), '/file'), 'content')
    await write(disk, '/file', 'CONTENT')
    assert.equal(await text(after(disk, { keep: 'none' }), '/file'), 'content')
    assert.equal(await text(after(disk, { keep: 'all' }), '/file'), 'CONTENT')
  })

  test('any subset of unsynced writes survives, also sector by sector', async () => {
    const disk = new SimulatedDisk()
    const process = disk.process()
    const file = await process.open('/file', 'create')
    await process.syncDirectory('/')
    for (const [index, letter] of ['a', 'b', 'c'].entries()) await file.write([Buffer.from(letter)], index)
    const writes = disk.unsynced()
    assert.equal(writes.length, 3)
    assert.equal(await text(after(disk, { keep: (change) => change.index === writes[2]?.index }), '/file'), '\0\0c')
    await file.write([Buffer.alloc(1200, 'x')], 100)
    const sectors = disk.unsynced(true).slice(3)
    assert.deepEqual(
      sectors.map((change) => [change.offset, change.bytes]),
      [
        [100, 412],
        [512, 512],
        [1024, 276],
      ],
    )
    const torn = after(disk, { sectors: true, keep: (change) => change.offset === 512 })
    assert.equal(await text(torn, '/file'), `${'\0'.repeat(512)}${'x'.repeat(512)}`)
  })

  test('renames and removals are kept or lost by choice, a rename as a whole', async () => {
    const disk = new SimulatedDisk()
    const process = disk.process()
    await write(disk, '/a', 'old', { sync: true })
    await write(disk, '/b', 'new', { sync: true })
    await process.syncDirectory('/')
    await process.rename('/b', '/a')
    assert.equal(await text(after(disk, { keep: 'none' }), '/a'), 'old')
    assert.equal(await text(after(disk, { keep: 'none' }), '/b'), 'new')
    assert.equal(await text(after(disk, { keep: 'all' }), '/a'), 'new')
    assert.equal(await text(after(disk, { keep: 'all' }), '/b'), undefined)
    await process.syncDirectory('/')
    await process.remove('/a')
    assert.equal(await text(after(disk, { keep: 'none' }), '/a'), 'new')
    assert.equal(await text(after(disk, { keep: 'all' }), '/a'), undefined)
  })

  test('directories: what lies in one whose name was lost is lost; a renamed one takes its files along', async () => {
    const disk = new SimulatedDisk()
    const process = disk.process()
    await process.makeDirectory('/x/y')
    await write(disk, '/x/y/file', 'content', { sync: true })
    await process.syncDirectory('/x/y')
    assert.equal(await text(after(disk, { keep: 'none' }), '/x/y/file'), undefined)
    await process.syncDirectory('/x')
    await process.syncDirectory('/')
    await process.rename('/x', '/z')
    assert.equal(await text(after(disk, { keep: 'none' }), '/x/y/file'), 'content')
    assert.equal(await text(after(disk, { keep: 'all' }), '/z/y/file'), 'content')
    await process.removeTree('/z')
    assert.equal(await process.stat('/z'), undefined)
    assert.equal(await text(after(disk, { keep: 'none' }), '/x/y/file'), 'content')
  })

  test('F17: after a failed fsync the cache shows what the disk may not have, and the next fsync does not store it', async () => {
    const disk = new SimulatedDisk()
    await write(disk, '/file', 'old', { sync: true })
    const process = disk.process()
    await process.syncDirectory('/')
    const file = await process.open('/file', 'write')
    await file.write([Buffer.from('new')], 0)
    disk.fault = (operation) => (operation === 'datasync' ? diskError('EIO', 'fsync') : undefined)
    await assert.rejects(file.datasync(), { code: 'EIO' })
    disk.fault = undefined
    await file.datasync()
    assert.equal(await text(disk.clone(), '/file'), 'new')
    assert.equal(await text(after(disk, { keep: 'none' }), '/file'), 'old')
    assert.equal(await text(after(disk, { keep: 'all' }), '/file'), 'new')
    await file.write([Buffer.from('NE')], 0)
    await file.datasync()
    assert.equal(await text(after(disk, { keep: 'none' }), '/file'), 'NEd')
    assert.equal(await text(after(disk, { keep: 'all' }), '/file'), 'NEw')
  })

  test('a killed process does nothing more, and its locks are free; the cache stays', async () => {
    const disk = new SimulatedDisk()
    const process = disk.process()
    assert.ok((await process.lock('/')) !== undefined)
    assert.equal(await disk.process().lock('/'), undefined)
    const file = await process.open('/file', 'create')
    await file.write([Buffer.from('kept')], 0)
    process.kill()
    let settled = false
    const mark = (): void => {
      settled = true
    }
    file.write([Buffer.from('lost')], 0).then(mark, mark)
    process.remove('/file').then(mark, mark)
    for (let turn = 0; turn < 50; turn++) await undefined
    assert.equal(settled, false)
    assert.equal(await text(disk, '/file'), 'kept')
    assert.ok((await disk.process().lock('/')) !== undefined)
  })

  test('errors are those of an operating system', async () => {
    const process = new SimulatedDisk().process()
    await assert.rejects(process.open('/none', 'read'), { code: 'ENOENT' })
    await assert.rejects(process.open('/none/file', 'create'), { code: 'ENOENT' })
    await assert.rejects(process.list('/none'), { code: 'ENOENT' })
    await assert.rejects(process.remove('/none'), { code: 'ENOENT' })
    await (await process.open('/file', 'create')).close()
    await assert.rejects(process.open('/file', 'create'), { code: 'EEXIST' })
    const file = await process.open('/file', 'read')
    await assert.rejects(file.write([Buffer.from('x')], 0), { code: 'EBADF' })
    await file.close()
    await assert.rejects(file.read(Buffer.alloc(1), 0), { code: 'EBADF' })
  })
})
