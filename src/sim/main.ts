#!/usr/bin/env node
/** `npm run sim`: one run told as a story, or many on all cores. */
import { availableParallelism } from 'node:os'
import { parseArgs } from 'node:util'
import { setFlagsFromString } from 'node:v8'
import { Worker } from 'node:worker_threads'
import { type FaultKind, faultKinds } from './fault-kinds.js'
import { type CoordinatorKind, describePlan, nodesMax, nodesMin } from './plan.js'
import { type SimulationOptions, type SimulationResult, simulate } from './simulation.js'
import { Tally } from './tally.js'
import type { WorkerTask } from './worker.js'

const usage = `npm run sim -- --seed N [--trace]                  one run, told with --trace
npm run sim -- --seeds COUNT [--from N]            many runs; the exit code is 1 if one failed
    [--until-failure] [--workers N]
with either: [--faults KIND,KIND] [--coordinator memory|builtin|static] [--nodes N]
    [--ticks MS of faults]
kinds of faults: ${faultKinds.join(' ')}`

/** Of each worker, twice. */
const semiSpaceMb = 32

/** Seeds between two lines that say how far it is. */
const progressEvery = 500

const coordinators: readonly CoordinatorKind[] = ['memory', 'builtin', 'static']

function fail(text: string): never {
  console.error(`${text}\n\n${usage}`)
  process.exit(2)
}

function readArguments() {
  try {
    return parseArgs({
      options: {
        seed: { type: 'string' },
        seeds: { type: 'string' },
        from: { type: 'string', default: '1' },
        workers: { type: 'string', default: String(availableParallelism()) },
        trace: { type: 'boolean', default: false },
        'until-failure': { type: 'boolean', default: false },
        faults: { type: 'string' },
        coordinator: { type: 'string' },
        nodes: { type: 'string' },
        ticks: { type: 'string' },
      },
    }).values
  } catch (error) {
    fail((error as Error).message)
  }
}

function count(name: string, text: string): number {
  const value = Number(text)
  if (!Number.isSafeInteger(value) || value < 0) fail(`--${name} ${text}: expected a whole number`)
  return value
}

const values = readArguments()

function simulationOptions(): Omit<SimulationOptions, 'tell'> {
  const kinds = values.faults?.split(',').filter((kind) => kind !== '')
  for (const kind of kinds ?? []) if (!faultKinds.includes(kind as FaultKind)) fail(`there is no fault ${kind}`)
  const coordinator = coordinators.find((one) => one === values.coordinator)
  if (values.coordinator !== undefined && coordinator === undefined)
    fail(`there is no coordinator ${values.coordinator}`)
  const nodes = values.nodes === undefined ? undefined : count('nodes', values.nodes)
  if (nodes !== undefined && (nodes < nodesMin || nodes > nodesMax))
    fail(`--nodes ${nodes}: a cluster has ${nodesMin} to ${nodesMax} nodes`)
  return {
    ...(kinds === undefined ? {} : { faults: kinds as FaultKind[] }),
    ...(coordinator === undefined ? {} : { coordinator }),
    ...(nodes === undefined ? {} : { nodes }),
    ...(values.ticks === undefined ? {} : { faultMs: count('ticks', values.ticks) }),
  }
}

/** What a run is repeated with, besides its seed. */
function repeatArguments(): string {
  return (['faults', 'coordinator', 'nodes', 'ticks'] as const)
    .map((name) => (values[name] === undefined ? '' : ` --${name} ${values[name]}`))
    .join('')
}

async function one(seed: number): Promise<boolean> {
  const begunMs = performance.now()
  const result = await simulate(seed, {
    ...simulationOptions(),
    ...(values.trace ? { tell: (line: string) => void process.stdout.write(`${line}\n`) } : {}),
  })
  const tookMs = performance.now() - begunMs
  if (!values.trace) console.log(describePlan(result.plan))
  console.log(`\nseed ${seed}, fingerprint ${result.fingerprint}`)
  const tally = new Tally()
  tally.add(result)
  console.log(tally.describe(tookMs))
  for (const text of result.problems) console.log(`\nFAILED: ${text}`)
  return result.problems.length === 0
}

async function many(from: number, seeds: number): Promise<boolean> {
  // Little outlives a run, and a collection costs what is alive: the rarer, the cheaper. For isolates made from here on.
  setFlagsFromString(`--max-semi-space-size=${semiSpaceMb}`)
  setFlagsFromString(`--min-semi-space-size=${semiSpaceMb}`)
  const options = simulationOptions()
  const tally = new Tally()
  const begunMs = performance.now()
  let next = from
  let isOver = false
  const work = () =>
    new Promise<void>((resolve, reject) => {
      const worker = new Worker(new URL('./worker.js', import.meta.url))
      const give = () => {
        if (isOver || next >= from + seeds) {
          worker.terminate().then(() => resolve(), reject)
          return
        }
        const task: WorkerTask = { seed: next++, options }
        worker.postMessage(task)
      }
      worker.on('message', (result: SimulationResult) => {
        tally.add(result)
        if (tally.seeds % progressEvery === 0) console.log(`${tally.seeds} seeds, ${tally.failed} failed so far`)
        if (result.problems.length > 0) {
          console.log(`seed ${result.seed} failed: ${result.problems[0]}`)
          console.log(`  repeat: npm run sim -- --seed ${result.seed}${repeatArguments()} --trace`)
          if (values['until-failure']) isOver = true
        }
        give()
      })
      worker.on('error', reject)
      give()
    })
  await Promise.all(Array.from({ length: count('workers', values.workers) }, work))
  console.log(tally.describe(performance.now() - begunMs))
  console.log(`\n${tally.seeds} seeds, ${tally.failed} failed`)
  return tally.failed === 0
}

const passed =
  values.seed !== undefined
    ? await one(count('seed', values.seed))
    : await many(count('from', values.from), count('seeds', values.seeds ?? fail('give --seed or --seeds')))
process.exitCode = passed ? 0 : 1
