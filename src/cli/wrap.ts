import { stripVTControlCharacters } from 'node:util'

/** Columns that a line takes on a terminal; colours take none. */
export function visibleWidth(line: string): number {
  return stripVTControlCharacters(line).length
}

/** Broken at spaces, so that no line but one of a single long word is wider; what follows the first is indented. */
export function wrap(text: string, width: number, indent = 2): string[] {
  const lines: string[] = []
  const rest = text.trimStart()
  let line = ' '.repeat(text.length - rest.length)
  for (const word of rest.split(' ')) {
    const isFirst = line.trim() === ''
    if (!isFirst && visibleWidth(line) + 1 + visibleWidth(word) > width) {
      lines.push(line)
      line = ' '.repeat(indent) + word
    } else {
      line = isFirst ? line + word : `${line} ${word}`
    }
  }
  lines.push(line)
  return lines
}
