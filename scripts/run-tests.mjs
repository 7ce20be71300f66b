// Runs every compiled test file (or those whose path contains one of the arguments) under node:test.
// Node 20 has no globs in `--test`, so the list is made here; two files at a time, as for two cores.
import { spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../build/test', import.meta.url))
const wanted = process.argv.slice(2)
const files = readdirSync(root, { recursive: true })
  .filter((name) => name.endsWith('.test.js'))
  .filter((name) => wanted.length === 0 || wanted.some((part) => name.includes(part)))
  .map((name) => `${root}/${name}`)
  .sort()
if (files.length === 0) {
  console.error(`no test file matches ${wanted.join(' ')}`)
  process.exit(2)
}
const reporter = process.env.TEST_REPORTER ?? 'spec'
const run = spawnSync(
  process.execPath,
  ['--test', '--test-concurrency=2', '--test-timeout=480000', `--test-reporter=${reporter}`, ...files],
  {
    stdio: 'inherit',
  },
)
process.exit(run.status ?? 1)
