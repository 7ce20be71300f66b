#!/usr/bin/env node
import { CommanderError } from 'commander'
import { exitCodeOf, exitCodes, toCommandError } from './exit-code.js'
import { createProgram } from './program.js'
import { printError } from './terminal.js'

// Whoever reads may stop reading: `understudy journal ... | head` is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error
})

try {
  await createProgram().parseAsync()
} catch (thrown) {
  if (thrown instanceof CommanderError && thrown.code.startsWith('commander.help')) {
    process.exitCode = thrown.exitCode === 0 ? exitCodes.done : exitCodes.misuse
  } else if (!(thrown instanceof CommanderError && thrown.exitCode === 0)) {
    const error = toCommandError(thrown)
    printError(error, process.argv.includes('--json'))
    process.exitCode = exitCodeOf(error)
  }
}
