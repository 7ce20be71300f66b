import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { exitCodeOf } from '#src/cli/exit-code.js'
import { failureCodes } from '#src/core/failure.js'
import { UnderstudyError } from '#src/errors.js'
import { codedError, understudy } from '../support/command.js'
import { makeDirectory, removeDirectory } from '../support/directory.js'

const secret = 'hard-to-guess-0815'

describe('misuse', { concurrency: true }, () => {
  let directory = ''
  before(async () => {
    directory = await makeDirectory()
  })
  after(() => removeDirectory(directory))

  const cases: ReadonlyArray<{ readonly args: readonly string[]; readonly says: readonly RegExp[] }> = [
    { args: ['sttaus'], says: [/unknown command 'sttaus'/, /status/] },
    { args: ['config', 'chek'], says: [/unknown command 'chek'/, /check/] },
    { args: ['serve', '--insync-min', '2'], says: [/unknown option '--insync-min'/, /--in-sync-min/] },
    { args: ['status', '--ulr', 'x'], says: [/unknown option '--ulr'/, /--url/] },
    { args: ['status', '--url', 'ftp://a'], says: [/--url <URL>': 'ftp:\/\/a' is no URL of a node/] },
    { args: ['status', '--url', '127.0.0.1'], says: [/names no port/] },
    { args: ['status', 'extra'], says: [/too many arguments/] },
    { args: ['promote', '--timeout', '10'], says: [/'10' is no duration/] },
    { args: ['in-sync', '--url', '127.0.0.1:1'], says: [/--remove <NODE>/] },
    { args: ['bootstrap', '--data', 'x', '--node', 'c'], says: [/--from <URL>/] },
    { args: ['bootstrap', '--from', '127.0.0.1:1'], says: [/data: is missing/, /node: is missing/] },
    { args: ['bootstrap', '--data', 'x', '--node', 'c', '--from', 'https://a'], says: [/replication/] },
    { args: ['journal'], says: [/missing required argument 'DIR'/] },
    { args: ['journal', '/nowhere/at/all'], says: [/no such file or directory/] },
    { args: ['journal', '.', '--raw', '--json'], says: [/cannot be used with/] },
    { args: ['journal', '.', '--from', '-3'], says: [/'-3' is no sequence/] },
  ]
  for (const { args, says } of cases) {
    test(`exit code 2 and the reason: ${args.join(' ')}`, async () => {
      const result = await understudy(args, { cwd: directory })
      assert.equal(result.code, 2, result.stderr)
      assert.match(result.stderr, /UNDERSTUDY_(BAD_REQUEST|CONFIG)/)
      for (const pattern of says) assert.match(result.stderr, pattern)
      assert.equal(result.stdout, '')
    })
  }

  test('--help of every command shows examples and exits with 0', async () => {
    const { code, stdout } = await understudy(['--help'])
    assert.equal(code, 0)
    const commands = ['serve', 'status', 'promote', 'in-sync', 'bootstrap', 'journal', 'demo']
    await Promise.all(
      commands.map(async (command) => {
        assert.match(stdout, new RegExp(`\\n {2}${command} `))
        const help = await understudy([command, '--help'])
        assert.equal(help.code, 0)
        assert.match(help.stdout, /--json/)
        if (command !== 'demo') assert.match(help.stdout, /Examples?:/)
      }),
    )
  })

  test('without a command: the usage, exit code 2; --version: the version, exit code 0', async () => {
    const [none, version] = await Promise.all([understudy([]), understudy(['--version'])])
    assert.equal(none.code, 2)
    assert.match(none.stderr, /Usage: understudy/)
    assert.equal(version.code, 0)
    assert.match(version.stdout, /^\d+\.\d+\.\d+\n$/)
  })

  test('config check names all problems at once, with lines', async () => {
    const file = join(directory, 'wrong.toml')
    await writeFile(file, 'data = "x"\nlisten = "127.0.0.1"\ninsyncMin = 2\ndurability = "twice"\n')
    const result = await understudy(['config', 'check', file])
    assert.equal(result.code, 2)
    assert.match(result.stderr, /wrong\.toml:2: listen: .*names no port/)
    assert.match(result.stderr, /wrong\.toml:3: insyncMin: .*did you mean "inSyncMin"/)
    assert.match(result.stderr, /wrong\.toml:4: durability: must be/)
    assert.match(result.stderr, /node: is missing/)
    const json = codedError(await understudy(['config', 'check', file, '--json'])) as unknown as { problems: unknown[] }
    assert.equal(json.problems.length, 5)
  })

  test('config check prints the effective options, never the secret', async () => {
    const file = join(directory, 'right.toml')
    await writeFile(file, 'data = "x"\ncluster = "c"\nnode = "a"\nlisten = "127.0.0.1:7400"\nsegmentBytes = "1MiB"\n')
    const env = { UNDERSTUDY_SECRET: secret, UNDERSTUDY_NODE: 'b' }
    const [text, json] = await Promise.all([
      understudy(['config', 'check', file], { env }),
      understudy(['config', 'check', '--json'], { env: { ...env, UNDERSTUDY_CONFIG: file } }),
    ])
    for (const result of [text, json]) {
      assert.equal(result.code, 0, result.stderr)
      assert.ok(!`${result.stdout}${result.stderr}`.includes(secret))
    }
    assert.match(text.stdout, /node +b\n/)
    const { options } = JSON.parse(json.stdout) as { options: Record<string, unknown> }
    assert.equal(options.segmentBytes, 1024 ** 2)
    assert.equal(options.secret, 'set')
  })

  test('serve names all problems at once and the file that was forgotten', async () => {
    await writeFile(join(directory, 'understudy.toml'), 'data = "x"\n')
    const args = ['serve', '--in-sync-min', 'many', '--durability', 'x', '--log-level', 'loud']
    const result = await understudy(args, { cwd: directory, env: { UNDERSTUDY_SEGMENT_BYTES: '1' } })
    assert.equal(result.code, 2)
    for (const pattern of [
      /--in-sync-min: /,
      /--durability: /,
      /--log-level: /,
      /UNDERSTUDY_SEGMENT_BYTES: /,
      /data: is missing/,
      /--config understudy\.toml/,
    ]) {
      assert.match(result.stderr, pattern)
    }
  })

  test('no colours where nobody looks on, or NO_COLOR says so', async () => {
    const result = await understudy(['status', '--url', '127.0.0.1:1'], { env: { NO_COLOR: '1' } })
    assert.equal(result.code, 4)
    assert.ok(!result.stderr.includes('\x1b'))
  })

  test('every failure has one of the documented exit codes', () => {
    const codes = new Set(failureCodes.map((code) => exitCodeOf(new UnderstudyError(code, 'x'))))
    assert.deepEqual([...codes].sort(), [1, 2, 3, 4, 5])
    assert.equal(exitCodeOf(new UnderstudyError('CORRUPTION', 'x')), 5)
    assert.equal(exitCodeOf(new UnderstudyError('NOT_PRIMARY', 'x')), 3)
  })
})
