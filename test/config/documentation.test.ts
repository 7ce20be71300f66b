import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { parse } from 'smol-toml'
import { checkOptions } from '#src/config/check-options.js'
import { flagOf, optionTable, variableOf } from '#src/config/option-table.js'

const page = readFileSync(new URL('../../../docs/CONFIGURATION.md', import.meta.url), 'utf8')

/** Rows of the table of options, by key. */
const rows = new Map(
  page
    .slice(page.indexOf('## Options'), page.indexOf('## Nodes'))
    .split('\n')
    .filter((line) => line.startsWith('| `'))
    .map((line) => line.split('|').map((cell) => cell.trim().replaceAll('`', '')))
    .map((cells) => [cells[1], cells] as const),
)

test('every option stands in docs/CONFIGURATION.md with its variable and flag, and nothing else does', () => {
  assert.deepEqual([...rows.keys()].sort(), optionTable.map((entry) => entry.key).sort())
  for (const { key, flag } of optionTable) {
    assert.equal(rows.get(key)?.[2], variableOf(key))
    assert.equal(rows.get(key)?.[3], flag ? flagOf(key) : '(none)')
  }
})

test('the example of the page is a configuration without problems', () => {
  const example = /```toml\n([^`]*)```/.exec(page)?.[1]
  assert.ok(example !== undefined)
  const { secretFile, ...options } = parse(example)
  assert.equal(secretFile, '/etc/understudy/secret')
  for (const node of ['a', 'b', 'c']) {
    assert.deepEqual(checkOptions({ ...options, node, secret: 's' }).problems, [])
  }
})
