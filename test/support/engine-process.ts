/** An engine in a process of its own that applies the workload: killed, or ended by its disk; and what must be there then. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { readAll } from '#src/engine/conformance/kit.js'
import { memoryEngine } from '#src/engine/memory.js'
import type { Engine, EngineKind } from '#src/ports/engine.js'
import type { Workload } from './engine-workload.js'

const child = fileURLToPath(new URL('./engine-child.js', import.meta.url))

export interface EngineRun {
  readonly kind: EngineKind
  /** Blocks between two checkpoints. */
  readonly checkpointEvery?: number
  /** Checkpoints are written while the next blocks are applied. */
  readonly beside?: boolean
  /** A program and its arguments that start the process. */
  readonly launcher?: readonly string[]
}

export interface EngineReport {
  /** The last sequence that was applied, and the one of the last checkpoint. */
  readonly applied: number
  readonly checkpoint: number
  /** What the engine refused, in order: a code and its message. */
  readonly failures: readonly string[]
  readonly signal: NodeJS.Signals | null
}

/** Runs it until it ends; `applied` is called after each block with how many there were, and may kill the process. */
export async function runEngine(
  directory: string,
  run: EngineRun,
  applied: (blocks: number, process: ChildProcess) => void,
): Promise<EngineReport> {
  const { kind, checkpointEvery = 97, beside = false, launcher = [] } = run
  const line = [...launcher, process.execPath, child, directory, kind, String(checkpointEvery)]
  if (beside) line.push('beside')
  const [command = '', ...args] = line
  const running = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  const exited = once(running, 'exit')
  const report = { applied: 0, checkpoint: 0, failures: [] as string[] }
  let blocks = 0
  for await (const told of createInterface({ input: running.stdout })) {
    const [what = ''] = told.split(' ', 1)
    const detail = told.slice(what.length + 1)
    if (what === 'failed') report.failures.push(detail)
    else if (what === 'checkpoint') report.checkpoint = Number(detail)
    else {
      report.applied = Number(detail)
      applied(++blocks, running)
    }
  }
  const [, signal] = (await exited) as [number | null, NodeJS.Signals | null]
  return { ...report, signal }
}

export async function contentOf(engine: Engine): Promise<unknown> {
  const content: Record<string, unknown> = { families: engine.families, next: engine.familyIdNext }
  for (const { id } of engine.families) content[id] = await readAll(engine.scan(id, {}))
  return content
}

/** What the journal up to `sequence` gives on an engine that never crashed. */
export async function expectedContent(workload: Workload, sequence: number): Promise<unknown> {
  const engine = await memoryEngine.open('', workload.journal.empty)
  await engine.apply(workload.journal.blocks.filter((block) => block.end.sequence <= sequence))
  const content = await contentOf(engine)
  await engine.close()
  return content
}
