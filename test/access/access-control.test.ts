import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { AccessControl, demandScope } from '#src/access/access-control.js'
import { emptyAccess, parseAccessFile } from '#src/access/access-list.js'
import { isFailure } from '#src/errors.js'

const now = Date.UTC(2026, 10, 21)
const { list } = parseAccessFile(`
[[token]]
name = "reader"
token = "reader-token-000000"
scopes = ["read"]

[[token]]
name = "past"
token = "past-token-00000000"
scopes = ["admin"]
expires = 2026-11-21T00:00:00Z

[[certificate]]
name = "b.internal"
scopes = ["replicate"]

[[certificate]]
name = "spiffe://shop/admin"
scopes = ["admin"]
`)

function control(changes: Partial<ConstructorParameters<typeof AccessControl>[0]> = {}): AccessControl {
  return new AccessControl({ list, secret: undefined, certificatesRequired: false, ...changes })
}

const bearer = (token: string) => ({ authorization: `Bearer ${token}`, certificate: undefined })
const shown = (...names: string[]) => ({ authorization: undefined, certificate: { names, problem: undefined } })

function refused(access: AccessControl, credentials: Parameters<AccessControl['grant']>[0], says: RegExp): void {
  assert.throws(
    () => access.grant(credentials, now),
    (error) => isFailure(error, 'UNAUTHORIZED') && says.test(error.message),
  )
}

describe('access control', () => {
  test('a token gives its scopes, a wrong, an expired and a missing one give nothing', () => {
    const access = control()
    assert.deepEqual([...access.grant(bearer('reader-token-000000'), now).scopes], ['read'])
    refused(access, bearer('reader-token-000001'), /not known here/)
    refused(access, bearer('past-token-00000000'), /past expired at 2026-11-21T00:00:00.000Z/)
    assert.deepEqual([...access.grant(bearer('past-token-00000000'), now - 1).scopes], ['admin'])
    refused(access, { authorization: undefined, certificate: undefined }, /asks for a token/)
    for (const authorization of ['', 'Bearer', 'Bearer ', 'Basic eDp5', 'reader-token-000000', 'Bearer a b']) {
      refused(access, { authorization, certificate: undefined }, /is not "Bearer TOKEN"/)
    }
  })

  test('a certificate gives the scopes of its names; one that is not accepted is refused with the reason', () => {
    const access = control()
    assert.deepEqual([...access.grant(shown('b.internal'), now).scopes], ['replicate'])
    assert.deepEqual(
      [...access.grant(shown('x', 'b.internal', 'spiffe://shop/admin'), now).scopes],
      ['replicate', 'admin'],
    )
    refused(access, shown('B.internal', 'sub.b.internal'), /asks for a token or a client certificate/)
    const expired = { names: ['b.internal'], problem: 'CERT_HAS_EXPIRED' }
    refused(access, { authorization: undefined, certificate: expired }, /not accepted: CERT_HAS_EXPIRED/)
    refused(access, { ...bearer('reader-token-000000'), certificate: expired }, /CERT_HAS_EXPIRED/)
  })

  test('both together add up; a wrong token is refused whatever the certificate may', () => {
    const access = control()
    const { certificate } = shown('b.internal')
    const both = access.grant({ ...bearer('reader-token-000000'), certificate }, now)
    assert.deepEqual([...both.scopes].sort(), ['read', 'replicate'])
    assert.equal(both.isAmbient, false)
    assert.equal(access.grant(shown('b.internal'), now).isAmbient, true)
    refused(access, { ...bearer('wrong-token-0000000'), certificate }, /not known/)
  })

  test('the secret is a token with every scope', () => {
    const access = control({ list: emptyAccess, secret: 's3cret' })
    assert.equal(access.grant(bearer('s3cret'), now).scopes.size, 4)
    refused(access, bearer('s3cre'), /not known/)
    assert.equal(access.isOpen, false)
  })

  test('nothing configured is open; required certificates alone let every signed one do everything', () => {
    assert.equal(control({ list: emptyAccess }).isOpen, true)
    const access = control({ list: emptyAccess, certificatesRequired: true })
    assert.equal(access.isOpen, false)
    assert.equal(access.grant(shown('anybody'), now).scopes.size, 4)
    refused(access, { authorization: undefined, certificate: undefined }, /client certificate/)
    // As soon as something is listed, only that counts.
    refused(control({ certificatesRequired: true }), shown('anybody'), /asks for a token/)
  })

  test('a missing scope is FORBIDDEN, and the message names it', () => {
    const grant = control().grant(bearer('reader-token-000000'), now)
    demandScope(grant, 'read')
    assert.throws(
      () => demandScope(grant, 'admin'),
      (error) =>
        isFailure(error, 'FORBIDDEN') && /needs the scope "admin"; these credentials have: read/.test(error.message),
    )
  })
})
