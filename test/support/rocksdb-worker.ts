// A worker thread that works on an engine until it is terminated, with everything under way at once.
import { parentPort, workerData } from 'node:worker_threads'
import { rocksdbEngine } from '#src/engine/rocksdb.js'
import { Workload } from './engine-workload.js'

const workload = new Workload()
const engine = await rocksdbEngine.open(workerData as string, workload.journal.empty)
const read = async () => {
  for (;;) {
    const snapshot = engine.snapshot()
    const iterator = engine.scan(0, { snapshot })
    await Promise.all([
      iterator.next(100),
      engine.getMany(0, [Buffer.from('k1')]),
      engine.readChunk(snapshot, 0, Buffer.alloc(0), 1 << 20),
    ])
    // Left open now and then: what nobody closes is ended with the store.
    if (snapshot.position.sequence % 3 > 0) await iterator.close()
    if (snapshot.position.sequence % 5 > 0) await snapshot.close()
  }
}
const write = async () => {
  for (let count = 1; ; count++) {
    await engine.apply([workload.nextBlock()])
    if (count % 50 === 0) await engine.checkpoint()
    if (count === 20) parentPort?.postMessage('running')
  }
}
await Promise.all([write(), read(), read(), read()])
