import { existsSync } from 'node:fs'
import type { Command } from 'commander'
import { checkConfig } from '../config/check-config.js'
import { exampleConfig } from '../config/example.js'
import { describeOptions } from '../config/node-options.js'
import { ConfigError } from '../config/problem.js'
import { defaultFile } from './node-flags.js'
import { createTable, trimmed } from './table.js'
import { printJson, printLine } from './terminal.js'

interface CheckFlags {
  readonly json?: boolean
}

export function registerConfig(program: Command): void {
  const config = program.command('config').description('about configurations').helpCommand(false)
  config
    .command('check')
    .description('check a configuration file and the environment, all problems at once')
    .argument('[FILE]', `configuration in TOML (default: UNDERSTUDY_CONFIG, or ./${defaultFile} if it exists)`)
    .option('--json', 'the effective options or the problems as one JSON object')
    .addHelpText(
      'after',
      `
Prints the options that a node started with them would have; a secret is never
printed. Exit code 2 if there are problems, each with file and line where known.

Examples:
  understudy config check understudy.toml
  UNDERSTUDY_NODE=b understudy config check --json`,
    )
    .action((file: string | undefined, flags: CheckFlags) => {
      const { UNDERSTUDY_CONFIG } = process.env
      const path = file ?? UNDERSTUDY_CONFIG ?? (existsSync(defaultFile) ? defaultFile : undefined)
      const { problems, options } = checkConfig({ ...(path === undefined ? {} : { file: path }), env: process.env })
      if (options === undefined) throw new ConfigError(problems)
      const described = describeOptions(options)
      if (flags.json === true) {
        printJson({ file: path, options: described })
        return
      }
      const table = createTable(['option', 'value'])
      for (const [key, value] of Object.entries(described)) table.push([key, String(value)])
      printLine(trimmed(table.toString()).join('\n'))
      printLine(`${path ?? 'the environment'}: no problems`)
    })
  config
    .command('example')
    .description('print a commented configuration with every option, from the schema of this release')
    .option('--json', 'the example as one JSON object')
    .addHelpText(
      'after',
      `
Examples:
  understudy config example > understudy.toml
  understudy config example | grep -A3 -i failover

Exit code 0.`,
    )
    .action((flags: CheckFlags) => {
      const example = exampleConfig()
      if (flags.json === true) printJson({ example })
      else process.stdout.write(example)
    })
}
