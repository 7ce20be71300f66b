import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { digestOf, parseAccessFile, parseAccessText } from '#src/access/access-list.js'

const token = 'canary-0123456789abcdef'

describe('access files', () => {
  test('tokens, digests, expiry and certificates are read', () => {
    const { list, problems } = parseAccessFile(`
[[token]]
name = "shop"
token = "${token}"
scopes = ["read", "write"]
expires = 2027-01-31T00:00:00Z

[[token]]
sha256 = "${'aB'.repeat(32)}"
scopes = ["admin"]

[[certificate]]
name = "b.internal"
scopes = ["replicate"]
`)
    assert.deepEqual(problems, [])
    const [shop, other] = list.tokens
    assert.equal(shop?.name, 'shop')
    assert.deepEqual(shop.digest, digestOf(token))
    assert.deepEqual([...shop.scopes], ['read', 'write'])
    assert.equal(shop.expiresMs, Date.UTC(2027, 0, 31))
    assert.equal(other?.name, 'token 2')
    assert.equal(other.text, undefined)
    assert.equal(other.digest.toString('hex'), 'ab'.repeat(32))
    assert.deepEqual(
      list.certificates.map(({ name, scopes }) => [name, [...scopes]]),
      [['b.internal', ['replicate']]],
    )
  })

  for (const [title, text, says] of [
    ['no TOML', `[[token]]\ntoken = "${token}`, /^line 2: is not TOML/],
    ['a short token', '[[token]]\ntoken = "canary-short"\nscopes = ["read"]', /^token\[1\]\.token: must be 16 to 512/],
    ['a token with spaces', `[[token]]\ntoken = "${token} x"\nscopes = ["read"]`, /characters of A-Z/],
    [
      'both token and digest',
      `[[token]]\ntoken = "${token}"\nsha256 = "${'00'.repeat(32)}"\nscopes = ["read"]`,
      /exactly one/,
    ],
    ['neither', '[[token]]\nscopes = ["read"]', /exactly one of token and sha256/],
    ['an unknown scope', `[[token]]\ntoken = "${token}"\nscopes = ["root"]`, /scopes\[1\]: must be one of read, write/],
    ['no scope', `[[token]]\ntoken = "${token}"\nscopes = []`, /at least one scope/],
    ['scopes as text', `[[token]]\ntoken = "${token}"\nscopes = "read"`, /must be a list of scopes/],
    ['an unknown key', `[[token]]\ntoken = "${token}"\nscopes = ["read"]\nexpire = 1`, /unknown key "expire"/],
    ['an unknown table', '[[tokens]]\n', /unknown key "tokens"/],
    ['a quoted expiry', `[[token]]\ntoken = "${token}"\nscopes = ["read"]\nexpires = "2027-01-01"`, /offset/],
    ['a local expiry', `[[token]]\ntoken = "${token}"\nscopes = ["read"]\nexpires = 2027-01-01T00:00:00`, /offset/],
    ['one token, not a list', `[token]\ntoken = "${token}"`, /is written \[\[token\]\]/],
    [
      'a token twice',
      `[[token]]\ntoken = "${token}"\nscopes = ["read"]\n[[token]]\nname = "again"\ntoken = "${token}"\nscopes = ["admin"]`,
      /again is the same token as token 1/,
    ],
    [
      'a certificate twice',
      '[[certificate]]\nname = "b"\nscopes = ["read"]\n[[certificate]]\nname = "b"\nscopes = ["admin"]',
      /certificate b stands twice/,
    ],
  ] as const) {
    test(`${title} is refused by name, and the token is in no message`, () => {
      const { list, problems } = parseAccessFile(text)
      assert.ok(problems.length > 0)
      assert.match(problems.join('\n'), says)
      assert.ok(!problems.join('\n').includes('canary'), problems.join('\n'))
      assert.deepEqual(list, { tokens: [], certificates: [] })
    })
  }

  test('the text of a variable: scopes and tokens, all problems at once', () => {
    const { list, problems } = parseAccessText(`read,write:${token} admin:${token}2\n`)
    assert.deepEqual(problems, [])
    assert.deepEqual(
      list.tokens.map(({ name, text, scopes }) => [name, text, [...scopes]]),
      [
        ['token 1', token, ['read', 'write']],
        ['token 2', `${token}2`, ['admin']],
      ],
    )
    const bad = parseAccessText(`${token} root:${token} read:canary`)
    assert.equal(bad.problems.length, 3)
    assert.match(bad.problems[0]!, /^token 1: is not SCOPE,SCOPE:TOKEN/)
    assert.match(bad.problems[1]!, /^token 2: scopes: must be one of/)
    assert.match(bad.problems[2]!, /^token 3: must be 16/)
    assert.ok(!bad.problems.join().includes('canary'))
    assert.match(parseAccessText('  ').problems[0]!, /names no token/)
  })
})
