/** Encrypted connections with certificates on both sides, and users with passwords. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { failureOf, makeRecord, patient, until, Watcher, write } from '#src/coordinator/conformance-kit.js'
import type { EtcdAccess } from '#src/coordinator/etcd/client.js'
import { createEtcdCoordinator, type EtcdCoordinator } from '#src/coordinator/etcd/etcd-coordinator.js'
import { nodeRandom } from '#src/platform/node-random.js'
import type { Logger } from '#src/ports/logger.js'
import { testClock } from '../support/clock.js'
import { makeDirectory, removeDirectory } from '../support/directory.js'
import { EtcdCluster, type EtcdTls, etcdMissing, postEtcd } from '../support/etcd.js'

const noOpenssl = spawnSync('openssl', ['version']).status === 0 ? undefined : 'openssl is not installed'
const skip = etcdMissing() ?? noOpenssl ?? false
const password = 'open sesame/ä'

/** Everything that was logged, as one text: no secret may be in it. */
function keepingLogger(lines: string[]): Logger {
  const keep = (fields: object, message: string) => {
    lines.push(JSON.stringify(fields) + message)
  }
  const logger: Logger = { debug: keep, info: keep, warn: keep, error: keep, child: () => logger }
  return logger
}

async function withCoordinator(
  access: EtcdAccess,
  use: (coordinator: EtcdCoordinator, watcher: Watcher) => Promise<void>,
): Promise<void> {
  const lines: string[] = []
  const coordinator = createEtcdCoordinator({
    ...access,
    cluster: 'shop',
    registrationMs: 1_000,
    clock: testClock,
    random: nodeRandom,
    logger: keepingLogger(lines),
  })
  const watcher = new Watcher(coordinator)
  try {
    coordinator.start()
    coordinator.register({ node: 'a', address: '10.0.0.1:7400', boot: '01' })
    await use(coordinator, watcher)
  } finally {
    await coordinator.close()
    const told = watcher.events.flatMap((event) => (event.type === 'disconnected' ? [event.error] : []))
    const shown = [...lines, coordinator.description, ...told.map((error) => `${error.message}${error.stack}`)]
    assert.ok(!shown.join().includes('sesame'), 'the password is nowhere')
  }
}

/** All that a coordinator does, works. */
async function assertServes(coordinator: EtcdCoordinator, watcher: Watcher): Promise<void> {
  const state = await write(coordinator)
  await until(() => watcher.last('main')?.revision === state.revision, 'the record is told')
  await until(() => watcher.names.join() === 'a' && coordinator.registeredUntilMs > 0, 'registered')
}

/** Calls and listeners are told that access is refused; what was not allowed was not done. */
async function assertRefused(coordinator: EtcdCoordinator, watcher: Watcher, says: RegExp): Promise<void> {
  await until(() => watcher.count('disconnected') > 0, 'it is told')
  const event = watcher.events.find(({ type }) => type === 'disconnected')
  assert.ok(event?.type === 'disconnected')
  assert.match(event.error.message, says)
  for (const call of [
    () => coordinator.read('main', patient),
    () => coordinator.swap('main', 0, makeRecord('0'.repeat(32)), patient),
  ]) {
    const { error, tookMs } = await failureOf(testClock, call)
    assert.equal(error.failure, 'UNAUTHORIZED', error.message)
    assert.deepEqual([error.outcome, error.retryable], ['none', false])
    assert.match(error.message, says)
    assert.ok(!`${error.message}${error.stack}${error.hint}`.includes('sesame'))
    assert.ok(tookMs < 5_000, 'nothing is tried again that cannot become right')
  }
  assert.equal(watcher.count('connected'), 0)
  assert.equal(coordinator.registeredUntilMs, 0)
}

/** A user with a role for the cluster, one without, and `root`; etcd asks for passwords only when that is enabled. */
async function addUsers(etcd: EtcdCluster): Promise<void> {
  await postEtcd(etcd, 'auth/user/add', { name: 'root', password: 'root' })
  await postEtcd(etcd, 'auth/user/grant', { user: 'root', role: 'root' })
  await postEtcd(etcd, 'auth/role/add', { name: 'shop' })
  await postEtcd(etcd, 'auth/role/grant', {
    name: 'shop',
    perm: {
      permType: 'READWRITE',
      key: Buffer.from('/understudy/shop/').toString('base64'),
      range_end: Buffer.from('/understudy/shop0').toString('base64'),
    },
  })
  for (const name of ['understudy', 'nobody']) await postEtcd(etcd, 'auth/user/add', { name, password })
  await postEtcd(etcd, 'auth/user/grant', { user: 'understudy', role: 'shop' })
}

