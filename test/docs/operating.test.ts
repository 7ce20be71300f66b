/** docs/OPERATING.md has the next command for everything that can be reported. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, test } from 'node:test'
import { failureCodes } from '#src/core/failure.js'
import { limits } from '#src/core/limits.js'
import { createMetrics } from '#src/server/metrics.js'
import { understudy } from '../support/command.js'
import { parseExposition } from '../support/exposition.js'
import { FakeNode } from '../support/fake-node.js'

const page = readFileSync(new URL('../../../docs/OPERATING.md', import.meta.url), 'utf8')
const between = (from: string, to: string) => page.slice(page.indexOf(from), page.indexOf(to))

describe('docs/OPERATING.md', () => {
  test('every error code has a row with what to do next, and no other', () => {
    const rows = [...between('## Error codes', '## The log').matchAll(/^\| `([A-Z_]+)` *\| (.+?) *\|$/gm)]
    assert.deepEqual(rows.map(([, code]) => code!).sort(), [...failureCodes].sort())
    for (const [, code, next] of rows) assert.ok(next!.length > 10, code)
  })

  test('every metric that is served has a row, and no other', async () => {
    const { types } = parseExposition(await createMetrics().collect(new FakeNode()))
    const described = new Set<string>()
    for (const line of between('## Metrics', '## Dead-man')
      .split('\n')
      .filter((one) => one.startsWith('| `'))) {
      const cell = line.split('|')[1]!
      let first = ''
      for (const [, name = ''] of cell.matchAll(/`(\w+)[^`]*`/g)) {
        if (name.startsWith('understudy_')) first = name
        // "understudy_standby_lag_entries, _bytes": the same name with another end.
        const ends = first.split('_').map((_part, at, all) => `${all.slice(0, at).join('_')}${name}`)
        const candidates = [name, ...ends.reverse()]
        const served = candidates.find((one) => types.has(one))
        if (name.startsWith('understudy_') || name.startsWith('_')) {
          assert.ok(served !== undefined, `${name} in ${cell.trim()}`)
          described.add(served)
        }
      }
    }
    assert.deepEqual([...described].sort(), [...types.keys()].sort())
  })

  test('every command that it names exists', async () => {
    const commands = new Set([...page.matchAll(/`understudy ([a-z-]+)/g)].map(([, name]) => name!))
    assert.ok(commands.size >= 6)
    const { stdout } = await understudy(['--help'])
    for (const name of commands) assert.match(stdout, new RegExp(`^ +${name}\\b`, 'm'), name)
  })

  test('figures are those of the code', () => {
    assert.ok(page.includes(`at most ${limits.heartbeatLagMsMax / 1000} s old`))
    assert.ok(page.includes(`a time-out of at most ${limits.heartbeatTimeoutMs / 1000} s`))
  })
})
