/** The matrix of faults as a command: `npm run test:faults`, with `--json` one object per line. */
import { type CellOptions, coordinatorNames, nodeNames, type RoundResult, runCell } from './cell.js'
import { type CoordinatorKind, EtcdProcesses } from './coordinators.js'
import { diskKinds } from './disk-kinds.js'
import { canRun, type FaultKind, kinds as otherKinds } from './kinds.js'
import { Network } from './network.js'
import { type CellSummary, commandOf, lineOf, summarize, tableOf } from './report.js'

const kinds: readonly FaultKind[] = [...otherKinds, ...diskKinds]

interface Wish {
  readonly kinds: readonly FaultKind[]
  readonly coordinators: readonly CoordinatorKind[]
  readonly durabilities: ReadonlyArray<'standby' | 'local'>
  readonly roundsOf: (kind: FaultKind) => number
  readonly first: number
  readonly seed: number
  readonly failoverMs: number
  readonly json: boolean
}

const help = `Rounds of faults on real processes under load, checked afterwards: acknowledged writes survive, histories are
linearizable, one primary per epoch, all nodes equal byte for byte.

usage: npm run test:faults [-- --json]

Environment (lists are separated by commas):
  UNDERSTUDY_FAULT_KINDS         ${kinds.map(({ name }) => name).join(', ')}
  UNDERSTUDY_FAULT_COORDINATORS  builtin, etcd, static (default: builtin, etcd)
  UNDERSTUDY_FAULT_DURABILITIES  standby, local (default: both)
  UNDERSTUDY_FAULT_ROUNDS        rounds of every kind, or kill=5,stop=2 (default: ${kinds.map(({ name, rounds }) => `${name}=${rounds}`).join(',')})
  UNDERSTUDY_FAULT_FIRST         number of the first round (default: 0)
  UNDERSTUDY_FAULT_SEED          repeats the choices of a run
  UNDERSTUDY_FAULT_FAILOVER_MS   failoverMs of the clusters (default: 1000)`

class Misuse extends Error {}

function list<T extends string>(name: string, known: readonly T[], fallback: readonly T[]): readonly T[] {
  const text = process.env[name]
  if (text === undefined || text === '') return fallback
  return text.split(',').map((item) => {
    const found = known.find((one) => one === item.trim())
    if (found === undefined) throw new Misuse(`${name}: "${item}" is none of ${known.join(', ')}`)
    return found
  })
}

function integer(name: string, fallback: number): number {
  const text = process.env[name]
  if (text === undefined || text === '') return fallback
  if (!/^\d{1,12}$/.test(text)) throw new Misuse(`${name} must be an integer, not "${text}"`)
  return Number(text)
}

function readWish(): Wish {
  const names = kinds.map(({ name }) => name)
  const chosen = list('UNDERSTUDY_FAULT_KINDS', names, names)
  const rounds = new Map<string, number>()
  const text = process.env.UNDERSTUDY_FAULT_ROUNDS ?? ''
  if (!/^\d+$/.test(text) && text !== '') {
    for (const part of text.split(',')) {
      const match = /^([a-z-]+)=(\d+)$/.exec(part.trim())
      if (match === null || !names.includes(match[1]!)) throw new Misuse(`UNDERSTUDY_FAULT_ROUNDS: "${part}"`)
      rounds.set(match[1]!, Number(match[2]))
    }
  }
  const all = /^\d+$/.test(text) ? Number(text) : undefined
  return {
    kinds: kinds.filter(({ name }) => chosen.includes(name)),
    coordinators: list('UNDERSTUDY_FAULT_COORDINATORS', ['builtin', 'etcd', 'static'], ['builtin', 'etcd']),
    durabilities: list('UNDERSTUDY_FAULT_DURABILITIES', ['standby', 'local'], ['standby', 'local']),
    roundsOf: (kind) => rounds.get(kind.name) ?? all ?? kind.rounds,
    first: integer('UNDERSTUDY_FAULT_FIRST', 0),
    seed: integer('UNDERSTUDY_FAULT_SEED', Math.floor(Math.random() * 2 ** 31)),
    failoverMs: integer('UNDERSTUDY_FAULT_FAILOVER_MS', 1_000),
    json: process.argv.includes('--json'),
  }
}

async function main(): Promise<number> {
  const wish = readWish()
  const say = (text: string) => (wish.json ? undefined : process.stdout.write(`${text}\n`))
  const tell = (value: object) => (wish.json ? process.stdout.write(`${JSON.stringify(value)}\n`) : undefined)
  say(`UNDERSTUDY_FAULT_SEED=${wish.seed}`)
  tell({ event: 'begin', seed: wish.seed })
  const summaries: CellSummary[] = []
  const notRun: string[] = []
  let bad = 0
  for (const coordinator of wish.coordinators) {
    if (coordinator === 'etcd' && !EtcdProcesses.isInstalled()) {
      notRun.push('etcd: it is not installed')
      continue
    }
    const network = Network.create([...nodeNames, ...coordinatorNames(coordinator)])
    const usable = network instanceof Network ? network : undefined
    if (!(network instanceof Network)) notRun.push(`links of ${coordinator} cannot be cut: ${network.unavailable}`)
    try {
      for (const durability of wish.durabilities) {
        for (const kind of wish.kinds) {
          if (!canRun(kind, coordinator, usable !== undefined)) {
            notRun.push(`${kind.name} with ${coordinator}`)
            continue
          }
          const cell = {
            kind,
            coordinator,
            durability,
            first: wish.first,
            rounds: wish.roundsOf(kind),
            seed: wish.seed,
            network: usable,
            writers: 64,
            readers: 32,
            writesPerSecond: 1_000,
            failoverMs: wish.failoverMs,
          }
          const results = await collect(cell, (result) => {
            say(lineOf(result))
            tell({ event: 'round', ...result, problems: result.problems.texts })
            if (result.problems.count === 0) return
            bad += 1
            for (const text of result.problems.texts) say(`    ${text.replaceAll('\n', '\n    ')}`)
            say(`    answers that were no success:\n    ${result.failures.replaceAll('\n', '\n    ')}`)
            say(`    logs and data: ${result.kept}`)
            say(`    again: ${commandOf(wish, result)}`)
            tell({ event: 'bad', kept: result.kept, again: commandOf(wish, result) })
          })
          if (results.length === 0) continue
          summaries.push(summarize(results))
          tell({ event: 'cell', ...summarize(results) })
        }
      }
    } finally {
      usable?.close()
    }
  }
  say(summaries.length === 0 ? 'nothing was run' : tableOf(summaries))
  for (const text of notRun) say(`not run: ${text}`)
  const rounds = summaries.reduce((sum, cell) => sum + cell.rounds, 0)
  const lost = summaries.reduce((sum, cell) => sum + cell.lost, 0)
  say(`${rounds} rounds, ${bad} with problems`)
  tell({ event: 'summary', rounds, bad, lost, notRun })
  // A run that compares nothing is no success.
  return bad > 0 || rounds === 0 ? 1 : 0
}

async function collect(options: CellOptions, onRound: (result: RoundResult) => void): Promise<readonly RoundResult[]> {
  const results: RoundResult[] = []
  for await (const result of runCell(options)) {
    results.push(result)
    onRound(result)
  }
  return results
}

if (process.argv.includes('--help')) {
  process.stdout.write(`${help}\n`)
} else {
  try {
    process.exitCode = await main()
  } catch (error) {
    process.stderr.write(`${error instanceof Misuse ? error.message : ((error as Error).stack ?? error)}\n`)
    process.exitCode = error instanceof Misuse ? 2 : 1
  }
}
