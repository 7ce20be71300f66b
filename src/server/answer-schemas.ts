/** What routes take and answer, beside the status. */
import { z } from 'zod'
import { failureCodes } from '../core/failure.js'
import { limits } from '../core/limits.js'
import { differenceKinds } from '../core/verify.js'

export const errorSchema = z
  .object({
    code: z.enum(failureCodes.map((code) => `UNDERSTUDY_${code}`) as [string, ...string[]]).describe('Stable'),
    message: z.string().describe('For people; names what is wrong'),
    outcome: z.enum(['none', 'unknown', 'done']).describe('Whether the write may have happened'),
    retryable: z.boolean().describe('Whether the same request may succeed later'),
    hint: z.string().optional().describe('The next step'),
    primary: z.string().optional().describe('Address of the primary, where it is known'),
  })
  .describe('Every answer from 400 on')

const positionText = z.string().regex(/^\d+(@[A-Za-z0-9][A-Za-z0-9._-]*)?\.\d+$/)
const epochText = z.string().regex(/^\d+(@[A-Za-z0-9][A-Za-z0-9._-]*)?$/)
const timeoutMs = z.int().min(1).max(limits.writeTimeoutMsMax).optional()

export const positionSchema = positionText.describe('A position, `epoch.sequence`')

export const batchRequest = z
  .array(
    z.union([
      z.strictObject({
        type: z.literal('put'),
        key: z.string().optional().describe('As text; or keyBase64'),
        keyBase64: z.base64().optional(),
        value: z.string().optional().describe('As text; or valueBase64'),
        valueBase64: z.base64().optional(),
        family: z.string().optional(),
      }),
      z.strictObject({
        type: z.literal('del'),
        key: z.string().optional().describe('As text; or keyBase64'),
        keyBase64: z.base64().optional(),
        family: z.string().optional(),
      }),
    ]),
  )
  .min(1)

export const batchAnswer = z.object({ position: positionText, operations: z.int().min(1) })

/** One line of a range. */
export const entrySchema = z.union([
  z.strictObject({ key: z.string(), value: z.string() }),
  z.strictObject({ keyBase64: z.base64(), value: z.string() }),
  z.strictObject({ key: z.string(), valueBase64: z.base64() }),
  z.strictObject({ keyBase64: z.base64(), valueBase64: z.base64() }),
])

export const liveAnswer = z.object({ status: z.literal('live') })

export const readyAnswer = z.union([
  z.object({
    status: z.literal('ready'),
    shard: z.string(),
    role: z.string(),
    state: z.string(),
    lagMs: z.number().nullable().describe('null: not known'),
  }),
  z.object({ status: z.literal('ready'), witness: z.literal(true), voter: z.string() }),
])

export const promoteRequest = z.strictObject({
  force: z.boolean().optional().describe('Give up what is missing here'),
  timeoutMs,
})

export const promoteAnswer = z.object({
  epoch: epochText,
  position: positionText,
  mayLose: z
    .object({ entries: z.int().optional(), seconds: z.number().optional(), reason: z.string() })
    .nullable()
    .describe('What a forced promotion may have left behind'),
})

export const switchoverRequest = z.strictObject({
  to: z.string().min(1).optional().describe('Absent: the member of the in-sync set that is furthest'),
  timeoutMs,
})

export const switchoverAnswer = z.object({
  epoch: epochText,
  primary: z.string(),
  pauseMs: z.number().describe('For how long the old primary took no writes'),
})

export const inSyncRequest = z.strictObject({ remove: z.string().min(1), timeoutMs })

export const inSyncAnswer = z.object({ inSync: z.array(z.string()), recordVersion: z.int(), epoch: epochText })

export const verifyRequest = z.strictObject({
  maxBytesPerSecond: z
    .int()
    .min(limits.verifyBytesPerSecondMin)
    .optional()
    .describe('Of the content that each node reads'),
  differencesMax: z.int().min(1).max(limits.verifyDifferencesMax).optional().describe('So many of each node are named'),
  timeoutMs,
})

export const verifyAnswer = z.object({
  verdict: z.enum(['equal', 'different', 'incomplete']).describe('`equal`: every node was compared to the end'),
  node: z.string().describe('The others are compared with it'),
  position: positionText.nullable().describe('Where all of them were; null if nobody else answered'),
  nodes: z.array(
    z.object({
      node: z.string(),
      address: z.string(),
      state: z.enum(['equal', 'different', 'not-compared']),
      failure: z.object({ code: z.string(), message: z.string() }).optional().describe('Why not, or not to the end'),
      differences: z.int().min(0),
      more: z.boolean().describe('It has more differences than are named'),
    }),
  ),
  differences: z.array(
    z.object({
      node: z.string(),
      family: z.string(),
      key: z.string().optional().describe('Or keyBase64; neither where a whole family differs'),
      keyBase64: z.base64().optional(),
      kind: z.enum(differenceKinds),
    }),
  ),
  families: z.int().min(0),
  entries: z.int().min(0),
  bytes: z.int().min(0),
  durationMs: z.number(),
})