/** A request of etcd's administrator. */
async function asRoot(etcd: EtcdCluster, path: string, body: object): Promise<void> {
  const answer = await postEtcd(etcd, 'auth/authenticate', { name: 'root', password: 'root' })
  await postEtcd(etcd, path, body, (answer as { token: string }).token)
}

describe('etcd with users', { skip, concurrency: false }, () => {
  let etcd: EtcdCluster
  before(async () => {
    etcd = await EtcdCluster.start(1)
    await addUsers(etcd)
  })
  after(() => etcd.close())

  test('a password is given though etcd asks for none yet, and when it begins to ask', () =>
    withCoordinator({ endpoints: etcd.endpoints, username: 'understudy', password }, async (coordinator, watcher) => {
      await assertServes(coordinator, watcher)
      await postEtcd(etcd, 'auth/enable', {})
      await assertServes(coordinator, watcher)
    }))

  test('a user with a role for the prefix of the cluster may do everything, also after etcd has forgotten the token', () =>
    withCoordinator({ endpoints: etcd.endpoints, username: 'understudy', password }, async (coordinator, watcher) => {
      await assertServes(coordinator, watcher)
      await etcd.kill(0)
      await etcd.startMember(0)
      await assertServes(coordinator, watcher)
      await until(() => watcher.connected, 'the watch is there again')
    }))

  test('a token that etcd does not know any more is asked for anew', () =>
    withCoordinator({ endpoints: etcd.endpoints, username: 'understudy', password }, async (coordinator, watcher) => {
      await assertServes(coordinator, watcher)
      await asRoot(etcd, 'auth/user/changepw', { name: 'understudy', password })
      await assertServes(coordinator, watcher)
      await asRoot(etcd, 'auth/user/changepw', { name: 'understudy', password })
      const state = await coordinator.read('main', patient)
      const result = await coordinator.swap('main', state.revision, makeRecord(state.coordinatorId), patient)
      assert.ok(result.swapped)
    }))

  test('a wrong password, no password and a user without the role are refused', async () => {
    const { endpoints } = etcd
    await withCoordinator({ endpoints, username: 'understudy', password: 'sesame' }, (coordinator, watcher) =>
      assertRefused(coordinator, watcher, /authentication failed/),
    )
    await withCoordinator({ endpoints }, (coordinator, watcher) =>
      assertRefused(coordinator, watcher, /user name is empty/),
    )
    await withCoordinator({ endpoints, username: 'nobody', password }, (coordinator, watcher) =>
      assertRefused(coordinator, watcher, /permission denied/),
    )
  })

  test('who was refused at first is served when the role is granted', () =>
    withCoordinator({ endpoints: etcd.endpoints, username: 'nobody', password }, async (coordinator, watcher) => {
      await until(() => watcher.count('disconnected') > 0, 'refused')
      await asRoot(etcd, 'auth/user/grant', { user: 'nobody', role: 'shop' })
      await until(() => watcher.count('connected') > 0, 'served')
      await assertServes(coordinator, watcher)
    }))
})

describe('etcd with signed tokens', { skip, concurrency: false }, () => {
  let directory: string
  let etcd: EtcdCluster
  before(async () => {
    directory = await makeDirectory()
    const [secret, known] = [join(directory, 'jwt.key'), join(directory, 'jwt.pub')]
    const pair = generateKeyPairSync('rsa', { modulusLength: 2048 })
    writeFileSync(secret, pair.privateKey.export({ type: 'pkcs1', format: 'pem' }))
    writeFileSync(known, pair.publicKey.export({ type: 'spki', format: 'pem' }))
    const token = `jwt,pub-key=${known},priv-key=${secret},sign-method=RS256,ttl=1s`
    etcd = await EtcdCluster.start(1, { args: ['--auth-token', token] })
    await addUsers(etcd)
    await postEtcd(etcd, 'auth/enable', {})
  })
  after(async () => {
    await etcd.close()
    await removeDirectory(directory)
  })

  test('a token that was given before users and roles were changed is asked for anew, for reads and for swaps', () =>
    withCoordinator({ endpoints: etcd.endpoints, username: 'understudy', password }, async (coordinator, watcher) => {
      await assertServes(coordinator, watcher)
      await asRoot(etcd, 'auth/role/add', { name: 'another' })
      await assertServes(coordinator, watcher)
      await asRoot(etcd, 'auth/role/add', { name: 'a third' })
      const { revision, coordinatorId } = watcher.last('main')!
      assert.ok((await coordinator.swap('main', revision, makeRecord(coordinatorId), patient)).swapped)
    }))

  test('a token that has expired is asked for anew', () =>
    withCoordinator({ endpoints: etcd.endpoints, username: 'understudy', password }, async (coordinator, watcher) => {
      await assertServes(coordinator, watcher)
      const endMs = testClock.nowMs() + 3_000
      await until(() => testClock.nowMs() > endMs, 'tokens expire')
      assert.ok(coordinator.registeredUntilMs > testClock.nowMs(), 'the registration was renewed all the time')
      await assertServes(coordinator, watcher)
      assert.equal(watcher.count('disconnected'), 0)
    }))
})

