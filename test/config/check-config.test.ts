import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { checkConfig, loadConfig } from '#src/config/check-config.js'
import { flagOf, optionTable, variableOf } from '#src/config/option-table.js'
import { formatProblem } from '#src/config/problem.js'
import { fields } from '#src/config/schema.js'

const directory = mkdtempSync(join(tmpdir(), 'understudy-config-'))
after(() => rmSync(directory, { recursive: true }))

let files = 0
function file(text: string): string {
  files += 1
  const path = join(directory, `understudy-${files}.toml`)
  writeFileSync(path, text)
  return path
}

test('the table and the schema hold the same options', () => {
  assert.deepEqual(optionTable.map((entry) => entry.key).sort(), Object.keys(fields).sort())
  assert.equal(variableOf('inSyncMin'), 'UNDERSTUDY_IN_SYNC_MIN')
  assert.equal(flagOf('inSyncMin'), '--in-sync-min')
})

describe('sources', () => {
  test('flags win over the environment, the environment over the file', () => {
    const path = file('data = "d"\nnode = "file"\ncluster = "file"\nlogLevel = "warn"\n')
    const options = loadConfig({
      file: path,
      env: { UNDERSTUDY_NODE: 'env', UNDERSTUDY_CLUSTER: 'env', PATH: '/bin' },
      flags: { node: 'flag', listen: undefined },
    })
    assert.equal(options.node, 'flag')
    assert.equal(options.cluster, 'env')
    assert.equal(options.logLevel, 'warn')
  })

  test('text of the environment and of flags becomes what the option is', () => {
    const options = loadConfig({
      env: { UNDERSTUDY_DATA: 'd', UNDERSTUDY_WRITE_TIMEOUT_MS: '500', UNDERSTUDY_SEGMENT_BYTES: '1MiB' },
      flags: { insecure: true },
    })
    assert.equal(options.writeTimeoutMs, 500)
    assert.equal(options.segmentBytes, 1024 ** 2)
    assert.equal(options.insecure, true)
    assert.equal(loadConfig({ env: { UNDERSTUDY_DATA: 'd', UNDERSTUDY_INSECURE: '0' } }).insecure, false)
  })

  test('a later secret replaces an earlier secretFile; two in one place contradict each other', () => {
    const path = file('data = "d"\nsecretFile = "/nowhere"\n')
    assert.equal(loadConfig({ file: path, env: { UNDERSTUDY_SECRET: 'x' } }).secret, 'x')
    const both = checkConfig({ env: { UNDERSTUDY_DATA: 'd', UNDERSTUDY_SECRET: 'x', UNDERSTUDY_SECRET_FILE: '/n' } })
    assert.match(both.problems.map(formatProblem).join(), /UNDERSTUDY_SECRET_FILE: secretFile: stands beside secret/)
  })

  test('F33: a variable that is set to nothing is an error', () => {
    const { problems } = checkConfig({ env: { UNDERSTUDY_DATA: 'd', UNDERSTUDY_SECRET: '', UNDERSTUDY_NODE: '' } })
    assert.deepEqual(problems.map((problem) => [problem.path, problem.source]).sort(), [
      ['node', 'UNDERSTUDY_NODE'],
      ['secret', 'UNDERSTUDY_SECRET'],
    ])
  })

  test('unknown variables are refused, those that Kubernetes injects are not ours', () => {
    const { problems } = checkConfig({
      env: {
        UNDERSTUDY_DATA: 'd',
        UNDERSTUDY_NOD: 'a',
        UNDERSTUDY_URL: 'http://x',
        UNDERSTUDY_ROCKSDB: 'required',
        UNDERSTUDY_ROCKSDB_ADDON: '/x.node',
        UNDERSTUDY_SERVICE_HOST: '10.0.0.1',
        UNDERSTUDY_SERVICE_PORT_HTTP: '7400',
        UNDERSTUDY_PORT: 'tcp://10.0.0.1:7400',
        UNDERSTUDY_PORT_7400_TCP_ADDR: '10.0.0.1',
      },
    })
    assert.deepEqual(problems.map(formatProblem), [
      'UNDERSTUDY_NOD: is no environment variable of this release (did you mean UNDERSTUDY_NODE?)',
    ])
  })
})

describe('files', () => {
  test('all problems at once, each with file and line', () => {
    const path = file(
      [
        'data = "d"',
        '# a comment',
        'cluster = "my shop"',
        '"node" = "a"',
        'inSynMin = 3',
        'listen = "0.0.0.0:7400"',
        '[coordinator]',
        'kind = "etcd"',
        '',
      ].join('\n'),
    )
    const { problems, options } = checkConfig({ file: path, flags: { engine: 'lmdb' } })
    assert.equal(options, undefined)
    assert.deepEqual(
      problems.map((problem) => [problem.path, problem.line, problem.source]).sort((a, b) => (a[0]! < b[0]! ? -1 : 1)),
      [
        ['cluster', 3, path],
        ['coordinator', 7, path],
        ['engine', undefined, '--engine'],
        ['inSynMin', 5, path],
        ['listen', 6, path],
      ],
    )
  })

  test('bad TOML is one problem with its line, and hides what would only follow from it', () => {
    const path = file('data = "d"\nnode = \n')
    const { problems } = checkConfig({ file: path })
    assert.equal(problems.length, 1)
    assert.equal(problems[0]?.line, 2)
    assert.match(problems[0]!.message, /is not TOML/)
  })

  test('a missing or huge file is one problem', () => {
    const missing = checkConfig({ file: join(directory, 'none.toml') }).problems
    assert.equal(missing.length, 1)
    assert.match(missing[0]!.message, /ENOENT/)
    const huge = checkConfig({ file: file('#'.repeat(2 ** 21)) }).problems
    assert.match(huge[0]!.message, /at most/)
  })
})
