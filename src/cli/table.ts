import Table from 'cli-table3'
import type { Paint } from './terminal.js'
import { visibleWidth } from './wrap.js'

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

/**
 * As many of the columns as fit: a table that the terminal breaks is none. Those that can be done without go first, in
 * the order in which `dispensable` names them.
 */
export function renderTable<Column extends string>(
  columns: readonly Column[],
  rows: ReadonlyArray<Readonly<Record<Column, string>>>,
  options: {
    readonly width: number
    readonly paint: Paint
    readonly numbers?: readonly Column[]
    readonly dispensable?: readonly Column[]
  },
): string[] {
  const { width, paint, numbers = [], dispensable = [] } = options
  for (let dropped = 0; ; dropped++) {
    const gone = dispensable.slice(0, dropped)
    const shown = columns.filter((name) => !gone.includes(name))
    const table = createTable(
      shown.map((name) => paint('dim', name)),
      shown.flatMap((name, index) => (numbers.includes(name) ? [index] : [])),
    )
    for (const row of rows) table.push(shown.map((name) => row[name]))
    const lines = trimmed(table.toString())
    if (dropped === dispensable.length || lines.every((line) => visibleWidth(line) <= width)) return lines
  }
}

/** Padding after the last column is no content. */
export function trimmed(table: string): string[] {
  return table.split('\n').map((line) => line.trimEnd())
}
