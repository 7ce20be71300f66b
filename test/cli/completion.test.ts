import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { promisify } from 'node:util'
import { describeCommands, flatten } from '#src/cli/command-tree.js'
import { completionScript, shells } from '#src/cli/completion-scripts.js'
import { createProgram } from '#src/cli/program.js'
import { codedError, understudy } from '../support/command.js'
import { makeDirectory, removeDirectory } from '../support/directory.js'

const run = promisify(execFile)
const program = describeCommands(createProgram())

describe('completion', () => {
  let directory = ''
  before(async () => {
    directory = await makeDirectory()
    await mkdir(join(directory, 'data-a'))
    await writeFile(join(directory, 'understudy.toml'), '')
    for (const shell of shells) {
      const { code, stdout } = await understudy(['completion', shell])
      assert.equal(code, 0)
      assert.equal(stdout, completionScript(shell, program))
      await writeFile(join(directory, `script.${shell}`), stdout)
    }
  })
  after(() => removeDirectory(directory))

  const bash = async (...words: readonly string[]): Promise<string[]> => {
    const script = `source ./script.bash; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _understudy; printf '%s\\n' "\${COMPREPLY[@]}"`
    const { stdout } = await run('bash', ['--norc', '-c', script, 'bash', 'understudy', ...words], { cwd: directory })
    return stdout.trim().split('\n').sort()
  }

  test('bash completes commands, flags, values and files, from the commands as they are', async () => {
    const names = program.commands.map(({ path }) => path).sort()
    assert.deepEqual(await bash(''), names)
    assert.deepEqual(await bash('sw'), ['switchover'])
    assert.deepEqual(await bash('config', ''), ['check', 'example'])
    assert.deepEqual(await bash('config', 'check', '--'), ['--help', '--json'])
    assert.deepEqual(await bash('status', '--w'), ['--watch'])
    assert.deepEqual(await bash('status', '--url', 'host', '--w'), ['--watch'], 'a value is no command')
    assert.deepEqual(await bash('serve', '--engine', ''), ['level', 'memory', 'rocksdb'])
    assert.deepEqual(await bash('serve', '--durability', 's'), ['standby'])
    assert.deepEqual(await bash('serve', '--data', 'd'), ['data-a'], 'directories only')
    assert.deepEqual(await bash('serve', '--config', 'u'), ['understudy.toml'])
    assert.deepEqual(await bash('import', 'd'), ['data-a'])
    assert.deepEqual(await bash('status', '--url', ''), [''], 'nothing is guessed')
    assert.deepEqual(await bash('completion', ''), [...shells].sort())
  })

  test('every command and flag is in every script', () => {
    for (const shell of shells) {
      const script = completionScript(shell, program)
      for (const { path, flags } of flatten(program)) {
        assert.ok(script.includes(path.split(' ').at(-1)!), `${shell}: ${path}`)
        for (const { long } of flags) assert.ok(script.includes(shell === 'fish' ? `-l ${long.slice(2)}` : long))
      }
    }
  })

  for (const shell of ['zsh', 'fish'] as const) {
    test(`${shell} takes its script, where it is installed`, async (context) => {
      const file = join(directory, `script.${shell}`)
      try {
        const { stderr } = await run(shell, ['-n', file])
        assert.equal(stderr, '')
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
        context.skip(`${shell} is not installed`)
      }
    })
  }

  test('exit code 2 for a shell that is not known', async () => {
    const result = await understudy(['completion', 'tcsh', '--json'])
    assert.equal(result.code, 2)
    assert.match(codedError(result).message, /tcsh/)
    assert.equal(JSON.parse((await understudy(['completion', 'bash', '--json'])).stdout).shell, 'bash')
  })
})
