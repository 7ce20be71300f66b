import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, test } from 'node:test'
import { failureCodes } from '#src/core/failure.js'
import { UnderstudyError } from '#src/errors.js'
import { toHttpError } from '#src/server/http-error.js'

interface Row {
  readonly code: string
  readonly retry: string
  readonly outcomes: readonly string[]
  readonly status: string
}

const page = readFileSync(new URL('../../../docs/ERRORS.md', import.meta.url), 'utf8')
const rows: readonly Row[] = page
  .split('\n')
  .map((line) => /^\| `([A-Z_]+)` *\|([^|]*)\|([^|]*)\|([^|]*)\|/.exec(line))
  .filter((match) => match !== null)
  .map(([, code = '', retry = '', outcomes = '', status = '']) => ({
    code,
    retry: retry.trim(),
    outcomes: outcomes.trim().split(', '),
    status: status.trim(),
  }))

describe('docs/ERRORS.md', () => {
  test('lists every code once and no other', () => {
    assert.deepEqual(rows.map((row) => row.code).sort(), [...failureCodes].sort())
  })

  for (const code of failureCodes) {
    test(`${code} is described as the code has it`, () => {
      const row = rows.find((one) => one.code === code)
      assert.ok(row !== undefined, `no row for ${code}`)
      const error = new UnderstudyError(code, 'for this test')
      assert.equal(row.retry, error.retryable ? 'yes' : 'no')
      assert.equal(row.status, String(toHttpError(error).status))
      for (const outcome of row.outcomes) assert.match(outcome, /^(none|unknown|done)$/)
    })
  }
})
