import { readFileSync, statSync } from 'node:fs'
import { limits } from '../core/limits.js'

/** The secret is the file's content without the line end that editors add. */
export function readSecretFile(path: string): { readonly secret: string } | { readonly reason: string } {
  try {
    const { size } = statSync(path)
    if (size > limits.secretBytesMax + 2) return { reason: `${path} has ${size} bytes, which is no secret` }
    return { secret: readFileSync(path, 'utf8').replace(/\r?\n$/, '') }
  } catch (error) {
    return { reason: `cannot be read: ${(error as Error).message}` }
  }
}
