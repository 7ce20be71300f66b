import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SimulatedDisk } from '#src/sim/disk.js'
import { readDurableJson, writeDurableJson } from '#src/storage/durable-json.js'

test('S3: what was read after the end of a process is there after a loss of power too', async () => {
  const disk = new SimulatedDisk()
  const first = disk.process()
  await writeDurableJson(first, '/', 'file.json', { promised: 1 })
  // Renamed, and the process ends before the directory is synced.
  disk.latency = (operation) => (operation === 'syncDirectory' ? new Promise(() => {}) : undefined)
  void writeDurableJson(first, '/', 'file.json', { promised: 2 })
  while (JSON.stringify(await readDirectly(disk)) !== '{"promised":2}') await new Promise(setImmediate)
  first.kill()
  disk.latency = undefined
  const believed = await readDurableJson(disk.process(), '/', 'file.json')
  assert.deepEqual(believed, { promised: 2 })
  disk.crash({ keep: 'none' })
  assert.deepEqual(await readDurableJson(disk.process(), '/', 'file.json'), believed)
})

/** As it is in the page cache, without the module that is tested. */
async function readDirectly(disk: SimulatedDisk): Promise<unknown> {
  const text = Buffer.from(await disk.clone().process().readFile('/file.json', 1_000)).toString()
  return JSON.parse(text.slice(text.indexOf('\n')))
}
