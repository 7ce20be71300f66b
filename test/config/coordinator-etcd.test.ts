import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { checkOptions, resolveOptions } from '#src/config/check-options.js'
import { parseCoordinator } from '#src/config/coordinator.js'
import type { EtcdCoordinator } from '#src/config/coordinator-etcd.js'
import { describeOptions } from '#src/config/node-options.js'
import { limits } from '#src/core/limits.js'
import { makeDirectory, removeDirectory } from '../support/directory.js'

function parsed(url: string): EtcdCoordinator {
  const { coordinator, problems } = parseCoordinator(url)
  assert.deepEqual(problems, [])
  assert.ok(coordinator?.kind === 'etcd')
  return coordinator
}

/** All problems of a URL as one text. */
function refused(url: string): string {
  const { coordinator, problems } = parseCoordinator(url)
  assert.equal(coordinator, undefined)
  assert.ok(problems.length > 0)
  return problems.map(({ message, suggestion = '' }) => `${message} (${suggestion})`).join('\n')
}

describe('etcd:// URLs', () => {
  let directory: string
  const file = (name: string, content: string): string => {
    const path = join(directory, name)
    writeFileSync(path, content)
    return path
  }
  before(async () => {
    directory = await makeDirectory()
  })
  after(() => removeDirectory(directory))

  test('name one or several members of etcd', () => {
    const bare = { kind: 'etcd', username: undefined, password: undefined, tls: undefined } as const
    const one = parsed('etcd://10.0.0.9:2379')
    assert.deepEqual(one, { ...bare, endpoints: ['10.0.0.9:2379'], url: 'etcd://10.0.0.9:2379' })
    const three = parsed('ETCD://10.0.0.7:2379,etcd-2.internal:2379,[::1]:2379/')
    assert.deepEqual(three.endpoints, ['10.0.0.7:2379', 'etcd-2.internal:2379', '[::1]:2379'])
  })

  test('hold user and password, escaped; the description does not show the password', () => {
    const { username, password, url } = parsed('etcd://un%40der:p%3A%2F@w%25@h:1')
    assert.deepEqual([username, password], ['un@der', 'p:/@w%'])
    assert.equal(url, 'etcd://un%40der@h:1')
    const passwordFile = file('password', 'from a file\n')
    assert.equal(parsed(`etcd://root@h:1?passwordFile=${passwordFile}`).password, 'from a file')
    assert.match(refused(`etcd://root:x@h:1?passwordFile=${passwordFile}`), /only one of them/)
    assert.match(refused(`etcd://h:1?passwordFile=${passwordFile}`), /names no user/)
    assert.match(refused(`etcd://root@h:1?passwordFile=${directory}/nowhere`), /passwordFile .*cannot be read/)
    for (const url of ['etcd://root@h:1', 'etcd://root:@h:1']) assert.match(refused(url), /user without a password/)
    assert.match(refused('etcd://:pw@h:1'), /no user before it/)
  })

  test('no problem shows the password, however the URL is broken', () => {
    for (const url of [
      'etcd://root:sesame@',
      'etcd://root:sesame@h',
      'etcd://root:sesame@h:0',
      'etcd://root:sesame@h:1,h:1',
      'etcd://root:sesame@h:1/path/sesame',
      'etcd://root:sesame@h:1?tsl=1',
      'etcd://root:sesame/more@h:1',
      'etcd://root:sesame?more@h:1',
      'etcd://root:sesame#more@h:1',
      'etcd://root:more,sesame/x@h:1',
      'etcd://root:sesame%@h:1',
      'etcd://root:sesame%zz@h:1',
      'etcd:root:sesame@h:1',
    ]) {
      const problems = refused(url)
      assert.ok(!problems.includes('sesame'), problems)
    }
    const options = { data: 'd', cluster: 'c', node: 'a', listen: '127.0.0.1:1', secret: 's' }
    const { problems } = checkOptions({ ...options, coordinator: 'etcd://root:sesame@h:x' })
    assert.ok(problems.length > 0 && !JSON.stringify(problems).includes('sesame'))
    const good = resolveOptions({ ...options, coordinator: 'etcd://root:sesame@h:1' })
    assert.ok(!JSON.stringify(describeOptions(good)).includes('sesame'))
  })

  test('encrypt if they say so or name certificates, which are read at once', () => {
    assert.deepEqual(parsed('etcd://h:1?tls=1').tls, {})
    assert.equal(parsed('etcd://h:1?tls=0').tls, undefined)
    const pem = '-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n'
    const [ca, cert, key] = ['ca', 'cert', 'key'].map((name) => file(name, pem)) as [string, string, string]
    const { tls, url } = parsed(`etcd://h:1?ca=${ca}&cert=${cert}&key=${encodeURIComponent(key)}`)
    assert.deepEqual(tls, { ca: Buffer.from(pem), cert: Buffer.from(pem), key: Buffer.from(pem) })
    assert.equal(url, 'etcd://h:1?tls=1')
    assert.match(refused(`etcd://h:1?cert=${cert}`), /cert without key/)
    assert.match(refused(`etcd://h:1?key=${key}`), /key without cert/)
    assert.match(refused(`etcd://h:1?tls=0&ca=${ca}`), /tls=0 and ca/)
    assert.match(refused('etcd://h:1?tls=yes'), /tls is 1 or 0/)
    assert.match(refused(`etcd://h:1?ca=${directory}/nowhere`), /ca cannot be read/)
    assert.match(refused(`etcd://h:1?ca=${file('no.pem', 'x')}`), /no PEM file/)
  })

  test('are refused with all their problems', () => {
    const problems = refused('etcd://h,1.2.3.4:0,h:1,h:1,2001:db8::1/x?passwordFlie=1&tls=1&tls=1&ca=&cert=%')
    for (const says of [
      /"h" names no port/,
      /"1.2.3.4:0" names port 0/,
      /names h:1 twice/,
      /"2001:db8::1" lacks brackets/,
      /path after the addresses/,
      /unknown parameter "passwordFlie" \(did you mean "passwordFile"\?/,
      /has tls twice/,
      /ca is empty/,
      /cert has a %/,
    ]) {
      assert.match(problems, says)
    }
    assert.match(refused('etcd://'), /names no address of etcd/)
    const many = Array.from({ length: limits.coordinatorEndpointsMax + 1 }, (_, index) => `h${index}:1`)
    assert.match(refused(`etcd://${many.join(',')}`), /at most 16/)
  })
})

describe('a node with etcd', () => {
  const member = {
    data: 'd',
    cluster: 'shop',
    node: 'a',
    listen: '10.0.0.1:7400',
    coordinator: 'etcd://10.0.0.9:2379',
    secret: 's3cret',
  }
  const problemsOf = (input: Record<string, unknown>) =>
    checkOptions(input)
      .problems.map(({ path, message }) => `${path}: ${message}`)
      .join('\n')

  test('waits for a standby by default; going on alone is an explicit choice', () => {
    const options = resolveOptions(member)
    assert.deepEqual([options.durability, options.inSyncMin], ['standby', 2])
    assert.equal(resolveOptions({ ...member, inSyncMin: 1 }).durability, 'standby')
    assert.equal(resolveOptions({ ...member, inSyncMin: 5 }).inSyncMin, 5, 'how many nodes there are is not known here')
    assert.equal(resolveOptions({ ...member, durability: 'local' }).inSyncMin, 1)
    assert.match(problemsOf({ ...member, durability: 'local', inSyncMin: 2 }), /contradicts/)
  })

  test('must be reachable, and registers what was bound where that is enough', () => {
    assert.equal(resolveOptions(member).advertise, '10.0.0.1:7400')
    assert.equal(resolveOptions({ ...member, listen: '10.0.0.1:0' }).advertise, undefined)
    assert.equal(resolveOptions({ ...member, listen: '0.0.0.0:0', advertise: 'a:1' }).advertise, 'a:1')
    assert.match(problemsOf({ ...member, listen: '0.0.0.0:7400' }), /^advertise: is missing/)
    assert.match(problemsOf({ ...member, listen: undefined }), /^listen: is missing/)
  })
})
