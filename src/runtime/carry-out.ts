import { decodeOperations } from '../codec/block.js'
import type { Operation, Origin } from '../core/entry.js'
import type { Position } from '../core/position.js'
import { UnderstudyError } from '../errors.js'
import type { WriteOptions } from './handle.js'
import type { PrimaryRole } from './primary-role.js'

/**
 * Carries out on the primary what a node sent, under that node's own request number. An ordinary write is appended or
 * queued before this function returns: a barrier that is received after it comes after it in the journal (S9).
 */
export async function carryOut(
  role: PrimaryRole,
  encoded: Uint8Array,
  origin: Origin,
  request: number,
  options: WriteOptions,
): Promise<Position> {
  const operations = decodeOperations(encoded)
  const only = operations.length === 1 ? operations[0] : undefined
  // Families are numbered by the primary: their creation is resolved here, not taken as it stands.
  if (only?.type === 'createFamily') {
    await role.createFamily(only.name, origin, request, options)
    return role.applied
  }
  if (only?.type === 'dropFamily') {
    await role.dropFamily(only.family, origin, request, options)
    return role.applied
  }
  if (operations.some(isOfFamilies)) {
    throw new UnderstudyError('BAD_REQUEST', 'families are created and dropped one at a time')
  }
  return role.write(operations, origin, request, options)
}

/** Whether the primary may take its time before it appends this, and answer without an entry. */
export function isOfFamilies(operation: Operation): boolean {
  return operation.type === 'createFamily' || operation.type === 'dropFamily'
}
