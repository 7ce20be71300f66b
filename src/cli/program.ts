import { Command } from 'commander'
import { version } from '../version.js'
import { registerServe } from './serve.js'

export function createProgram(): Command {
  const program = new Command('understudy')
  program
    .description('A hot standby for an embedded ordered key-value store.')
    .version(version, '-V, --version')
    .helpCommand(false)
    .configureOutput({ outputError: () => {} })
    .exitOverride()
    .addHelpText(
      'after',
      `
Exit codes: 0 done, 1 failed, 2 misuse or configuration, 3 not primary,
4 unavailable, 5 corruption. Every command has --help and --json.`,
    )
  registerServe(program)
  return program
}
