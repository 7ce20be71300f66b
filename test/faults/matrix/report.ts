/** The table of the matrix. */
import Table from 'cli-table3'
import type { RoundResult } from './cell.js'
import { type Spread, spreadOf } from './times.js'

export interface CellSummary {
  readonly kind: string
  readonly coordinator: string
  readonly durability: string
  readonly rounds: number
  readonly bad: number
  readonly acknowledged: number
  readonly lost: number
  readonly unknown: number
  readonly operations: number
  readonly linearizable: boolean
  readonly firstMs: Spread | undefined
  readonly takeoverMs: Spread | undefined
  readonly pauseMs: Spread | undefined
}

export function summarize(results: readonly RoundResult[]): CellSummary {
  const { kind, coordinator, durability } = results[0]!
  const sum = (of: (result: RoundResult) => number) => results.reduce((total, result) => total + of(result), 0)
  const spread = (of: (result: RoundResult) => number | undefined) =>
    spreadOf(results.flatMap((result) => of(result) ?? []))
  return {
    kind,
    coordinator,
    durability,
    rounds: results.length,
    bad: results.filter(({ problems }) => problems.count > 0).length,
    acknowledged: sum((result) => result.acknowledged),
    lost: sum((result) => result.lost),
    unknown: sum((result) => result.unknown),
    operations: sum((result) => result.operations),
    linearizable: results.every((result) => result.linearizable === 'linearizable'),
    firstMs: spread((result) => result.times.firstMs),
    takeoverMs: spread((result) => result.times.takeoverMs),
    pauseMs: spread((result) => result.times.pauseMs),
  }
}

export function tableOf(cells: readonly CellSummary[]): string {
  const table = new Table({
    head: [
      'fault',
      'coordinator',
      'durability',
      'rounds',
      'bad',
      'acknowledged',
      'lost',
      'unknown',
      'linearizable',
      'first write ms\np50 / p90 / p99 / max',
      'takeover ms\np50 / p90 / p99 / max',
      'pause ms\np50 / p90 / p99 / max',
    ],
    colAligns: ['left', 'left', 'left', 'right', 'right', 'right', 'right', 'right', 'left', 'right', 'right', 'right'],
    style: { head: [], border: [], compact: true },
  })
  for (const cell of cells) {
    table.push([
      cell.kind,
      cell.coordinator,
      cell.durability,
      String(cell.rounds),
      String(cell.bad),
      count(cell.acknowledged),
      count(cell.lost),
      count(cell.unknown),
      cell.linearizable ? `yes (${count(cell.operations)})` : 'NO',
      words(cell.firstMs),
      words(cell.takeoverMs),
      words(cell.pauseMs),
    ])
  }
  return table.toString()
}

function words(spread: Spread | undefined): string {
  if (spread === undefined) return ''
  const { p50, p90, p99, max } = spread
  return [p50, p90, p99, max].map(count).join(' / ')
}

function count(value: number): string {
  return value.toLocaleString('en')
}

/** One line for people while the matrix runs. */
export function lineOf(result: RoundResult): string {
  const { kind, coordinator, durability, round, problems, times, acknowledged, unknown, lost, seconds, notes } = result
  const ms = Object.entries(times).map(([name, value]) => `${name.replace(/Ms$/, '')} ${Math.round(value)} ms`)
  const head = `${problems.count === 0 ? 'ok ' : 'BAD'} ${kind} ${coordinator} ${durability} round ${round}:`
  const books = `${acknowledged} acknowledged, ${lost} lost, ${unknown} unknown, ${result.unconfirmedReads} reads not confirmed, ${result.operations} operations ${result.linearizable}, ${result.blocks} blocks equal`
  return `${head} ${ms.join(', ')}; ${books}; ${seconds.toFixed(1)} s; ${notes.join('; ')}`
}

/** What repeats one round, on a cluster of its own. */
export function commandOf(
  { seed, failoverMs }: { readonly seed: number; readonly failoverMs: number },
  { kind, coordinator, durability, round }: RoundResult,
): string {
  const variables = {
    SEED: seed,
    KINDS: kind,
    COORDINATORS: coordinator,
    DURABILITIES: durability,
    FIRST: round,
    ROUNDS: 1,
    FAILOVER_MS: failoverMs,
  }
  const text = Object.entries(variables).map(([name, value]) => `UNDERSTUDY_FAULT_${name}=${value}`)
  return `${text.join(' ')} npm run test:faults`
}
