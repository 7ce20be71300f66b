import assert from 'node:assert/strict'
import { readdir, writeFile } from 'node:fs/promises'
import { after, afterEach, before, beforeEach, describe, test } from 'node:test'
import { type Check, type DoctorFacts, doctorBounds, judge, worstOf } from '#src/cli/doctor-checks.js'
import { findCertificates, metricsOf } from '#src/cli/doctor-facts.js'
import { Authority, withoutOpenssl } from '../support/certificates.js'
import { codedError, ServeProcess, understudy } from '../support/command.js'
import { makeDirectory, removeDirectory } from '../support/directory.js'
import { type FakeCluster, startFakeCluster } from '../support/fake-cluster.js'

const alone: DoctorFacts = {
  picture: undefined,
  nodes: [],
  certificates: [],
  endpoints: [],
  local: undefined,
  slotRetainBytes: 1000,
  nowMs: Date.parse('2026-06-01'),
}
const check = (checks: readonly Check[], id: string): Check | undefined => checks.find((one) => one.id === id)

describe('what doctor concludes', () => {
  test('certificates: the one that ends first decides', () => {
    const at = (date: string) => ({ where: date, validToMs: Date.parse(date) })
    const statusOf = (...dates: string[]) =>
      check(judge({ ...alone, certificates: dates.map(at) }), 'certificates')?.status
    assert.equal(statusOf(), 'ok')
    assert.equal(statusOf('2027-01-01'), 'ok')
    assert.equal(statusOf('2027-01-01', '2026-06-10'), 'warn')
    assert.equal(statusOf('2026-05-31', '2027-01-01'), 'fail')
  })

  test('the disk: free space, and the time of a sync', () => {
    const local = {
      directory: '/data',
      fsyncMs: { p50: 1, p99: 5 },
      freeBytes: 500e9,
      totalBytes: 1000e9,
      openFilesMax: 20_000,
    }
    const of = (changes: Partial<typeof local>) => judge({ ...alone, local: { ...local, ...changes } })
    assert.equal(worstOf(of({})), 'ok')
    assert.equal(check(of({ freeBytes: 50e9 }), 'disk-space')?.status, 'warn')
    assert.equal(check(of({ freeBytes: 1e6 }), 'disk-space')?.status, 'fail')
    assert.equal(check(of({ fsyncMs: { p50: 1, p99: doctorBounds.fsyncP99WarnMs + 1 } }), 'disk-sync')?.status, 'warn')
    assert.equal(check(of({ fsyncMs: { p50: 1, p99: doctorBounds.fsyncP99FailMs + 1 } }), 'disk-sync')?.status, 'fail')
    assert.equal(check(of({ openFilesMax: 256 }), 'open-files')?.status, 'warn')
  })

  test('metrics: sums over shards, absent where there was nothing', () => {
    const text = [
      'understudy_journal_flush_seconds_sum{shard="main"} 0.5',
      'understudy_journal_flush_seconds_count{shard="main"} 100',
      'process_open_fds 40',
      'process_max_fds 1024',
    ].join('\n')
    assert.deepEqual(metricsOf(text), { flushMs: 5, openFiles: 40, openFilesMax: 1024 })
    assert.deepEqual(metricsOf(''), { flushMs: undefined, openFiles: undefined, openFilesMax: undefined })
  })
})

