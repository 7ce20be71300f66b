import { limits } from '../core/limits.js'
import type { HeartbeatOptions } from './node-options.js'
import type { OptionKey } from './option-table.js'
import type { ParsedOptions } from './schema.js'

type Report = (path: OptionKey, message: string, suggestion?: string) => void

/** The URL itself is never shown: with most services, who knows it may call it. */
export function checkHeartbeat(
  given: ParsedOptions,
  input: Readonly<Record<string, unknown>>,
  report: Report,
): HeartbeatOptions | undefined {
  if (input.heartbeatUrl === undefined) {
    if (input.heartbeatIntervalMs !== undefined) report('heartbeatIntervalMs', 'has no meaning without heartbeatUrl')
    return undefined
  }
  if (input.coordinator === undefined) {
    report('heartbeatUrl', 'has no meaning without coordinator: a single node replicates nothing')
  }
  if (given.heartbeatUrl === undefined) return undefined
  const url = URL.canParse(given.heartbeatUrl) ? new URL(given.heartbeatUrl) : undefined
  if (url === undefined || (url.protocol !== 'https:' && url.protocol !== 'http:')) {
    report('heartbeatUrl', 'is not a URL that begins with https:// or http://')
    return undefined
  }
  if (url.username !== '' || url.password !== '') {
    report('heartbeatUrl', 'holds a user name or password, which are never sent', 'put the key into the path')
    return undefined
  }
  return { url, intervalMs: given.heartbeatIntervalMs ?? limits.heartbeatIntervalMs }
}
