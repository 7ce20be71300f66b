// Applies the workload to a level engine until it is killed, and says how far it is.
import { writeSync } from 'node:fs'
import { levelEngine } from '#src/engine/level.js'
import { Workload } from './engine-workload.js'

const directory = process.argv[2] ?? ''
const workload = new Workload()
const engine = await levelEngine.open(directory, workload.journal.empty)
for (let count = 1; ; count++) {
  await engine.apply([workload.nextBlock()])
  writeSync(1, `applied ${engine.applied.sequence}\n`)
  if (count % 97 !== 0) continue
  const { sequence } = await engine.checkpoint()
  writeSync(1, `checkpoint ${sequence}\n`)
}
