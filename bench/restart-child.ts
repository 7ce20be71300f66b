// Writes until so much journal lies behind the last checkpoint, then ends as by kill -9. argv: directory, engine, MiB.
import { open } from '#src/index.js'

const [directory = '', engine = '', mebibytes = ''] = process.argv.slice(2)
const db = await open<Uint8Array, Uint8Array>(directory, {
  engine: engine as 'level',
  keyEncoding: 'buffer',
  valueEncoding: 'buffer',
})
const entryBytes = 16 + 100 + 13
const entriesPerBatch = 1000
const batches = Math.ceil((Number(mebibytes) * 1024 * 1024) / entryBytes / entriesPerBatch)
let next = 0
const lane = async () => {
  while (next < batches) {
    const from = next++ * entriesPerBatch
    const operations = Array.from({ length: entriesPerBatch }, (_, at) => ({
      type: 'put' as const,
      key: Buffer.from(String(((from + at) * 7919) % 10_000_000).padStart(16, '0')),
      value: Buffer.alloc(100, at),
    }))
    await db.batch(operations)
  }
}
await Promise.all([lane(), lane(), lane(), lane()])
process.kill(process.pid, 'SIGKILL')
