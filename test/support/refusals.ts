import type { Logger } from '#src/ports/logger.js'
import { silentLogger } from '#src/ports/logger.js'

/** A logger that keeps the codes of refused connections. */
export function refusalLogger(): { readonly logger: Logger; readonly codes: string[] } {
  const codes: string[] = []
  const logger: Logger = {
    ...silentLogger,
    warn(fields) {
      if (typeof fields.code === 'string') codes.push(fields.code)
    },
    child: () => logger,
  }
  return { logger, codes }
}
