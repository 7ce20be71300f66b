// Ends its process by process.exit() while engines of two threads are at work.
import { Worker } from 'node:worker_threads'
import { rocksdbEngine } from '#src/engine/rocksdb.js'
import { Workload } from './engine-workload.js'

const directory = process.argv[2] ?? ''
const worker = new Worker(new URL('./rocksdb-worker.js', import.meta.url), { workerData: `${directory}/worker` })
const workload = new Workload()
const engine = await rocksdbEngine.open(`${directory}/main`, workload.journal.empty)
worker.once('message', () => setTimeout(() => process.exit(7), 20))
const ignore = () => undefined
for (let count = 1; ; count++) {
  const applying = engine.apply([workload.nextBlock()])
  engine.scan(0, {}).next(10).catch(ignore)
  if (count % 9 === 0) engine.checkpoint().catch(ignore)
  await applying
}
