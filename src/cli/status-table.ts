import Table from 'cli-table3'
import { formatEpoch } from '../core/position.js'
import { formatSettings } from '../core/record.js'
import type { VoterStatus } from '../ports/voter.js'
import type { ClusterPicture, NodeRow, ShardPicture } from './cluster-picture.js'
import { formatBytes, formatCount, formatMs, formatSeconds } from './format.js'
import { createPaint } from './terminal.js'

const columnsForAll = 120

type Paint = ReturnType<typeof createPaint>

const noLines = Object.fromEntries(
  ['top', 'bottom', 'left', 'right', 'mid']
    .flatMap((side) => [side, `${side}-mid`, `${side}-left`, `${side}-right`, `${side}-${side}`])
    .concat('left-mid', 'mid-mid', 'right-mid')
    .map((name) => [name, '']),
)

/** Columns with two spaces between them, no lines: what a terminal shows and grep finds. */
export function createTable(head: readonly string[], right: readonly number[] = []): InstanceType<typeof Table> {
  return new Table({
    head: [...head],
    colAligns: head.map((_, index) => (right.includes(index) ? 'right' : 'left')),
    chars: { ...noLines, middle: '  ' },
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 0 },
  })
}

/** Warnings first, then one table for each shard. */
export function renderPicture(picture: ClusterPicture, nowMs: number): string {
  const paint = createPaint(process.stdout)
  const lines = picture.warnings.map((warning) => `${paint('yellow', 'warning')}: ${warning}`)
  if (lines.length > 0) lines.push('')
  for (const shard of picture.shards) lines.push(...renderShard(picture, shard, nowMs, paint))
  if (picture.voter !== undefined) lines.push(...renderVoter(picture.voter, paint))
  return lines.join('\n')
}

function renderShard(picture: ClusterPicture, shard: ShardPicture, nowMs: number, paint: Paint): string[] {
  const { settings, inSync, recordVersion } = shard
  const facts = [
    `cluster ${paint('bold', picture.cluster)}`,
    `shard ${shard.shard}`,
    ...(settings === undefined ? [] : [formatSettings(settings)]),
    inSync.length === 0 ? 'no in-sync set yet' : `in-sync set ${inSync.join(', ')} (version ${recordVersion})`,
  ]
  const names = ['node', 'role', 'state', 'epoch', 'position', 'lag', 'bytes', 'time', 'in sync', 'since', 'url']
  // A table that the terminal breaks is none; the address is what can be done without.
  const head = (process.stdout.columns ?? columnsForAll) < columnsForAll ? names.slice(0, -1) : names
  const table = createTable(
    head.map((name) => paint('dim', name)),
    [5, 6, 7],
  )
  for (const row of shard.nodes) table.push(cellsOf(row, nowMs, paint).slice(0, head.length))
  const lines = [facts.join(' · '), ...trimmed(table.toString())]
  const notes = shard.nodes.filter(
    (row) => row.reason !== undefined && row.state !== 'primary' && row.state !== 'streaming',
  )
  for (const row of notes) lines.push(`${row.node}: ${row.state}: ${row.reason}`)
  return lines
}

function renderVoter(voter: VoterStatus, paint: Paint): string[] {
  const { state, witness, members, records } = voter
  const facts = [
    `voter ${paint('bold', voter.voter)}${witness ? ' (witness)' : ''}`,
    state === 'serving' ? paint('green', state) : paint('red', state),
    members.length === 0 ? 'no members registered' : `members ${members.map((member) => member.node).join(', ')}`,
  ]
  const lines = ['', facts.join(' · ')]
  for (const record of records) {
    const set = record.inSync.join(', ')
    lines.push(
      `record of ${record.shard}: revision ${record.revision}, epoch ${formatEpoch(record.epoch)}, primary ${record.primary}, in-sync set ${set} (version ${record.recordVersion})`,
    )
  }
  if (records.length === 0) lines.push('no records yet')
  return lines
}

function cellsOf(row: NodeRow, nowMs: number, paint: Paint): string[] {
  const or = <T>(value: T | undefined, format: (value: T) => string): string =>
    value === undefined ? '-' : format(value)
  const state = row.answers ? or(row.state, (text) => paintState(text, paint)) : paint('red', 'no answer')
  const seen = or(row.lastSeenMs, (ms) => `seen ${formatMs(ms)} ago`)
  return [
    row.node,
    or(row.role, (role) => (row.answers ? role : `(${role})`)),
    state,
    or(row.epoch, String),
    row.position ?? or(row.durable, (sequence) => `(${sequence})`),
    or(row.lagEntries, formatCount),
    or(row.lagBytes, formatBytes),
    or(row.lagMs, formatMs),
    row.inSync ? 'yes' : 'no',
    row.answers ? or(row.since, (since) => formatSeconds((nowMs - Date.parse(since)) / 1000)) : seen,
    row.url,
  ]
}

function paintState(state: string, paint: Paint): string {
  if (state === 'primary' || state === 'streaming') return paint('green', state)
  return paint(state === 'failed' || state === 'fenced' ? 'red' : 'yellow', state)
}

/** Padding after the last column is no content. */
export function trimmed(table: string): string[] {
  return table.split('\n').map((line) => line.trimEnd())
}
