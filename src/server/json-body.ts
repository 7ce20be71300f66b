import { isUtf8 } from 'node:buffer'
import { closest } from '../config/closest.js'
import { badRequest } from './http-error.js'

export function parseJson(body: Buffer, example: string): unknown {
  if (body.length === 0) throw badRequest('the body is empty; JSON is expected', `for example ${example}`)
  if (!isUtf8(body)) throw badRequest('the body is not UTF-8', `for example ${example}`)
  try {
    return JSON.parse(body.toString())
  } catch (error) {
    throw badRequest(`the body is not JSON: ${(error as Error).message}`, `for example ${example}`)
  }
}

export function asObject(value: unknown, what: string): Record<string, unknown> {
  if (value !== null && typeof value === 'object' && !Array.isArray(value)) return value as Record<string, unknown>
  throw badRequest(`${what} must be a JSON object`)
}

export function refuseOtherKeys(object: Record<string, unknown>, known: readonly string[], what: string): void {
  for (const key of Object.keys(object)) {
    if (known.includes(key)) continue
    const meant = closest(key, known)
    throw badRequest(
      `${what}: unknown key "${key.slice(0, 80)}"`,
      meant === undefined ? undefined : `did you mean "${meant}"?`,
    )
  }
}
