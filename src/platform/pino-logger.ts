import { type Logger as Pino, pino } from 'pino'
import type { LogFields, Logger } from '../ports/logger.js'

export const logLevels = ['debug', 'info', 'warn', 'error', 'silent'] as const

export type LogLevel = (typeof logLevels)[number]

/** JSON lines on standard error (or `destination`), written at once: a crash loses no line that came before it. */
export function createPinoLogger(options: {
  readonly level: LogLevel
  readonly fields?: LogFields
  readonly destination?: { write(line: string): void }
}): Logger {
  const destination = options.destination ?? pino.destination({ dest: 2, sync: true })
  const base = { ...options.fields }
  return adapt(
    pino(
      {
        level: options.level,
        base,
        timestamp: pino.stdTimeFunctions.isoTime,
        formatters: { level: (label) => ({ level: label }) },
        serializers: { error: pino.stdSerializers.err, err: pino.stdSerializers.err },
      },
      destination,
    ),
  )
}

function adapt(target: Pino): Logger {
  return {
    debug: (fields, message) => target.debug(fields, message),
    info: (fields, message) => target.info(fields, message),
    warn: (fields, message) => target.warn(fields, message),
    error: (fields, message) => target.error(fields, message),
    child: (fields) => adapt(target.child(fields)),
  }
}
