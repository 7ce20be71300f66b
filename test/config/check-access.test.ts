import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { checkConfig } from '#src/config/check-config.js'
import { checkOptions, resolveOptions } from '#src/config/check-options.js'
import { describeOptions } from '#src/config/node-options.js'
import { Authority, type CertificateFiles, withoutOpenssl } from '../support/certificates.js'
import { makeDirectory, removeDirectory } from '../support/directory.js'

const token = 'canary-0123456789abcdef'
const tokens = `admin:${token}`
const exposed = { data: 'd', cluster: 'shop', node: 'a', listen: '10.0.0.1:7400' }

/** Exactly one problem, of this option, that says this. */
function oneProblem(input: Record<string, unknown>, path: string, says: RegExp): void {
  const { problems } = checkOptions(input)
  assert.deepEqual(
    problems.map((problem) => problem.path),
    [path],
    JSON.stringify(problems),
  )
  assert.match(problems[0]!.message, says)
  assert.ok(!JSON.stringify(problems).includes('canary'))
}

describe('listening beyond this machine', () => {
  test('needs tokens, a secret, or insecure; TLS alone lets everybody in', () => {
    oneProblem(exposed, 'listen', /can be reached from other machines/)
    for (const more of [{ tokens }, { secret: 's3cret' }, { insecure: true }]) resolveOptions({ ...exposed, ...more })
    oneProblem({ ...exposed, tokens, insecure: true }, 'insecure', /contradicts the tokens/)
    // What is wrong is said once, and is not taken for absent.
    oneProblem({ ...exposed, tokens: 'admin' }, 'tokens', /token 1: is not SCOPE,SCOPE:TOKEN/)
    oneProblem({ ...exposed, accessFile: '/nowhere/access.toml' }, 'accessFile', /no such file/)
  })
})

describe('tokens in the configuration', () => {
  let directory = ''
  before(async () => {
    directory = await makeDirectory()
  })
  after(() => removeDirectory(directory))
  const file = (name: string, text: string): string => {
    writeFileSync(join(directory, name), text)
    return join(directory, name)
  }

  test('a file is read while the configuration is checked, and every mistake in it is a problem', () => {
    const good = file('good.toml', `[[token]]\ntoken = "${token}"\nscopes = ["read"]\n`)
    assert.equal(resolveOptions({ ...exposed, accessFile: good }).accessFile, good)
    oneProblem({ ...exposed, accessFile: file('empty.toml', '') }, 'accessFile', /names no token and no certificate/)
    const bad = file(
      'bad.toml',
      `[[token]]\ntoken = "${token}"\nscopes = ["root"]\n[[token]]\ntoken = "canary"\nscopes = []\n`,
    )
    const { problems } = checkOptions({ ...exposed, accessFile: bad })
    assert.equal(problems.length, 3, JSON.stringify(problems))
    assert.ok(!JSON.stringify(problems).includes('canary'))
    const certificates = file('certificates.toml', '[[certificate]]\nname = "b"\nscopes = ["replicate"]\n')
    oneProblem(
      { ...exposed, accessFile: certificates },
      'accessFile',
      /names certificates, and this node asks for none/,
    )
  })

  test('the own token: from a variable or a file, not both, and never shown', () => {
    const tokenFile = file('own.token', `${token}\n`)
    resolveOptions({ ...exposed, tokens, tokenFile })
    oneProblem({ ...exposed, tokens, token, tokenFile }, 'tokenFile', /only one of them/)
    oneProblem({ ...exposed, tokens, token: 'canary' }, 'token', /must be 16 to 512/)
    oneProblem({ ...exposed, tokens, tokenFile: file('bad.token', 'canary of old') }, 'tokenFile', /must be 16 to 512/)
    const described = JSON.stringify(describeOptions(resolveOptions({ ...exposed, tokens, token, secret: 'canary' })))
    assert.ok(!described.includes('canary'))
    assert.match(described, /"secret":"set","tokens":"set","token":"set"/)
  })

  test('variables are read, and a later spelling of the own token takes the place of an earlier one', () => {
    const config = file(
      'node.toml',
      'data = "d"\ncluster = "shop"\nnode = "a"\nlisten = "10.0.0.1:7400"\ntoken = "canary-in-the-file-0"\n',
    )
    const tokenFile = file('env.token', token)
    const { options, problems } = checkConfig({
      file: config,
      env: { UNDERSTUDY_TOKENS: tokens, UNDERSTUDY_TOKEN_FILE: tokenFile },
    })
    assert.deepEqual(problems, [])
    assert.deepEqual([options?.tokens, options?.token, options?.tokenFile], [tokens, undefined, tokenFile])
  })
})

describe('TLS in the configuration', { skip: withoutOpenssl }, () => {
  let directory = ''
  let authority: Authority
  let node: CertificateFiles
  before(async () => {
    directory = await makeDirectory()
    authority = new Authority(directory)
    node = authority.issue('a')
  })
  after(() => removeDirectory(directory))
  const tls = () => ({ ...exposed, tokens, tlsCert: node.cert, tlsKey: node.key })

  test('certificate and key go together; clients are asked for certificates where an authority is named', () => {
    assert.equal(resolveOptions({ ...exposed, tokens }).tls, undefined)
    assert.deepEqual(resolveOptions(tls()).tls, { cert: node.cert, key: node.key, ca: undefined, clients: 'none' })
    const withCa = { ...tls(), tlsCa: authority.ca }
    assert.equal(resolveOptions(withCa).tls?.clients, 'optional')
    assert.equal(resolveOptions({ ...withCa, tlsClients: 'required' }).tls?.clients, 'required')
    const { tokens: _tokens, ...noTokens } = withCa
    oneProblem(noTokens, 'listen', /can be reached/)
    resolveOptions({ ...noTokens, tlsClients: 'required' })
    oneProblem({ ...noTokens, tlsClients: 'required', insecure: true }, 'insecure', /client certificates/)
  })

  test('what cannot be used is a problem before anything starts', () => {
    oneProblem({ ...exposed, tokens, tlsCert: node.cert }, 'tlsKey', /is missing/)
    oneProblem({ ...exposed, tokens, tlsKey: node.key }, 'tlsCert', /is missing/)
    oneProblem({ ...tls(), tlsClients: 'required' }, 'tlsClients', /needs tlsCa/)
    oneProblem({ ...tls(), tlsClients: 'maybe' }, 'tlsClients', /"none", "optional" or "required"/)
    oneProblem({ ...tls(), tlsCert: '/nowhere.pem' }, 'tlsCert', /no such file/)
    oneProblem({ ...tls(), tlsCert: node.key }, 'tlsCert', /no certificate in PEM/)
    oneProblem({ ...tls(), tlsKey: node.cert }, 'tlsKey', /no private key/)
    oneProblem({ ...tls(), tlsKey: authority.issue('b').key }, 'tlsKey', /is not the key of the certificate/)
    oneProblem({ ...tls(), tlsCa: node.key }, 'tlsCa', /no certificate in PEM/)
    const expired = authority.issue('a', { expired: true })
    oneProblem({ ...tls(), tlsCert: expired.cert, tlsKey: expired.key }, 'tlsCert', /expired at 20/)
  })
})
