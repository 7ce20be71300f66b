import { styleText } from 'node:util'
import type { UnderstudyError } from '../errors.js'

type Format = Parameters<typeof styleText>[0]

/** Paints where a person looks on: a terminal, without NO_COLOR (https://no-color.org). */
export function createPaint(stream: NodeJS.WriteStream): (format: Format, text: string) => string {
  const { NO_COLOR, TERM } = process.env
  const enabled = stream.isTTY === true && (NO_COLOR === undefined || NO_COLOR === '') && TERM !== 'dumb'
  return (format, text) => (enabled ? styleText(format, text) : text)
}

export type Paint = ReturnType<typeof createPaint>

/** False as soon as nobody reads standard output any more: a command that only prints may stop then. */
export function printLine(text: string): boolean {
  if (process.stdout.destroyed || process.stdout.writableEnded) return false
  process.stdout.write(`${text}\n`)
  return true
}

export function printJson(value: unknown): boolean {
  return printLine(JSON.stringify(value))
}

/** On standard error: one JSON object for programs; code, message and next step for people. */
export function printError(error: UnderstudyError, json: boolean): void {
  if (json) {
    process.stderr.write(`${JSON.stringify(error.toJSON())}\n`)
    return
  }
  const paint = createPaint(process.stderr)
  const lines = [`${paint('red', error.code)}: ${error.message}`]
  if (error.hint !== undefined) lines.push(`${paint('cyan', 'hint')}: ${error.hint}`)
  if (error.primary !== undefined) lines.push(`${paint('cyan', 'primary')}: ${error.primary}`)
  process.stderr.write(`${lines.join('\n')}\n`)
}
