/**
 * Values in a voter's journal and snapshot: u16 format version, then the fields. The key of a record is the name of its
 * shard; names that begin with `$` are the voter's own.
 */
import { limits } from '../core/limits.js'
import type { ShardRecord } from '../core/record.js'
import { UnderstudyError } from '../errors.js'
import { type Field, FieldReader, FieldWriter, list, record, text } from './fields.js'
import { shardRecordField } from './messages.js'

const formatVersion = 1

/** Key of the list of voters (S6). */
export const votersKey = '$voters'

export interface Voter {
  readonly node: string
  readonly address: string
}

const votersField: Field<readonly Voter[]> = list(
  record({ node: text(limits.nodeNameBytesMax), address: text(limits.addressBytesMax) }),
  limits.membersMax,
)

function encode<T>(field: Field<T>, value: T): Uint8Array {
  const writer = new FieldWriter()
  writer.u8(formatVersion)
  writer.u8(0)
  field.write(writer, value)
  return writer.finish()
}

function decode<T>(field: Field<T>, bytes: Uint8Array, what: string): T {
  const reader = new FieldReader(bytes, what)
  const version = reader.u8() + reader.u8() * 256
  if (version !== formatVersion) {
    throw new UnderstudyError(
      'FORMAT_VERSION',
      `${what}: format version ${version}; this release reads ${formatVersion}`,
    )
  }
  const value = field.read(reader)
  if (reader.remaining > 0) reader.fail('nothing more')
  return value
}

export function encodeHeldRecord(value: ShardRecord): Uint8Array {
  return encode(shardRecordField, value)
}

export function decodeHeldRecord(bytes: Uint8Array): ShardRecord {
  return decode(shardRecordField, bytes, 'record of a shard')
}

export function encodeVoters(voters: readonly Voter[]): Uint8Array {
  return encode(votersField, voters)
}

export function decodeVoters(bytes: Uint8Array): readonly Voter[] {
  return decode(votersField, bytes, 'list of voters')
}
