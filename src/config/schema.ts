import { z } from 'zod'
import { tokenText } from '../access/access-list.js'
import { limits } from '../core/limits.js'
import { namePattern, nameRule } from './name.js'
import type { OptionKey } from './option-table.js'

export const logLevels = ['debug', 'info', 'warn', 'error', 'silent'] as const
export type LogLevel = (typeof logLevels)[number]

export const compressions = ['lz4', 'snappy', 'zstd', 'none'] as const
export type Compression = (typeof compressions)[number]

const name = z.string('must be text').regex(namePattern, `must be ${nameRule}`)
const text = z.string('must be text').min(1, 'must not be empty')

function integer(min: number, max: number) {
  const rule = `must be an integer from ${min} to ${max}`
  return z.int(rule).min(min, rule).max(max, rule)
}

const units: Readonly<Record<string, number>> = { '': 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 }

function bytes(min: number, max: number) {
  const rule = `must be a size from ${min} to ${max} bytes, as a number or like 64MiB`
  return z.union([z.number(), z.string()], rule).transform((value, context) => {
    let size: number
    if (typeof value === 'number') size = value
    else {
      const match = /^(\d{1,15})\s?([KMG]iB)?$/.exec(value)
      size = match === null ? Number.NaN : Number(match[1]) * units[match[2] ?? '']!
    }
    if (Number.isSafeInteger(size) && size >= min && size <= max) return size
    context.addIssue({ code: 'custom', message: rule })
    return z.NEVER
  })
}

/** Each option by itself; what they must be to each other is checked afterwards (`check-options.ts`). */
export const fields = {
  data: text,
  cluster: name,
  node: name,
  listen: text,
  advertise: text,
  coordinator: text,
  witness: z.boolean('must be true or false'),
  durability: z.enum(['local', 'standby'], 'must be "local" or "standby"'),
  inSyncMin: integer(1, limits.membersMax),
  failoverMs: integer(limits.failoverMsMin, limits.failoverMsMax),
  inSyncTimeoutMs: integer(limits.failoverMsMin, limits.inSyncTimeoutMsMax),
  engine: z.enum(['level', 'rocksdb', 'memory'], 'must be "level", "rocksdb" or "memory"'),
  // "Empty" must never mean "off": a variable that was not expanded would open the node to everybody.
  secret: z
    .string('must be text')
    .min(1, 'must not be empty: a node without a secret says so with insecure')
    .max(limits.secretBytesMax, `must be at most ${limits.secretBytesMax} characters`)
    .regex(/^[\x21-\x7e]*$/, 'must be visible ASCII characters without spaces, as it stands in a header'),
  secretFile: text,
  accessFile: text,
  tokens: text,
  token: tokenText,
  tokenFile: text,
  tlsCert: text,
  tlsKey: text,
  tlsCa: text,
  tlsClients: z.enum(['none', 'optional', 'required'], 'must be "none", "optional" or "required"'),
  insecure: z.boolean('must be true or false'),
  heartbeatUrl: text,
  heartbeatIntervalMs: integer(limits.heartbeatIntervalMsMin, limits.heartbeatIntervalMsMax),
  logLevel: z.enum(logLevels, `must be one of ${logLevels.join(', ')}`),
  writeTimeoutMs: integer(1, limits.writeTimeoutMsMax),
  segmentBytes: bytes(limits.segmentBytesMin, limits.segmentBytesMax),
  slotRetainBytes: bytes(limits.segmentBytesMin, 2 ** 40),
  checkpointBytes: bytes(limits.segmentBytesMin, 2 ** 40),
  rocksdbCacheBytes: bytes(limits.rocksdbCacheBytesMin, 2 ** 40),
  rocksdbCompression: z.enum(compressions, `must be one of ${compressions.join(', ')}`),
  bootstrapMaxRate: bytes(1024, 2 ** 40),
  bootstrapSourceMaxRate: bytes(1024 ** 2, 2 ** 40),
  bootstrapMethod: z.enum(['auto', 'range-chunks'], 'must be "auto" or "range-chunks"'),
} as const satisfies Record<OptionKey, z.ZodType>

export const optionsSchema = z.strictObject(fields).partial()

/** What the library takes and what a file may hold: every option may be left out. */
export type OptionsInput = z.input<typeof optionsSchema>
export type ParsedOptions = z.output<typeof optionsSchema>