describe('doctor on the command line', () => {
  let cluster: FakeCluster
  let directory = ''
  before(async () => {
    directory = await makeDirectory()
  })
  after(() => removeDirectory(directory))
  beforeEach(async () => {
    cluster = await startFakeCluster()
    for (const node of Object.values(cluster.nodes)) {
      node.coordinator = 'static://a=10.0.0.1:1,b=10.0.0.2:1'
      node.main.coordinator = { ...node.main.coordinator, kind: 'automatic', connected: true }
    }
  })
  afterEach(() => cluster.close())
  const diagnose = async (...args: string[]) => {
    const result = await understudy(['doctor', '--url', cluster.urls.a, '--json', ...args])
    return { ...result, checks: JSON.parse(result.stdout).checks as Check[] }
  }

  test('a healthy cluster: exit code 0, and the disk is left as it was', async () => {
    const { code, stdout, checks } = await diagnose('--data', directory)
    for (const id of ['failover', 'spare-node', 'nodes', 'versions', 'settings', 'coordinator', 'retention']) {
      assert.equal(check(checks, id)?.status, 'ok', JSON.stringify(check(checks, id)))
    }
    assert.deepEqual(Object.keys(JSON.parse(stdout)).sort(), ['checks', 'cluster', 'status'])
    assert.match(check(checks, 'clock')?.found ?? '', /does not need clocks to agree/)
    assert.match(check(checks, 'disk-sync')?.found ?? '', /fdatasync/)
    assert.equal(code, checks.some(({ status }) => status === 'fail') ? 1 : 0)
    assert.deepEqual(await readdir(directory), [])
    const text = await understudy(['doctor', '--url', cluster.urls.a])
    assert.match(text.stdout, /\nok +failover +yes: b holds everything/)
    assert.match(text.stdout, /cluster .*: 0 failed/)
  })

  test('exit code 1 and the next command when a standby could not take over, a node is away, settings differ', async () => {
    cluster.nodes.a.main.failover = { possible: false, reason: 'b does not answer', to: undefined }
    cluster.nodes.a.main.inSync = ['a', 'c']
    await cluster.stop('b')
    const { code, checks } = await diagnose()
    assert.equal(code, 1)
    assert.equal(check(checks, 'failover')?.status, 'fail')
    assert.match(check(checks, 'failover')?.next ?? '', /understudy status/)
    assert.equal(check(checks, 'nodes')?.status, 'fail')
    assert.match(check(checks, 'nodes')?.next ?? '', /start b/)
    assert.equal(check(checks, 'spare-node')?.status, 'warn')
    const text = await understudy(['doctor', '--url', cluster.urls.a])
    assert.equal(text.code, 1)
    assert.match(text.stdout, /^FAIL {2}/, 'what must be done first stands first')
    assert.match(text.stdout, /-> start b/)
  })

  test('a coordinator that a node has lost fails', async () => {
    cluster.nodes.b.main.coordinator = {
      kind: 'automatic',
      connected: false,
      since: '2026-01-01T00:00:00.000Z',
      lastError: 'connection refused',
    }
    const { checks } = await diagnose()
    assert.equal(check(checks, 'coordinator')?.status, 'fail')
    assert.match(check(checks, 'coordinator')?.found ?? '', /b: connection refused/)
  })

  test('beside a node that is down its disk and configuration are looked at all the same', async () => {
    const file = `${directory}/understudy.toml`
    const place = `data = "${directory}"\ncluster = "shop"\nnode = "a"\nlisten = "127.0.0.1:1"\n`
    await writeFile(file, place)
    const { code, stdout, stderr } = await understudy(['doctor', '--config', file, '--json'])
    assert.equal(code, 1, stderr)
    const { checks } = JSON.parse(stdout) as { checks: Check[] }
    assert.equal(checks[0]?.id, 'nodes')
    assert.match(checks[0]?.next ?? '', /understudy serve/)
    assert.ok(check(checks, 'disk-sync') !== undefined && check(checks, 'disk-space') !== undefined)
    await writeFile(file, `${place}nod = 1\n`)
    assert.equal((await understudy(['doctor', '--config', file])).code, 2)
  })

  test('exit codes: 2 for a directory that is not there, 4 where no node answers', async () => {
    const missing = await understudy(['doctor', '--url', cluster.urls.a, '--data', `${directory}/none`, '--json'])
    assert.equal(missing.code, 2)
    assert.equal(codedError(missing).code, 'UNDERSTUDY_CONFIG')
    assert.equal((await understudy(['doctor', '--url', 'http://127.0.0.1:1'])).code, 4)
  })
})

describe('doctor and certificates', { skip: withoutOpenssl }, () => {
  let directory = ''
  before(async () => {
    directory = await makeDirectory()
  })
  after(() => removeDirectory(directory))

  test('the end of a certificate is read from a file, and from a node that shows it', { timeout: 60_000 }, async () => {
    const authority = new Authority(directory)
    const files = authority.issue('a')
    const [fact] = await findCertificates(undefined, [files.cert])
    const days = (fact!.validToMs - Date.now()) / (24 * 3600_000)
    assert.ok(days > 0.5 && days < 1.5, String(days))
    await assert.rejects(findCertificates(undefined, [`${directory}/none.pem`]), /none\.pem/)
    const place = ['--data', `${directory}/a`, '--cluster', 'shop', '--node', 'a', '--listen', '127.0.0.1:0']
    const serve = new ServeProcess([...place, '--tls-cert', files.cert, '--tls-key', files.key])
    try {
      const url = (await serve.url()).replace('http:', 'https:')
      const { stdout, stderr } = await understudy(['doctor', '--url', url, '--ca', authority.ca, '--json'])
      const found = check(JSON.parse(stdout).checks as Check[], 'certificates')
      assert.equal(found?.status, 'warn', stderr)
      assert.match(found?.found ?? '', /the certificate of https:.* is valid until/)
    } finally {
      await serve.end()
    }
  })
})
