import { spawnSync } from 'node:child_process'

const command = process.env.UNDERSTUDY_TEST_PROMTOOL ?? 'promtool'

/** Prometheus's own checker, where it is installed; `missing` says why a test that needs it is skipped. */
export const promtool = {
  missing:
    spawnSync(command, ['--version']).status === 0 || process.env.UNDERSTUDY_TEST_PROMTOOL === 'required'
      ? false
      : 'promtool is not installed',
}

/** What it has to say; empty when all is well. */
export function checkWithPromtool(args: readonly string[], input: string): string {
  const run = spawnSync(command === 'required' ? 'promtool' : command, args, { input, encoding: 'utf8' })
  if (run.error !== undefined) throw run.error
  return run.status === 0 ? run.stderr.trim() : `exit code ${run.status}: ${run.stdout}${run.stderr}`
}
