import { z } from 'zod'
import { invariant } from '../../core/invariant.js'
import { limits } from '../../core/limits.js'
import type { ShardRecord } from '../../core/record.js'
import { UnderstudyError } from '../../errors.js'
import type { Registration } from '../../ports/coordinator.js'

/**
 * Values in etcd: JSON that people can read, with the fields in a fixed order. What does not fit exactly is damage, or
 * somebody else's; it is never read halfway.
 */
const formatVersion = 1

const name = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$/)
const hex16 = z.string().regex(/^[0-9a-f]{32}$/)
const natural = z.int().nonnegative()
const epoch = z.strictObject({ number: natural, node: z.union([name, z.literal('')]) })
const member = z.strictObject({ node: name, incarnation: hex16 })

const recordSchema = z.strictObject({
  format: z.literal(formatVersion),
  historyId: hex16,
  coordinatorId: hex16,
  epoch,
  primary: member,
  inSync: z.array(member).max(limits.membersMax),
  version: natural,
  nonce: hex16,
  settings: z.strictObject({
    durability: z.enum(['local', 'standby']),
    inSyncMin: natural,
    failoverMs: natural,
    inSyncTimeoutMs: natural,
  }),
  floor: z.strictObject({ epoch, sequence: natural, chain: hex16 }),
  lossySince: epoch,
  handedOver: z.boolean(),
  voters: z.array(name).max(limits.membersMax),
})

const registrationSchema = z.strictObject({
  format: z.literal(formatVersion),
  node: name,
  address: z.string().min(1).max(limits.addressBytesMax),
  boot: z.string().min(1).max(64),
})

/** What of a value is looked at first: a later release may have written it. */
const formatSchema = z.looseObject({ format: z.int() })

export function encodeRecord(record: ShardRecord): Buffer {
  return encode(recordSchema, record)
}

/** `CORRUPTION` or `FORMAT_VERSION`, with the name of the key. */
export function decodeRecord(key: string, value: Buffer): ShardRecord {
  const { format: _, ...record } = decode(recordSchema, key, value)
  return record
}

export function encodeRegistration(registration: Registration): Buffer {
  return encode(registrationSchema, registration)
}

export function decodeRegistration(key: string, value: Buffer): Registration {
  const { format: _, ...registration } = decode(registrationSchema, key, value)
  return registration
}

export function decodeCoordinatorId(key: string, value: Buffer): string {
  const id = hex16.safeParse(value.toString())
  if (id.success) return id.data
  throw new UnderstudyError('CORRUPTION', `${key} in etcd is not the id of a store`)
}

function encode(schema: typeof recordSchema | typeof registrationSchema, value: object): Buffer {
  const checked = schema.safeParse({ format: formatVersion, ...value })
  invariant(checked.success, `what is written to etcd can be read again: ${issueOf(checked.error)}`)
  // The schema's order of fields, whatever the order was.
  return Buffer.from(JSON.stringify(checked.data))
}

function decode<T>(schema: z.ZodType<T>, key: string, value: Buffer): T {
  let json: unknown
  try {
    json = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(value))
  } catch (error) {
    throw new UnderstudyError('CORRUPTION', `${key} in etcd is no JSON`, { cause: error })
  }
  const head = formatSchema.safeParse(json)
  if (head.success && head.data.format > formatVersion) {
    throw new UnderstudyError(
      'FORMAT_VERSION',
      `${key} in etcd has format ${head.data.format}, written by a later release`,
    )
  }
  const checked = schema.safeParse(json)
  if (checked.success) return checked.data
  throw new UnderstudyError('CORRUPTION', `${key} in etcd is not what was written there: ${issueOf(checked.error)}`)
}

function issueOf(error: z.ZodError | undefined): string {
  const issue = error?.issues[0]
  return issue === undefined ? '' : `${issue.path.join('.') || 'value'}: ${issue.message}`
}
