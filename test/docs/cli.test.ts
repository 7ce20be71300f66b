import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, test } from 'node:test'
import { Command } from 'commander'
import { addClientFlags } from '#src/cli/client-flags.js'
import { describeCommands, flatten } from '#src/cli/command-tree.js'
import { createProgram } from '#src/cli/program.js'
import { flagOf, optionTable } from '#src/config/option-table.js'

const page = readFileSync(new URL('../../../docs/CLI.md', import.meta.url), 'utf8')
const sections = new Map(
  page
    .split('\n## ')
    .slice(1)
    .map((section) => [section.split('\n')[0]!, section]),
)
const commands = flatten(describeCommands(createProgram())).filter(
  ({ path, commands: below }) => path !== '' && below.length === 0,
)
/** Said once, for all commands. */
const common = new Set([
  '--help',
  '--json',
  ...describeCommands(addClientFlags(new Command())).flags.map(({ long }) => long),
])
const ofNodes = new Set(optionTable.map(({ key }) => flagOf(key)))

describe('docs/CLI.md', () => {
  test('has a section for every command, and none for another', () => {
    const described = [...sections.keys()].filter((title) => title.startsWith('understudy ')).sort()
    assert.deepEqual(described, commands.map(({ path }) => `understudy ${path}`).sort())
    for (const { path } of commands) assert.ok(page.includes(`understudy ${path.split(' ')[0]}`))
  })

  for (const { path, flags } of commands) {
    test(`${path}: every flag of its own is named`, () => {
      const section = sections.get(`understudy ${path}`)!
      const takesNodeOptions = path === 'serve' || path === 'bootstrap'
      for (const { long } of flags) {
        if (common.has(long) || (takesNodeOptions && (ofNodes.has(long) || long === '--config'))) continue
        assert.ok(section.includes(long), long)
      }
    })
  }

  test('every exit code is explained', () => {
    for (let code = 0; code <= 5; code++) assert.match(page, new RegExp(`\\n\\| ${code} +\\|`))
  })
})
