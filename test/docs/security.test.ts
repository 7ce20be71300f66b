import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { parse } from 'smol-toml'
import { parseAccessFile } from '#src/access/access-list.js'
import { readTls } from '#src/access/certificates.js'
import { scopes } from '#src/access/scope.js'
import { fields } from '#src/config/schema.js'
import { withoutOpenssl } from '../support/certificates.js'
import { makeDirectory, removeDirectory } from '../support/directory.js'

const page = readFileSync(new URL('../../../docs/SECURITY.md', import.meta.url), 'utf8')

function blocks(language: string): string[] {
  return [...page.matchAll(new RegExp(`\`\`\`${language}\\n([^\`]*)\`\`\``, 'g'))].map((match) => match[1]!)
}

describe('docs/SECURITY.md', () => {
  test('its access files are what the program reads, its options are options', () => {
    const [access, more] = blocks('toml').filter((text) => text.includes('[['))
    for (const text of [access!, more!]) assert.deepEqual(parseAccessFile(text).problems, [])
    assert.equal(parseAccessFile(access!).list.tokens.length, 3)
    assert.equal(parseAccessFile(more!).list.certificates.length, 2)
    const options = blocks('toml').filter((text) => !text.includes('[['))
    assert.equal(options.length, 1)
    for (const [key, value] of Object.entries(parse(options[0]!))) {
      assert.ok(fields[key as keyof typeof fields].safeParse(value).success, key)
    }
  })

  test('describes every scope', () => {
    for (const scope of scopes) assert.match(page, new RegExp(`^\\| \`${scope}\` +\\|`, 'm'))
  })

  test('its commands make an authority and certificates that the program takes', { skip: withoutOpenssl }, async () => {
    const directory = await makeDirectory()
    try {
      const script = blocks('sh').find((text) => text.includes('openssl req -x509'))!
      const commands = script.slice(0, script.indexOf('curl '))
      execFileSync('sh', ['-e', '-c', commands], { cwd: directory, stdio: 'pipe' })
      const file = (name: string) => join(directory, name)
      const read = readTls({ cert: file('a.pem'), key: file('a.key'), ca: file('ca.pem') }, Date.now())
      assert.ok('material' in read, JSON.stringify(read))
      const ca = new X509Certificate(readFileSync(file('ca.pem')))
      const node = new X509Certificate(readFileSync(file('a.pem')))
      assert.ok(
        node.checkIssued(ca) && node.checkHost('a.internal') === 'a.internal' && node.checkIP('10.0.0.1') !== undefined,
      )
      assert.ok(new X509Certificate(readFileSync(file('shop.pem'))).checkIssued(ca))
    } finally {
      await removeDirectory(directory)
    }
  })
})
