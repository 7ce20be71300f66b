// Applies the workload to an engine until it is killed or its disk refuses something, and says how far it is.
import { writeSync } from 'node:fs'
import { levelEngine } from '#src/engine/level.js'
import { rocksdbEngine } from '#src/engine/rocksdb.js'
import { isFailure } from '#src/errors.js'
import type { Engine } from '#src/ports/engine.js'
import { Workload } from './engine-workload.js'

const directory = process.argv[2] ?? ''
const [factory] = [levelEngine, rocksdbEngine].filter(({ kind }) => kind === (process.argv[3] ?? 'level'))
if (factory === undefined) throw new Error(`no engine ${process.argv[3]}`)
const every = Number(process.argv[4] ?? 97)
/** Checkpoints are written while the next blocks are applied, as a node does it. */
const beside = process.argv[5] === 'beside'
const workload = new Workload()

function tell(what: string, detail: unknown): void {
  writeSync(1, `${what} ${String(detail).replaceAll('\n', ' ')}\n`)
}

const checkpoint = async (engine: Engine): Promise<void> => tell('checkpoint', (await engine.checkpoint()).sequence)

async function run(engine: Engine): Promise<never> {
  let checkpointing = false
  for (let count = 1; ; count++) {
    await engine.apply([workload.nextBlock()])
    tell('applied', engine.applied.sequence)
    if (count % every !== 0 || checkpointing) continue
    checkpointing = true
    const written = checkpoint(engine).then(() => {
      checkpointing = false
    })
    if (beside) written.catch(ended)
    else await written
  }
}

/** What the disk refused is an error with a code; nothing else ends the child by itself. */
function ended(error: unknown): void {
  if (!isFailure(error)) throw error
  tell('failed', `${error.code} ${error.message}`)
}

try {
  const engine = await factory.open(directory, workload.journal.empty)
  await run(engine).catch(ended)
  // Whoever asks again gets an answer as well, and the store can be closed.
  await checkpoint(engine).catch(ended)
  await engine.close()
} catch (error) {
  ended(error)
}
