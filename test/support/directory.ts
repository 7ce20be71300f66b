import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export function makeDirectory(): Promise<string> {
  return mkdtemp(join(tmpdir(), 'understudy-test-'))
}

/** In memory where the system has such a place: for tests of what a database answers, not of what its disk holds. */
export function makeMemoryDirectory(): Promise<string> {
  const parent = existsSync('/dev/shm') ? '/dev/shm' : tmpdir()
  return mkdtemp(join(parent, 'understudy-test-'))
}

export function removeDirectory(directory: string): Promise<void> {
  return rm(directory, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 })
}
