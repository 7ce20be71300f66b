import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { checkOptions, resolveOptions } from '#src/config/check-options.js'
import { describeOptions } from '#src/config/node-options.js'
import { optionsOfData } from '#src/config/option-table.js'
import { ConfigError } from '#src/config/problem.js'
import { limits } from '#src/core/limits.js'

const three = 'static://a=10.0.0.1:7400,b=10.0.0.2:7400,c=10.0.0.3:7400?primary=a'
const member = { data: 'd', cluster: 'shop', node: 'a', listen: '10.0.0.1:7400', coordinator: three, secret: 's3cret' }

/** `path: message (suggestion)` of every problem. */
function problemsOf(input: Record<string, unknown>): string[] {
  return checkOptions(input).problems.map(
    (problem) =>
      `${problem.path}: ${problem.message}${problem.suggestion === undefined ? '' : ` (${problem.suggestion})`}`,
  )
}

/** Exactly one problem, of this option, that says this. */
function oneProblem(input: Record<string, unknown>, path: string, says: RegExp): void {
  const problems = problemsOf(input)
  assert.equal(problems.length, 1, problems.join('\n'))
  assert.ok(problems[0]!.startsWith(`${path}: `), problems[0])
  assert.match(problems[0]!, says)
}

describe('defaults', () => {
  test('a directory alone is a durable single node', () => {
    assert.deepEqual(resolveOptions({ data: './data' }), {
      data: './data',
      cluster: 'understudy',
      node: 'a',
      listen: undefined,
      advertise: undefined,
      coordinator: undefined,
      witness: false,
      durability: 'local',
      inSyncMin: 1,
      failoverMs: limits.failoverMs,
      inSyncTimeoutMs: limits.failoverMs,
      engine: 'level',
      secret: undefined,
      accessFile: undefined,
      tokens: undefined,
      token: undefined,
      tokenFile: undefined,
      tls: undefined,
      insecure: false,
      heartbeat: undefined,
      logLevel: 'info',
      writeTimeoutMs: limits.writeTimeoutMs,
      segmentBytes: limits.segmentBytes,
      slotRetainBytes: limits.slotRetainBytesMax,
      checkpointBytes: limits.checkpointBytes,
      rocksdbCacheBytes: undefined,
      rocksdbCompression: undefined,
      bootstrapMaxRate: undefined,
      bootstrapSourceMaxRate: undefined,
      bootstrapMethod: 'auto',
    })
  })

  test('a member of a cluster waits for a standby, with two nodes in sync', () => {
    const options = resolveOptions(member)
    assert.equal(options.durability, 'standby')
    assert.equal(options.inSyncMin, 2)
    assert.equal(options.advertise, '10.0.0.1:7400')
    assert.ok(options.coordinator?.kind === 'static')
    assert.equal(options.coordinator.primary, 'a')
    assert.deepEqual(
      options.coordinator.members.map((one) => one.node),
      ['a', 'b', 'c'],
    )
  })

  test('durability local waits for one disk', () => {
    assert.equal(resolveOptions({ ...member, durability: 'local' }).inSyncMin, 1)
  })

  test('the description of options never holds the secret', () => {
    assert.ok(!JSON.stringify(describeOptions(resolveOptions(member))).includes('s3cret'))
  })
})

