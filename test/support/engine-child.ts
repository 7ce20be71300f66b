// Applies the workload to an engine until it is killed, and says how far it is.
import { writeSync } from 'node:fs'
import { levelEngine } from '#src/engine/level.js'
import { rocksdbEngine } from '#src/engine/rocksdb.js'
import { Workload } from './engine-workload.js'

const directory = process.argv[2] ?? ''
const [factory] = [levelEngine, rocksdbEngine].filter(({ kind }) => kind === (process.argv[3] ?? 'level'))
if (factory === undefined) throw new Error(`no engine ${process.argv[3]}`)
const every = Number(process.argv[4] ?? 97)
/** Checkpoints are written while the next blocks are applied, as a node does it. */
const beside = process.argv[5] === 'beside'
const workload = new Workload()
const engine = await factory.open(directory, workload.journal.empty)
let checkpointing = false
for (let count = 1; ; count++) {
  await engine.apply([workload.nextBlock()])
  writeSync(1, `applied ${engine.applied.sequence}\n`)
  if (count % every !== 0 || checkpointing) continue
  checkpointing = true
  const written = engine.checkpoint().then(({ sequence }) => {
    writeSync(1, `checkpoint ${sequence}\n`)
    checkpointing = false
  })
  if (!beside) await written
}
