import { type Command, InvalidArgumentError } from 'commander'
import { createJsonNarrator, createStoryNarrator } from './demo-narrator.js'
import { runDemo } from './demo-story.js'

const entriesMax = 10_000_000

export function registerDemo(program: Command): void {
  program
    .command('demo')
    .description('three nodes and a witness on this machine, a steady load, the primary killed, the takeover shown')
    .option('--json', 'one JSON object per line, the last one the summary', false)
    .option('--entries <N>', 'entries to write before a node is built anew', parseEntries, 250_000)
    .option('--keep', 'keep the directory with the data and logs of the nodes', false)
    .addHelpText(
      'after',
      `
Takes about a minute, needs nothing else, and leaves nothing behind.

Examples:
  understudy demo
  understudy demo --entries 50000 --json | tail -1 | jq .

Exit codes: 0 nothing was lost; 1 a check failed.`,
    )
    .action(async (options: { readonly json: boolean; readonly entries: number; readonly keep: boolean }) => {
      const narrator = options.json
        ? createJsonNarrator((text) => process.stdout.write(text))
        : createStoryNarrator(process.stdout)
      const { good, directory } = await runDemo({ entries: options.entries, keep: options.keep }, narrator)
      if (options.keep) process.stderr.write(`data and logs: ${directory}\n`)
      if (!good) process.exitCode = 1
    })
}

function parseEntries(text: string): number {
  const entries = /^\d+$/.test(text) ? Number(text) : Number.NaN
  if (entries >= 1 && entries <= entriesMax) return entries
  throw new InvalidArgumentError(`must be an integer from 1 to ${entriesMax}`)
}
