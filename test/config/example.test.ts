import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, test } from 'node:test'
import { parse } from 'smol-toml'
import { checkOptions } from '#src/config/check-options.js'
import { exampleConfig } from '#src/config/example.js'
import { optionTable, variableOf } from '#src/config/option-table.js'
import { fields } from '#src/config/schema.js'

const file = new URL('../../../docs/understudy.example.toml', import.meta.url)
const example = exampleConfig()

describe('the commented example', () => {
  test('the file is current: node dist/cli/main.js config example > docs/understudy.example.toml', () => {
    assert.equal(readFileSync(file, 'utf8'), example)
  })

  test('it is a configuration without problems', () => {
    assert.deepEqual(checkOptions(parse(example)).problems, [])
  })

  test('it has every option, and each value behind a # is one that the schema takes', () => {
    const lines = example.split('\n')
    for (const { key, flag } of optionTable) {
      assert.ok(example.includes(variableOf(key)), `${key} is in it`)
      const line = lines.find((one) => new RegExp(`^(# )?${key} = `).test(one))
      assert.equal(line !== undefined, flag, `${key}: a line if it may stand in a file`)
      if (line === undefined) continue
      const value = parse(line.replace(/^# /, ''))[key]
      const { error } = fields[key].safeParse(value)
      assert.equal(error, undefined, `${line}: ${error?.message}`)
    }
    for (const line of lines.filter((one) => /^# coordinator = /.test(one))) {
      const { coordinator } = parse(line.replace(/^# /, ''))
      const { problems } = checkOptions({ data: 'x', cluster: 'c', node: 'a', listen: '10.0.0.1:7400', coordinator })
      assert.deepEqual(
        problems.filter(({ path }) => path === 'coordinator'),
        [],
        line,
      )
    }
  })

  test('no line is too long to be read', () => {
    for (const line of example.split('\n')) assert.ok(line.length <= 100, line)
  })
})
