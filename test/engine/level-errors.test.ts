import assert from 'node:assert/strict'
import { test } from 'node:test'
import { InvariantViolation } from '#src/core/invariant.js'
import { levelError } from '#src/engine/level-errors.js'
import { isFailure, UnderstudyError } from '#src/errors.js'

function leveldb(code: string, message: string, cause?: unknown): Error {
  return Object.assign(new Error(message, { cause }), { code })
}

test('errors of LevelDB are told with their code, what was done and the directory', () => {
  const cases = [
    [leveldb('LEVEL_LOCKED', 'IO error: lock /d/LOCK: already held by process'), 'LOCKED'],
    [leveldb('LEVEL_CORRUPTION', 'Corruption: 1 missing files; e.g.: /d/000005.ldb'), 'CORRUPTION'],
    [leveldb('LEVEL_IO_ERROR', 'IO error: /d/000004.log: No space left on device'), 'DISK_FULL'],
    [leveldb('LEVEL_IO_ERROR', 'IO error: /d/000004.log: Disk quota exceeded'), 'DISK_FULL'],
    [leveldb('LEVEL_IO_ERROR', 'IO error: /d/000004.log: Input/output error'), 'IO'],
    [leveldb('LEVEL_DATABASE_NOT_OPEN', 'Database is not open'), 'CLOSED'],
    [leveldb('LEVEL_ITERATOR_NOT_OPEN', 'Iterator is not open'), 'CLOSED'],
    [leveldb('LEVEL_SNAPSHOT_NOT_OPEN', 'Snapshot is not open'), 'CLOSED'],
    [leveldb('LEVEL_DATABASE_NOT_OPEN', 'failed to open', leveldb('LEVEL_LOCKED', 'IO error: lock')), 'LOCKED'],
  ] as const
  for (const [error, code] of cases) {
    const found = levelError(error, 'opening', '/d')
    assert.ok(isFailure(found, code), `${error.message}: ${String(found)}`)
    assert.match(found.message, /\/d/)
    assert.ok(found.cause instanceof Error)
  }
})

test('our own errors are passed on as they are', () => {
  const own = new UnderstudyError('UNKNOWN_FAMILY', 'there is no family 3')
  assert.equal(levelError(own, 'reading', '/d'), own)
  const bug = new InvariantViolation('x')
  assert.equal(levelError(bug, 'reading', '/d'), bug)
})
