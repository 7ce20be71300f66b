import type { Command } from 'commander'
import { version } from '../version.js'
import { registerBench } from './bench.js'
import { registerBootstrap } from './bootstrap.js'
import { registerCompletion } from './completion.js'
import { registerConfig } from './config.js'
import { registerDemo } from './demo.js'
import { registerDoctor } from './doctor.js'
import { registerDump } from './dump.js'
import { registerExport } from './export.js'
import { registerImport } from './import.js'
import { registerInSync } from './in-sync.js'
import { registerJournal } from './journal.js'
import { registerPromote } from './promote.js'
import { registerServe } from './serve.js'
import { registerStatus } from './status.js'
import { registerSwitchover } from './switchover.js'
import { TidyCommand } from './tidy-command.js'
import { registerVerify } from './verify.js'

export function createProgram(): Command {
  const program = new TidyCommand('understudy')
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
4 unavailable, 5 corruption. Every command has --help and --json: then an error is one JSON
object on standard error, and standard output holds JSON only.

UNDERSTUDY_URL names the node that commands ask.`,
    )
  registerDemo(program)
  registerServe(program)
  registerStatus(program)
  registerSwitchover(program)
  registerPromote(program)
  registerInSync(program)
  registerVerify(program)
  registerDoctor(program)
  registerDump(program)
  registerBootstrap(program)
  registerImport(program)
  registerExport(program)
  registerJournal(program)
  registerConfig(program)
  registerBench(program)
  registerCompletion(program)
  return program
}
