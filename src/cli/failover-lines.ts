import type { LossEstimate } from '../runtime/handle.js'
import type { FailoverLine, FailoverPicture } from './failover-picture.js'
import { formatMs, formatSeconds, plural } from './format.js'
import { renderTable } from './table.js'
import type { Paint } from './terminal.js'
import { wrap } from './wrap.js'

/** The rest is in `--json`. */
const linesMax = 5

/** What stands below the table of a shard: can it fail over, on whom that rests, and what has happened. */
export function renderFailover(picture: FailoverPicture, nowMs: number, width: number, paint: Paint): string[] {
  const { failover } = picture
  const lines: string[] = []
  if (failover !== undefined) {
    const { possible, to, reason } = failover
    const verdict = possible ? paint('green', `yes, to ${to}`) : paint('yellow', 'no')
    lines.push(...wrap(`can fail over now: ${verdict}: ${reason}`, width))
  }
  lines.push(...renderCoordinator(picture, nowMs, width, paint))
  const shown = picture.failovers.slice(0, linesMax)
  if (shown.length > 0) lines.push('', ...renderFailovers(shown, nowMs, width, paint))
  return lines
}

function renderCoordinator(
  { coordinator }: FailoverPicture,
  nowMs: number,
  width: number,
  paint: Paint,
): readonly string[] {
  if (coordinator === undefined) return []
  const { kind, description, nodes } = coordinator
  if (kind === 'static') return wrap(`coordinator: ${description} (promotion by hand)`, width)
  const away = nodes.filter((node) => !node.connected)
  const here = nodes.filter((node) => node.connected)
  if (away.length === 0) return wrap(`coordinator: ${description}, connected`, width)
  const state = here.length === 0 ? 'not connected' : `connected: ${here.map((one) => one.node).join(', ')} only`
  const lines = wrap(`coordinator: ${description}, ${paint('red', state)}`, width)
  for (const { node, since, lastError } of away) {
    const age = since === undefined ? '' : ` for ${ageOf(since, nowMs)}`
    lines.push(...wrap(`  ${node}: not connected${age}${lastError === undefined ? '' : `: ${lastError}`}`, width, 4))
  }
  return lines
}

const columns = ['primary', 'epoch', 'by', 'at', 'ago', 'took', 'may have lost'] as const
type Column = (typeof columns)[number]

function renderFailovers(failovers: readonly FailoverLine[], nowMs: number, width: number, paint: Paint): string[] {
  const rows = failovers.map(
    ({ at, epoch, primary, kind, tookMs, mayLose }): Readonly<Record<Column, string>> => ({
      primary,
      epoch,
      by: kind === 'by-hand' ? 'hand' : kind,
      at: `${at.slice(0, 19)}Z`,
      ago: ageOf(at, nowMs),
      took: tookMs === undefined ? '-' : formatMs(tookMs),
      'may have lost': mayLose === undefined ? '-' : paint('red', lossOf(mayLose)),
    }),
  )
  return renderTable(columns, rows, { width, paint, numbers: ['took'], dispensable: ['at'] })
}

function lossOf({ entries }: LossEstimate): string {
  return entries === undefined ? 'not known' : plural(entries, 'entry', 'entries')
}

function ageOf(iso: string, nowMs: number): string {
  return formatSeconds((nowMs - Date.parse(iso)) / 1000)
}
