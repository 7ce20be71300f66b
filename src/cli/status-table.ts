import { formatEpoch } from '../core/position.js'
import type { ShardSettings } from '../core/record.js'
import type { VoterStatus } from '../ports/voter.js'
import type { ClusterPicture, NodeRow, ShardPicture } from './cluster-picture.js'
import { renderFailover } from './failover-lines.js'
import { formatBytes, formatCount, formatMs, formatSeconds } from './format.js'
import { renderTable } from './table.js'
import { createPaint, type Paint } from './terminal.js'
import { wrap } from './wrap.js'

const columns = [
  'node',
  'role',
  'state',
  'epoch',
  'position',
  'durable',
  'lag',
  'bytes',
  'time',
  'in sync',
  'since',
  'url',
] as const
type Column = (typeof columns)[number]

const numbers: readonly Column[] = ['durable', 'lag', 'bytes', 'time']
const dispensable: readonly Column[] = ['url', 'durable', 'bytes', 'time', 'epoch']

/** Warnings first, then one table for each shard. */
export function renderPicture(picture: ClusterPicture, nowMs: number): string {
  const paint = createPaint(process.stdout)
  const width = process.stdout.columns ?? Number.POSITIVE_INFINITY
  const lines = picture.warnings.flatMap((warning) => wrap(`${paint('yellow', 'warning')}: ${warning}`, width))
  for (const shard of picture.shards) {
    if (lines.length > 0) lines.push('')
    lines.push(...renderShard(picture, shard, nowMs, width, paint))
  }
  if (picture.voter !== undefined) lines.push(...renderVoter(picture.voter, width, paint))
  return lines.join('\n')
}

function renderShard(
  picture: ClusterPicture,
  shard: ShardPicture,
  nowMs: number,
  width: number,
  paint: Paint,
): string[] {
  const { settings, inSync, recordVersion } = shard
  const facts = [
    `cluster ${paint('bold', picture.cluster)}`,
    `shard ${shard.shard}`,
    ...(settings === undefined ? [] : [settingsOf(settings, shard.coordinator?.kind === 'automatic')]),
    inSync.length === 0
      ? 'no in-sync set yet'
      : `in-sync set ${[...inSync].sort().join(', ')} (version ${recordVersion})`,
  ]
  const lines = [...wrap(facts.join(' · '), width), ...renderNodes(shard.nodes, nowMs, width, paint)]
  const notes = shard.nodes.filter(
    (row) => row.reason !== undefined && row.state !== 'primary' && row.state !== 'streaming',
  )
  for (const row of notes) lines.push(...wrap(`${row.node}: ${row.state}: ${row.reason}`, width))
  return [...lines, '', ...renderFailover(shard, nowMs, width, paint)]
}

/** How long a failover takes is of interest where there is one. */
function settingsOf({ durability, inSyncMin, failoverMs }: ShardSettings, isAutomatic: boolean): string {
  return `durability ${durability}, inSyncMin ${inSyncMin}${isAutomatic ? `, failoverMs ${failoverMs}` : ''}`
}

function renderNodes(rows: readonly NodeRow[], nowMs: number, width: number, paint: Paint): string[] {
  const cells = rows.map((row) => cellsOf(row, nowMs, paint))
  return renderTable(columns, cells, { width, paint, numbers, dispensable })
}

function renderVoter(voter: VoterStatus, width: number, paint: Paint): string[] {
  const { state, witness, members, records } = voter
  const names = members.map((member) => member.node).sort()
  const facts = [
    `voter ${paint('bold', voter.voter)}${witness ? ' (witness)' : ''}`,
    state === 'serving' ? paint('green', state) : paint('red', state),
    members.length === 0 ? 'no members registered' : `members ${names.join(', ')}`,
  ]
  const lines = ['', ...wrap(facts.join(' · '), width)]
  for (const record of records) {
    const set = [...record.inSync].sort().join(', ')
    const text = `record of ${record.shard}: revision ${record.revision}, epoch ${formatEpoch(record.epoch)}, primary ${record.primary}, in-sync set ${set} (version ${record.recordVersion})`
    lines.push(...wrap(text, width))
  }
  if (records.length === 0) lines.push('no records yet')
  return lines
}

function cellsOf(row: NodeRow, nowMs: number, paint: Paint): Readonly<Record<Column, string>> {
  const or = <T>(value: T | undefined, format: (value: T) => string): string =>
    value === undefined ? '-' : format(value)
  const seen = or(row.lastSeenMs, (ms) => `seen ${formatMs(ms)} ago`)
  return {
    node: row.node,
    role: or(row.role, (role) => (row.answers ? role : `(${role})`)),
    state: row.answers ? or(row.state, (text) => paintState(text, paint)) : paint('red', 'no answer'),
    epoch: or(row.epoch, String),
    position: row.position ?? or(row.applied ?? row.durable, (sequence) => `(${sequence})`),
    durable: or(row.durable, (sequence) => (row.answers ? formatCount(sequence) : `(${formatCount(sequence)})`)),
    lag: or(row.lagEntries, formatCount),
    bytes: or(row.lagBytes, formatBytes),
    time: or(row.lagMs, formatMs),
    'in sync': row.inSync ? 'yes' : 'no',
    since: row.answers ? or(row.since, (since) => formatSeconds((nowMs - Date.parse(since)) / 1000)) : seen,
    url: row.url,
  }
}

function paintState(state: string, paint: Paint): string {
  if (state === 'primary' || state === 'streaming') return paint('green', state)
  return paint(state === 'failed' || state === 'fenced' ? 'red' : 'yellow', state)
}
