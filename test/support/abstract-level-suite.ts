import { createRequire } from 'node:module'
import { join } from 'node:path'
import type { AbstractLevel } from 'abstract-level'
import tape from 'tape'
import { makeMemoryDirectory, removeDirectory } from './directory.js'

export interface SuiteResult {
  readonly assertions: number
  readonly failures: number
  /** The lines of TAP around what failed. */
  readonly failed: string
}

// biome-ignore lint/suspicious/noExplicitAny: the suite calls the database with everything
type AnyLevel = AbstractLevel<any, any, any>
type Suite = (options: { test: typeof tape; factory: (options?: object) => AnyLevel }) => void

/**
 * Runs abstract-level's own suite, unmodified, on databases that `make` constructs, each at a new location below a
 * temporary directory.
 */
export async function runAbstractLevelSuite(
  make: (location: string, options: object | undefined) => AnyLevel,
): Promise<SuiteResult> {
  const suite = createRequire(import.meta.url)('abstract-level/test') as Suite
  const directory = await makeMemoryDirectory()
  const harness = tape.createHarness()
  const output = harness.createStream()
  let lines = ''
  output.on('data', (part: unknown) => {
    lines += String(part)
  })
  const finished = new Promise<void>((resolve) => output.on('end', () => resolve()))
  let count = 0
  try {
    suite({
      test: harness as unknown as typeof tape,
      factory: (options) => make(join(directory, String(++count)), options),
    })
    await finished
  } finally {
    await removeDirectory(directory)
  }
  return {
    assertions: matches(lines, /^(not )?ok \d+/gm),
    failures: matches(lines, /^not ok \d+/gm),
    failed: around(lines.split('\n'), 'not ok'),
  }
}

function matches(lines: string, pattern: RegExp): number {
  return lines.match(pattern)?.length ?? 0
}

function around(lines: readonly string[], beginning: string): string {
  const wanted: string[] = []
  lines.forEach((line, index) => {
    if (line.startsWith(beginning)) wanted.push(...lines.slice(Math.max(0, index - 3), index + 14))
  })
  return wanted.join('\n')
}