describe('what is refused', () => {
  test('unknown keys, with the closest known one', () => {
    oneProblem({ data: 'd', inSyncMim: 2 }, 'inSyncMim', /did you mean "inSyncMin"/)
    oneProblem({ data: 'd', in_sync_min: 2 }, 'in_sync_min', /did you mean "inSyncMin"/)
    oneProblem({ data: 'd', xyzzy: 2 }, 'xyzzy', /is no option of this release$/)
    oneProblem({ ...member, compression: 'zstd' }, 'compression', /is no option of this release/)
  })

  test('values of the wrong type or out of bounds name what was given', () => {
    oneProblem({ data: 'd', engine: 'lmdb' }, 'engine', /"level", "rocksdb" or "memory", not "lmdb"/)
    oneProblem({ data: 'd', inSyncMin: 0 }, 'inSyncMin', /from 1 to 16, not 0/)
    oneProblem({ data: 'd', inSyncMin: 17 }, 'inSyncMin', /from 1 to 16, not 17/)
    oneProblem({ data: 'd', inSyncMin: 'two' }, 'inSyncMin', /not "two"/)
    oneProblem({ data: 'd', inSyncMin: 1.5 }, 'inSyncMin', /not 1.5/)
    oneProblem({ data: '' }, 'data', /must not be empty/)
    oneProblem({ data: 'd', cluster: 'no spaces' }, 'cluster', /not "no spaces"/)
    oneProblem({ data: 'd', node: '-a' }, 'node', /begin with a letter or digit/)
    oneProblem({ data: 'd', node: 'a'.repeat(33) }, 'node', /1 to 32/)
    oneProblem({ data: 'd', insecure: 'yes' }, 'insecure', /true or false/)
    oneProblem({ data: 'd', logLevel: 'loud' }, 'logLevel', /debug, info/)
    oneProblem({ data: 'd', segmentBytes: '1kb' }, 'segmentBytes', /like 64MiB, not "1kb"/)
    oneProblem({ data: 'd', segmentBytes: 1000 }, 'segmentBytes', /not 1000/)
    oneProblem({ data: 'd', segmentBytes: [] }, 'segmentBytes', /not an array/)
    oneProblem({ data: 'd', rocksdbCacheBytes: '64MiB' }, 'rocksdbCacheBytes', /no meaning with engine level/)
    oneProblem({ data: 'd', engine: 'memory', rocksdbCompression: 'lz4' }, 'rocksdbCompression', /engine memory/)
    oneProblem({ data: 'd', engine: 'rocksdb', rocksdbCompression: 'gzip' }, 'rocksdbCompression', /lz4, snappy/)
    oneProblem({ data: 'd', engine: 'rocksdb', rocksdbCacheBytes: '1MiB' }, 'rocksdbCacheBytes', /must be a size/)
    oneProblem({ data: 'd', writeTimeoutMs: -1 }, 'writeTimeoutMs', /not -1/)
    oneProblem({}, 'data', /is missing/)
  })

  test('sizes may carry a unit', () => {
    assert.equal(resolveOptions({ data: 'd', segmentBytes: '1MiB' }).segmentBytes, 1024 ** 2)
    assert.equal(resolveOptions({ data: 'd', segmentBytes: '131072' }).segmentBytes, 131_072)
    assert.equal(resolveOptions({ data: 'd', bootstrapMaxRate: '10MiB' }).bootstrapMaxRate, 10 * 1024 ** 2)
    oneProblem({ data: 'd', slotRetainBytes: '1MiB' }, 'slotRetainBytes', /less than one segment/)
  })

  test('addresses that are not host:port', () => {
    for (const [listen, says] of [
      ['localhost', /names no port \(localhost:7400\)/],
      [':7400', /names no host \(0\.0\.0\.0:7400/],
      ['::1', /lacks brackets and a port \(\[::1\]:7400\)/],
      ['[::zz]:1', /not an IPv6 address/],
      ['127.0.0.1:99999', /port 99999/],
      ['127.0.0.999:1', /neither a host name nor an IP address/],
      ['http://127.0.0.1:1', /is a URL/],
      ['a b:1', /neither a host name/],
      ['127.0.0.1:', /is not host:port/],
    ] as const) {
      oneProblem({ data: 'd', cluster: 'c', node: 'a', listen }, 'listen', says)
    }
  })

  test('listening beyond this machine without a secret, unless insecure says so', () => {
    const open = { data: 'd', cluster: 'c', node: 'a', listen: '0.0.0.0:7400' }
    oneProblem(open, 'listen', /no secret is configured/)
    oneProblem({ ...open, listen: '[::]:7400' }, 'listen', /no secret is configured/)
    assert.deepEqual(problemsOf({ ...open, insecure: true }), [])
    assert.deepEqual(problemsOf({ ...open, secret: 's' }), [])
    for (const listen of ['127.0.0.1:0', '[::1]:7400', 'localhost:7400', '127.3.2.1:1']) {
      assert.deepEqual(problemsOf({ ...open, listen }), [])
    }
  })

  test('F33: an empty secret is an error, never "off"', () => {
    const open = { data: 'd', cluster: 'c', node: 'a', listen: '0.0.0.0:7400' }
    oneProblem({ ...open, secret: '' }, 'secret', /must not be empty/)
    oneProblem({ ...open, listen: '127.0.0.1:1', secret: '' }, 'secret', /must not be empty/)
    oneProblem({ ...open, secret: ' ' }, 'secret', /without spaces/)
  })

  test('a secret is read from its file, and never shown', () => {
    const directory = mkdtempSync(join(tmpdir(), 'understudy-config-'))
    try {
      const file = join(directory, 'secret')
      writeFileSync(file, 'hunter2\n')
      assert.equal(resolveOptions({ ...member, secret: undefined, secretFile: file }).secret, 'hunter2')
      writeFileSync(file, '\n')
      oneProblem({ ...member, secret: undefined, secretFile: file }, 'secretFile', /must not be empty/)
      writeFileSync(file, 'x'.repeat(1000))
      oneProblem({ ...member, secret: undefined, secretFile: file }, 'secretFile', /1000 bytes/)
      oneProblem({ ...member, secret: undefined, secretFile: join(directory, 'no') }, 'secretFile', /ENOENT/)
      oneProblem({ ...member, secretFile: file }, 'secretFile', /beside secret/)
      oneProblem({ ...member, insecure: true }, 'insecure', /contradicts the secret/)
      assert.ok(
        !problemsOf({ ...member, secret: 'open sesame' })
          .join()
          .includes('sesame'),
      )
    } finally {
      rmSync(directory, { recursive: true })
    }
  })
})

describe('members', () => {
  test('other coordinators are named as such', () => {
    oneProblem({ ...member, coordinator: 'zookeeper://a=1.1.1.1:1' }, 'coordinator', /this release has static, /)
    oneProblem({ ...member, coordinator: 'etcd:10.0.0.9:2379' }, 'coordinator', /followed by/)
    oneProblem({ ...member, coordinator: '10.0.0.9:2379' }, 'coordinator', /names no scheme/)
    oneProblem({ ...member, coordinator: 'static:a=1.1.1.1:1' }, 'coordinator', /followed by/)
  })

  test('every mistake inside the URL is told at once', () => {
    const coordinator = 'static://a=10.0.0.1:7400,a=10.0.0.2:7400,b,c=10.0.0.3:0,d=10.0.0.1:7400?primry=a'
    const problems = problemsOf({ ...member, coordinator }).join('\n')
    for (const says of [
      /node a appears twice/,
      /member "b" is not node=host:port/,
      /port 0/,
      /a and d have the same address/,
      /did you mean "primary"/,
    ]) {
      assert.match(problems, says)
    }
  })

  test('the primary must be one of the nodes', () => {
    oneProblem({ ...member, coordinator: three.replace('primary=a', 'primary=d') }, 'coordinator', /"d" is none of/)
    assert.deepEqual(problemsOf({ ...member, coordinator: 'static://b=10.0.0.2:7400?primary=a' }), [])
  })

  test('the own address in the coordinator agrees with listen and advertise', () => {
    oneProblem({ ...member, listen: '10.0.0.1:7401' }, 'coordinator', /a at 10.0.0.1:7400, but it listens on/)
    oneProblem({ ...member, listen: '10.0.0.7:7400' }, 'coordinator', /but it listens on 10.0.0.7:7400/)
    oneProblem({ ...member, advertise: 'a.internal:7400' }, 'coordinator', /advertise says a.internal:7400/)
    assert.equal(resolveOptions({ ...member, listen: '0.0.0.0:7400' }).advertise, '10.0.0.1:7400')
    const forwarded = { ...member, listen: '0.0.0.0:9999', advertise: '10.0.0.1:7400' }
    assert.equal(resolveOptions(forwarded).advertise, '10.0.0.1:7400')
  })

  test('a node that others cannot find is refused', () => {
    const others = { ...member, coordinator: 'static://b=10.0.0.2:7400' }
    oneProblem({ ...others, listen: '0.0.0.0:7400' }, 'advertise', /does not say where other nodes reach/)
    oneProblem({ ...others, listen: '127.0.0.1:0' }, 'advertise', /does not say where other nodes reach/)
    oneProblem({ ...others, listen: undefined }, 'listen', /is missing/)
    oneProblem({ ...others, advertise: '0.0.0.0:7400' }, 'advertise', /no address that others can connect to/)
    oneProblem({ data: 'd', advertise: 'x:1' }, 'advertise', /without listen/)
    oneProblem({ ...others, node: undefined }, 'node', /is missing/)
  })
})

describe('durability', () => {
  test('C8: standby needs two nodes in sync at least', () => {
    oneProblem({ ...member, inSyncMin: 1 }, 'inSyncMin', /at least 2/)
    oneProblem({ ...member, durability: 'standby', inSyncMin: 1 }, 'inSyncMin', /at least 2/)
    assert.equal(resolveOptions({ ...member, inSyncMin: 3 }).inSyncMin, 3)
  })

  test('a rule that could never be met is refused', () => {
    oneProblem({ ...member, inSyncMin: 4 }, 'inSyncMin', /more than the 3 nodes/)
    oneProblem({ data: 'd', durability: 'standby' }, 'durability', /needs other nodes/)
    oneProblem({ data: 'd', inSyncMin: 2 }, 'inSyncMin', /cannot hold a write/)
    oneProblem({ ...member, durability: 'local', inSyncMin: 2 }, 'inSyncMin', /contradicts durability "local"/)
    const self = { ...member, coordinator: 'static://a=10.0.0.1:7400', durability: 'standby' }
    oneProblem(self, 'durability', /needs other nodes/)
  })
})

test('resolveOptions throws all problems in one coded error', () => {
  const input = { data: 'd', node: '!', engine: 'x', inSyncMin: 99 } as never
  assert.throws(
    () => resolveOptions(input),
    (error: unknown) => {
      assert.ok(error instanceof ConfigError)
      assert.equal(error.code, 'UNDERSTUDY_CONFIG')
      assert.deepEqual(error.problems.map((problem) => problem.path).sort(), ['engine', 'inSyncMin', 'node'])
      for (const part of ['3 problems', 'node: ', 'engine: ', 'inSyncMin: ']) assert.ok(error.message.includes(part))
      return true
    },
  )
})

describe('the builtin coordinator', () => {
  const base = { data: './w', cluster: 'shop', node: 'w', listen: '10.0.0.9:7400', secret: 's' }
  const url = 'builtin://w=10.0.0.9:7400'
  const problemsOf = (changes: Record<string, unknown>) =>
    checkOptions({ ...base, coordinator: url, ...changes }).problems.map(({ path, message }) => `${path}: ${message}`)

  test('names one voter; the nodes are not listed and find each other', () => {
    const options = resolveOptions({ ...base, node: 'a', listen: '10.0.0.1:7400', coordinator: url })
    assert.deepEqual(options.coordinator, { kind: 'builtin', voters: [{ node: 'w', address: '10.0.0.9:7400' }], url })
    assert.equal(options.witness, false)
    assert.deepEqual([options.durability, options.inSyncMin], ['standby', 2])
    assert.equal(options.advertise, '10.0.0.1:7400')
    const own = resolveOptions({ ...base, listen: '0.0.0.0:7400', coordinator: url })
    assert.equal(own.advertise, '10.0.0.9:7400')
  })

  for (const [what, coordinator, problem] of [
    ['no voter', 'builtin://', /^coordinator: names no voter/],
    ['several', 'builtin://w=h:1,v=h:2,u=h:3', /^coordinator: names 3 voters; this release has exactly one/],
    ['no name', 'builtin://10.0.0.9:7400', /^coordinator: voter "10.0.0.9:7400" is not name=host:port/],
    ['a bad name', 'builtin://-=h:1', /^coordinator: voter "-" is no valid name/],
    ['a bad address', 'builtin://w=h', /^coordinator: address of voter w, "h", names no port/],
    ['port 0', 'builtin://w=h:0', /names port 0/],
    ['parameters', 'builtin://w=h:1?primary=a', /takes no parameters, not "\?primary=a"/],
    ['one slash', 'builtin:/w=h:1', /must be followed by "\/\/"/],
  ] as const) {
    test(`its URL: ${what}`, () => {
      const found = problemsOf({ coordinator })
      assert.ok(
        found.some((one) => problem.test(one)),
        found.join('\n'),
      )
    })
  }

  test('the voter must be reachable where the URL says, and everybody needs an address', () => {
    assert.match(
      problemsOf({ listen: '10.0.0.8:7400' }).join(),
      /has node w at 10.0.0.9:7400, but it listens on 10.0.0.8:7400/,
    )
    assert.match(problemsOf({ listen: undefined }).join(), /listen: is missing/)
    assert.match(problemsOf({ node: 'a', listen: '0.0.0.0:7400' }).join(), /advertise: is missing/)
  })

  test('a witness is the voter and nothing else', () => {
    const witness = resolveOptions({ ...base, coordinator: url, witness: true })
    assert.equal(witness.witness, true)
    const described = describeOptions(witness)
    assert.equal(described.witness, true)
    for (const key of optionsOfData) assert.ok(!(key in described), `${key} is not shown: it does not count`)
    const given = {
      ...{ durability: 'local', inSyncMin: 1, failoverMs: 1000, inSyncTimeoutMs: 1000, engine: 'level' },
      ...{ writeTimeoutMs: 1, segmentBytes: '1MiB', slotRetainBytes: '1GiB', checkpointBytes: '1MiB' },
      ...{ rocksdbCacheBytes: '8MiB', rocksdbCompression: 'lz4' },
      ...{ bootstrapMaxRate: '1MiB', bootstrapSourceMaxRate: '1MiB', bootstrapMethod: 'auto' },
    }
    assert.deepEqual(Object.keys(given), [...optionsOfData])
    for (const [key, value] of Object.entries(given)) {
      assert.deepEqual(problemsOf({ witness: true, [key]: value }), [
        `${key}: has no meaning for a witness, which holds no data`,
      ])
    }
    assert.match(problemsOf({ witness: true, node: 'a', listen: '10.0.0.1:7400' }).join(), /node a is not the voter w/)
    assert.match(problemsOf({ witness: true, coordinator: undefined }).join(), /coordinator: is missing: a witness/)
    assert.match(
      problemsOf({ witness: true, coordinator: 'static://w=10.0.0.9:7400,b=10.0.0.2:7400' }).join(),
      /witness: needs the builtin coordinator, not static:/,
    )
  })
})
