import assert from 'node:assert/strict'
import { after, before, beforeEach, describe, test } from 'node:test'
import { UnderstudyError } from '#src/errors.js'
import type { VerifiedNode, VerifyResult } from '#src/runtime/verify-report.js'
import { codedError, understudy } from '../support/command.js'
import { type FakeCluster, startFakeCluster } from '../support/fake-cluster.js'

const equal = (node: string): VerifiedNode => ({
  node,
  address: `${node}:7400`,
  state: 'equal',
  failure: undefined,
  differences: 0,
  more: false,
})

describe('verify on the command line', () => {
  let cluster: FakeCluster
  let plain: VerifyResult
  before(async () => {
    cluster = await startFakeCluster()
    plain = { ...cluster.nodes.a.main.verified, nodes: [equal('c'), equal('b')] }
  })
  after(() => cluster.close())
  beforeEach(() => {
    const { main } = cluster.nodes.a
    main.failures.clear()
    main.calls = []
    main.verified = plain
  })
  const run = (...args: string[]) => understudy(['verify', '--url', cluster.urls.a, ...args])

  test('exit code 0 when all nodes are equal; options reach the node', async () => {
    const { code, stdout, stderr } = await run('--rate', '8MiB', '--differences', '5', '--timeout', '2s')
    assert.equal(code, 0, stderr)
    assert.match(
      stdout,
      /^node +compared with a +differences\nb +equal +0\nc +equal +0\n\nall nodes hold the same content\n10 entries, .* compared at 1@a\.7, /,
    )
    assert.equal(stderr, '', 'no progress where there is no terminal')
    assert.deepEqual(cluster.nodes.a.main.calls[0]?.argument, {
      maxBytesPerSecond: 8 * 1024 * 1024,
      differencesMax: 5,
      timeoutMs: 2000,
    })
  })

  test('exit code 5 and every key when a node differs', async () => {
    cluster.nodes.a.main.verified = {
      ...plain,
      verdict: 'different',
      nodes: [equal('b'), { ...equal('c'), state: 'different', differences: 3, more: true }],
      differences: [
        { node: 'c', family: 'default', key: Buffer.from('user/7'), kind: 'value' },
        { node: 'c', family: 'default', key: Buffer.from('two words\n'), kind: 'missing-there' },
        { node: 'c', family: 'default', key: Buffer.from([0xff]), kind: 'missing-here' },
      ],
    }
    const { code, stdout, stderr } = await run()
    assert.equal(code, 5)
    assert.match(stdout, /\nc +different +3 or more\n/)
    assert.match(stdout, /\nc +other value +default +user\/7\n/)
    assert.match(stdout, /\nc +missing on c +default +"two words\\n"\n/)
    assert.match(stdout, /\nc +missing on a +default +base64:\/w==\n/)
    assert.match(stderr, /UNDERSTUDY_CORRUPTION: c and a hold different content/)
    const json = await run('--json')
    assert.equal(json.code, 5)
    assert.equal(JSON.parse(json.stdout).differences.length, 3)
    assert.equal(codedError(json).code, 'UNDERSTUDY_CORRUPTION')
  })

  test('exit code 4 when a node was not compared or nothing can be, 5 when one cannot read its data', async () => {
    const away = {
      ...equal('c'),
      state: 'not-compared' as const,
      failure: { code: 'UNAVAILABLE' as const, message: 'no' },
    }
    cluster.nodes.a.main.verified = { ...plain, verdict: 'incomplete', nodes: [equal('b'), away] }
    const incomplete = await run()
    assert.equal(incomplete.code, 4)
    assert.match(incomplete.stdout, /\nc +not compared +-\nc: UNDERSTUDY_UNAVAILABLE: no\n/)
    const broken = { ...away, failure: { code: 'CORRUPTION' as const, message: 'block 7 is damaged' } }
    cluster.nodes.a.main.verified = { ...plain, verdict: 'incomplete', nodes: [equal('b'), broken] }
    assert.equal((await run()).code, 5)
    cluster.nodes.a.main.failures.set('verify', new UnderstudyError('VERIFY_REFUSED', 'no primary'))
    const refused = await run('--json')
    assert.equal(refused.code, 4)
    assert.equal(codedError(refused).code, 'UNDERSTUDY_VERIFY_REFUSED')
    assert.equal((await understudy(['verify', '--url', 'http://127.0.0.1:1'])).code, 4)
    assert.equal((await run('--rate', '1KiB')).code, 2)
    assert.equal((await run('--differences', '0')).code, 2)
  })
})
