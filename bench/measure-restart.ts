import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { limits } from '#src/core/limits.js'
import { open } from '#src/index.js'
import type { EngineKind } from '#src/ports/engine.js'

export interface RestartFigures {
  /** Journal behind the last checkpoint, about; what a restart replays at most is `checkpointBytes` and a little. */
  readonly replayedMebibytes: number
  readonly seconds: number
  /** The same directory after a clean stop. */
  readonly cleanSeconds: number
}

const child = fileURLToPath(new URL('./restart-child.js', import.meta.url))

/** A node that is killed nearly one checkpoint's distance behind its last checkpoint, and how long it takes to open. */
export async function measureRestart(directory: string, engine: EngineKind): Promise<RestartFigures> {
  const location = join(directory, `${engine}-restart`)
  const checkpointMebibytes = limits.checkpointBytes / 1024 / 1024
  const replayedMebibytes = Math.floor(checkpointMebibytes * 0.9)
  const running = spawn(process.execPath, [child, location, engine, String(checkpointMebibytes + replayedMebibytes)], {
    stdio: 'inherit',
  })
  const [, signal] = (await once(running, 'exit')) as [unknown, string | null]
  if (signal !== 'SIGKILL') throw new Error('the node that was to be killed ended by itself')
  const seconds = await openSeconds(location, engine)
  return { replayedMebibytes, seconds, cleanSeconds: await openSeconds(location, engine) }
}

async function openSeconds(location: string, engine: EngineKind): Promise<number> {
  const startMs = performance.now()
  const db = await open(location, { engine, keyEncoding: 'buffer', valueEncoding: 'buffer' })
  const seconds = (performance.now() - startMs) / 1000
  await db.close()
  return seconds
}