describe('etcd with certificates', { skip, concurrency: false }, () => {
  let directory: string
  let etcd: EtcdCluster
  let server: EtcdTls
  const read = (path: string) => readFileSync(path)
  const openssl = (...args: string[]) => {
    const { status, stderr } = spawnSync('openssl', args, { encoding: 'utf8' })
    assert.equal(status, 0, stderr)
  }
  const authority = (name: string) => {
    const [cert, key] = [join(directory, `${name}.pem`), join(directory, `${name}.key`)]
    const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', key]
    openssl('req', '-x509', ...newKey, '-out', cert, '-subj', `/CN=${name}`, '-days', '2')
    return { cert, key }
  }
  const certificate = (name: string, ca: { readonly cert: string; readonly key: string }): EtcdTls => {
    const [cert, key, request, extensions] = ['pem', 'key', 'csr', 'ext'].map((end) =>
      join(directory, `${name}.${end}`),
    ) as [string, string, string, string]
    const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', key]
    openssl('req', ...newKey, '-out', request, '-subj', `/CN=${name}`)
    writeFileSync(extensions, 'subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n')
    const signing = ['-CA', ca.cert, '-CAkey', ca.key, '-CAcreateserial', '-days', '2', '-extfile', extensions]
    openssl('x509', '-req', '-in', request, ...signing, '-out', cert)
    return { ca: ca.cert, cert, key }
  }
  let own: { readonly ca: Buffer; readonly cert: Buffer; readonly key: Buffer }
  let foreign: typeof own

  before(async () => {
    directory = await makeDirectory()
    const ca = authority('authority')
    server = certificate('server', ca)
    const client = certificate('client', ca)
    own = { ca: read(client.ca), cert: read(client.cert), key: read(client.key) }
    const other = certificate('stranger', authority('another'))
    foreign = { ca: read(other.ca), cert: read(other.cert), key: read(other.key) }
    etcd = await EtcdCluster.start(1, { tls: server })
  })
  after(async () => {
    await etcd.close()
    await removeDirectory(directory)
  })

  test('both sides know each other', () => withCoordinator({ endpoints: etcd.endpoints, tls: own }, assertServes))

  test('a server that the authority does not know is not spoken to', () =>
    withCoordinator({ endpoints: etcd.endpoints, tls: { ...own, ca: foreign.ca } }, assertAway))

  test('a client without a certificate, with a foreign one, or without encryption is not served', async () => {
    const { endpoints } = etcd
    await withCoordinator({ endpoints, tls: { ca: own.ca } }, assertAway)
    await withCoordinator({ endpoints, tls: { ...foreign, ca: own.ca } }, assertAway)
    await withCoordinator({ endpoints }, assertAway)
  })

  test('a key that does not belong to its certificate is a problem of the configuration', () => {
    assert.throws(
      () =>
        createEtcdCoordinator({
          endpoints: etcd.endpoints,
          tls: { ...own, key: foreign.key },
          cluster: 'shop',
          registrationMs: 1_000,
          clock: testClock,
          random: nodeRandom,
          logger: keepingLogger([]),
        }),
      /certificates for etcd cannot be used/,
    )
  })

  async function assertAway(coordinator: EtcdCoordinator, watcher: Watcher): Promise<void> {
    await until(() => watcher.count('disconnected') > 0, 'it is told')
    const { error } = await failureOf(testClock, () => coordinator.read('main', { timeoutMs: 500 }))
    assert.equal(error.failure, 'UNAVAILABLE')
    assert.ok(error.message.startsWith('etcd at 127.0.0.1:'), error.message)
    assert.equal(watcher.count('connected'), 0)
  }
})
