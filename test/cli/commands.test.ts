/** What holds for every command and every flag, walked from the commands as they are registered. */
import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { parse } from 'smol-toml'
import { describeCommands, flatten } from '#src/cli/command-tree.js'
import { frameOf } from '#src/cli/live-screen.js'
import { createProgram } from '#src/cli/program.js'
import { reflow } from '#src/cli/tidy-command.js'
import { exampleConfig } from '#src/config/example.js'
import { flagOf, type OptionKey, optionTable, variableOf } from '#src/config/option-table.js'
import { fields } from '#src/config/schema.js'
import { mergeSources } from '#src/config/sources.js'
import { codedError, understudy } from '../support/command.js'
import { makeDirectory, removeDirectory } from '../support/directory.js'

const commands = flatten(describeCommands(createProgram())).filter(
  ({ path, commands: below }) => path !== '' && below.length === 0,
)
const paths = commands.map(({ path }) => path)

/** Commands that ask a node, with what they need besides. */
const askers: Readonly<Record<string, readonly string[]>> = {
  status: [],
  switchover: [],
  promote: [],
  'in-sync': ['--remove', 'c'],
  verify: [],
  doctor: [],
}

describe('every command', { concurrency: 2 }, () => {
  let directory = ''
  before(async () => {
    directory = await makeDirectory()
  })
  after(() => removeDirectory(directory))

  test('is there, has --json, examples and exit codes in its help, and no line over 80 columns', {
    timeout: 120_000,
  }, async () => {
    assert.deepEqual(
      [...paths].sort(),
      [
        'bench',
        'bootstrap',
        'completion',
        'config check',
        'config example',
        'demo',
        'doctor',
        'dump',
        'export',
        'import',
        'in-sync',
        'journal',
        'promote',
        'serve',
        'status',
        'switchover',
        'verify',
      ].sort(),
    )
    for (const { path, flags } of commands) {
      assert.ok(
        flags.some(({ long }) => long === '--json'),
        `${path} has --json`,
      )
      const { code, stdout, stderr } = await understudy([...path.split(' '), '--help'])
      assert.equal(code, 0)
      assert.equal(stderr, '')
      assert.match(stdout, /Examples?:\n {2}\S/, path)
      assert.match(stdout, /[Ee]xit codes?/, path)
      assert.doesNotMatch(stdout, /<DURATION>[^<]*\(default: \d+\)/, `${path}: a default without its unit`)
      for (const line of stdout.split('\n')) {
        // A single long word is not broken.
        assert.ok(line.length <= 80 || !line.trim().includes(' '), `${path}: ${line}`)
      }
    }
  })

  for (const path of paths) {
    test(`${path}: an unknown flag is exit code 2, one JSON object on standard error, nothing else`, async () => {
      const result = await understudy([...path.split(' '), '--no-such-flag', '--json'])
      assert.equal(result.code, 2, result.stderr)
      assert.equal(result.stdout, '')
      assert.equal(codedError(result).code, 'UNDERSTUDY_BAD_REQUEST')
      assert.equal(result.stderr.trim().split('\n').length, 1)
    })
  }

  for (const [path, args] of Object.entries(askers)) {
    test(`${path}: exit code 4 where no node answers, by flag or by variable`, async () => {
      const byFlag = await understudy([path, ...args, '--url', '127.0.0.1:1', '--json'])
      assert.equal(byFlag.code, 4, byFlag.stderr)
      assert.equal(byFlag.stdout, '')
      assert.equal(codedError(byFlag).code, 'UNDERSTUDY_UNAVAILABLE')
      const byVariable = await understudy([path, ...args], { env: { UNDERSTUDY_URL: '127.0.0.1:1' } })
      assert.equal(byVariable.code, 4)
      assert.ok(!byVariable.stderr.includes('\x1b'), 'no colours where there is no terminal')
      const wrong = await understudy([path, ...args, '--json'], { env: { UNDERSTUDY_URL: 'ftp://x' } })
      assert.equal(wrong.code, 2)
      assert.match(codedError(wrong).message, /UNDERSTUDY_URL/)
    })
  }

  test('every option of a node is a flag, a variable and a key of the file, and all three mean the same', async () => {
    const serve = commands.find(({ path }) => path === 'serve')
    const ofServe = new Set(serve?.flags.map(({ long }) => long))
    const example = exampleConfig().split('\n')
    for (const entry of optionTable) {
      const key: OptionKey = entry.key
      if (!entry.flag) {
        assert.equal(ofServe.has(flagOf(key)), false, `${key} must not stand on a command line`)
        continue
      }
      assert.ok(ofServe.has(flagOf(key)), `serve has ${flagOf(key)}`)
      const line = example.find((one) => new RegExp(`^(# )?${key} = `).test(one))!.replace(/^# /, '')
      const value = parse(line)[key]
      const text = String(value)
      const file = join(directory, `${key}.toml`)
      await writeFile(file, `${line}\n`)
      const meant = [
        mergeSources({ file }),
        mergeSources({ env: { [variableOf(key)]: text } }),
        mergeSources({ flags: { [key]: entry.kind === 'flag' ? value === true : text } }),
      ].map((merged) => {
        assert.deepEqual(merged.problems, [])
        return fields[key].parse(merged.values[key])
      })
      assert.deepEqual(meant[1], meant[0], `${variableOf(key)} means what ${key} in the file does`)
      assert.deepEqual(meant[2], meant[0], `${flagOf(key)} means what ${key} in the file does`)
    }
    // What serve takes beside options of the node is how it is run.
    const others = [...ofServe].filter((long) => !optionTable.some(({ key }) => flagOf(key) === long))
    assert.deepEqual(others.sort(), ['--config', '--help', '--json'])
  })

  test('config example is a configuration that config check takes', async () => {
    const { stdout, code } = await understudy(['config', 'example'])
    assert.equal(code, 0)
    const file = join(directory, 'example.toml')
    await writeFile(file, stdout)
    const checked = await understudy(['config', 'check', file, '--json'])
    assert.equal(checked.code, 0, checked.stderr)
    assert.equal(JSON.parse(checked.stdout).options.cluster, 'shop')
    assert.equal(JSON.parse((await understudy(['config', 'example', '--json'])).stdout).example, stdout)
  })
})

describe('what a terminal is shown', () => {
  test('help flows to the width; examples and headings stay as they stand', () => {
    const text =
      '\nOne two three\nfour five.\n\nExamples:\n  understudy status --a --very --long --line --of --flags\n\nEnd.'
    assert.deepEqual(reflow(text, 20).split('\n'), [
      '',
      'One two three four',
      'five.',
      '',
      'Examples:',
      '  understudy status --a --very --long --line --of --flags',
      '',
      'End.',
    ])
  })

  test('a live picture is written over the one before and cut to the screen', () => {
    assert.equal(frameOf('a\nb', 24), 'a\x1b[K\nb\x1b[K\x1b[J')
    const lines = frameOf(Array.from({ length: 30 }, (_, index) => `line ${index}`).join('\n'), 10).split('\n')
    assert.equal(lines.length, 9, 'one line less than the screen: the last line end would scroll it')
    assert.match(lines.at(-1)!, /^… 22 more lines/)
  })
})
