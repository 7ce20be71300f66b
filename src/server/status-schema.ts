/** The answer of `GET /v1/status`, field by field: a contract. `docs/HTTP.md` has its table from here. */
import { z } from 'zod'
import { scopes } from '../access/scope.js'
import { lifecycleStates, roleOf } from '../core/lifecycle.js'

const roles = [...new Set(Object.values(roleOf))] as [string, ...string[]]
const count = (text: string) => z.int().min(0).describe(text)
const time = (text: string) => z.iso.datetime().describe(text)

export const epochSchema = z
  .object({
    number: count('Raised by every change of primary'),
    node: z.string().describe('Who was made primary; empty before the first'),
  })
  .describe('Epoch: the term of one primary')

const role = z.enum(roles)
const state = z.enum(lifecycleStates)

const lossSchema = z.object({
  entries: count('Entries known to exist beyond the journal of the new primary').optional(),
  seconds: z.number().optional().describe('The time in which they were written'),
  reason: z.string().describe('How this is known, for people'),
})

export const failoverSchema = z.object({
  at: time('When'),
  epoch: epochSchema,
  primary: z.string().describe('The new primary'),
  kind: z.enum(['failover', 'switchover', 'by-hand', 'start']).describe('Why it changed'),
  tookMs: z.number().optional().describe('On the new primary: from missing the old one to the first commit'),
  mayLose: lossSchema.optional().describe('What a forced promotion may have left behind'),
})

export const bootstrapSchema = z.object({
  phase: z.enum(['waiting', 'snapshot', 'transferring', 'catching-up', 'installing', 'done']).describe('What it does'),
  method: z.enum(['checkpoint', 'range-chunks']).optional().describe('As files of a checkpoint, or key by key'),
  source: z.string().optional().describe('The node that the data comes from'),
  position: count('Sequence of the first snapshot').optional(),
  bytesDone: count('Bytes received'),
  bytesExpected: count('Estimated bytes of all').optional(),
  entriesDone: count('Keys received'),
  bytesPerSecond: z.number().describe('Rate of the last seconds'),
  secondsLeft: z.number().optional().describe('Estimated'),
  resumedFrom: z.string().optional().describe('Where it went on from what an earlier process had stored, for people'),
  restarts: count('Times it had to begin again on a wiped directory'),
  retryInMs: z.number().optional().describe('Until the next attempt'),
  lastError: z.string().optional().describe('Why the last attempt ended'),
})

const commitsSchema = z.object({
  perSecond: z.number().describe('Writes that were acknowledged, per second'),
  p50Ms: z.number().describe('From a write to its acknowledgement, the median; at most 19 % too high, never too low'),
  p99Ms: z.number().describe('The same for the slowest of 100'),
})

const followerSchema = z.object({
  node: z.string().describe('Its name'),
  address: z.string().describe('Where it connected from'),
  connected: z.boolean().describe('Whether a session with it stands'),
  inSync: z.boolean().describe('Whether commits wait for it'),
  state: z.enum(['catching-up', 'streaming', 'disconnected']).describe('How it follows'),
  received: count('Sequence that it has received'),
  durable: count('Sequence up to which its journal is on its disk'),
  applied: count('Sequence up to which it can be read there'),
  lagEntries: count('Entries that it is behind'),
  lagBytes: count('The same in bytes of journal'),
  lagMs: z.number().describe('The same in time'),
  since: time('From when on it is in this state'),
})

const settingsSchema = z.object({
  durability: z.enum(['local', 'standby']).describe('What an acknowledged write rests on'),
  inSyncMin: count('Nodes that hold a write durably before it is acknowledged'),
  failoverMs: count('How long a silent primary keeps its place'),
  inSyncTimeoutMs: count('How long a member of the set may be behind or away'),
})

const shardSchema = z.object({
  shard: z.string().describe('Name of the shard; this release has `main`'),
  role: role.describe('What this node is for the shard'),
  state: state.describe('Where in its lifecycle it is, see LIFECYCLE.md'),
  reason: z.string().describe('Why it is in this state, for people'),
  since: time('From when on it is in this state'),
  historyId: z.string().optional().describe('Random id of the history, made when the shard was created'),
  epoch: epochSchema.optional().describe('Epoch of the record that this node knows'),
  promised: epochSchema.describe('Highest epoch that this node has promised itself to'),
  position: z.string().optional().describe('What is applied here, as `epoch.sequence`'),
  settings: settingsSchema.describe('Fixed when the shard was created'),
  primary: z
    .object({ node: z.string().describe('Its name'), address: z.string().optional().describe('Where it is reached') })
    .optional()
    .describe('Who is primary, as far as this node knows'),
  inSync: z.array(z.string()).describe('The in-sync set, the primary among them'),
  recordVersion: count('Version of the record within its epoch').optional(),
  failover: z
    .object({
      possible: z.boolean().describe('Whether a standby could take over now'),
      reason: z.string().describe('Who holds everything, or what is in the way'),
      to: z.string().optional().describe('Who would take over first'),
    })
    .describe('The answer to "can we fail over now?"'),
  coordinator: z
    .object({
      kind: z.enum(['static', 'automatic']).describe('Promotion by hand, or by itself'),
      connected: z.boolean().describe('Whether it is reached; always true with `static`'),
      since: time('From when on it is, or is not').optional(),
      lastError: z.string().optional().describe('Why the last call failed'),
    })
    .describe('Who keeps the record'),
  failovers: z.array(failoverSchema).describe('Changes of primary that this process has seen, newest last'),
  sequence: z
    .object({
      appended: count('Written to the journal here'),
      durable: count('On the disk here'),
      committed: count('Known to be committed'),
      applied: count('Readable here'),
      checkpoint: count('In the engine on disk: a restart replays what follows'),
    })
    .describe('Up to which sequence entries are in each state on this node'),
  lagMs: z.number().optional().describe('How old the data here may be; absent while that is not known'),
  lease: z
    .object({ heldMs: z.number().describe('For how much longer') })
    .optional()
    .describe('On a primary that may answer linearizable reads'),
  commits: commitsSchema
    .optional()
    .describe('On a primary, of the last five seconds; absent while there were no commits'),
  followers: z.array(followerSchema).describe('On a primary: the standbys that follow it'),
  slots: z
    .array(
      z.object({
        name: z.string().describe('Whose it is'),
        sequence: count('What is kept from'),
        retainedBytes: count('Bytes of journal that it holds back'),
      }),
    )
    .describe('What keeps the journal from being trimmed'),
  journal: z
    .object({
      bytes: count('On disk'),
      segments: count('Files'),
      baseSequence: count('The journal begins behind it'),
    })
    .describe('The journal on disk'),
  bootstrap: bootstrapSchema.optional().describe('While this node is built from another one, and after'),
  divergentFiles: z
    .array(
      z.object({
        name: z.string().describe('File in the directory of the shard; `understudy journal` reads it'),
        epoch: z.string().describe('Of the entries in it'),
        firstSequence: count('Of the first entry'),
        lastSequence: count('Of the last'),
        entries: count('How many'),
        missingEntries: count('Cut before them, and trimmed already'),
        bytes: count('Size'),
      }),
    )
    .describe('Entries that were cut because the present history does not have them'),
  warnings: z.array(z.string()).describe('What an operator should know now, worst first; empty when all is well'),
})

const memberSchema = z.object({
  node: z.string().describe('Its name'),
  address: z.string().describe('Where it is expected'),
  reachable: z.boolean().describe('Whether it answers this node'),
  role: role.optional().describe('As it said last'),
  state: state.optional().describe('As it said last'),
  epoch: epochSchema.optional().describe('As it said last'),
  durable: count('Sequence on its disk, as it said last').optional(),
  applied: count('Sequence readable there, as it said last').optional(),
  inSync: z.boolean().describe('Whether it is in the in-sync set'),
  lastSeenMs: z.number().optional().describe('How long ago it said something'),
})

const voterSchema = z.object({
  voter: z.string().describe('Name of the node that hosts it'),
  witness: z.boolean().describe('Whether this process is nothing else'),
  state: z.enum(['starting', 'serving', 'failed', 'closed']).describe('Whether it answers'),
  reason: z.string().optional().describe('Why it does not serve'),
  coordinatorId: z.string().optional().describe('Random id, made with its directory'),
  voters: z
    .array(z.object({ node: z.string().describe('Its name'), address: z.string().describe('Where it is reached') }))
    .describe('All voters'),
  records: z
    .array(
      z.object({
        shard: z.string().describe('Whose record it is'),
        revision: count('Counts its changes'),
        epoch: epochSchema,
        primary: z.string().describe('As the record says'),
        inSync: z.array(z.string()).describe('As the record says'),
        recordVersion: count('Version within the epoch'),
      }),
    )
    .describe('What it keeps'),
  members: z
    .array(
      z.object({
        node: z.string().describe('Its name'),
        address: z.string().describe('As it registered'),
        expiresInMs: z.number().describe('Until its registration ends if it is not renewed'),
      }),
    )
    .describe('Nodes that have registered'),
  sessions: count('Connections of nodes that use it'),
  journal: z
    .object({ bytes: count('On disk'), segments: count('Files'), sequence: count('Last entry') })
    .describe('Its journal'),
})

const accessSchema = z.object({
  open: z.boolean().describe('True: no credentials are asked for'),
  tokens: count('Tokens that are valid now, the secret among them'),
  certificates: count('Names of client certificates that have scopes'),
  tls: z
    .object({
      clients: z.enum(['none', 'optional', 'required']).describe('Whether clients show certificates'),
      certificateExpiresAt: time('Until when the certificate of this node is valid'),
    })
    .optional()
    .describe('Absent: the port speaks plain text'),
  problem: z.string().optional().describe('Why the files of credentials, as they are now, are not in use'),
})

export const statusSchema = z.object({
  version: z.string().describe('Release of the program'),
  cluster: z.string().describe('Name of the cluster'),
  node: z.string().describe('Name of the node'),
  incarnation: z.string().describe('Random id of the data directory; empty on a witness'),
  boot: z.string().describe('Random id of this process'),
  engine: z.enum(['level', 'rocksdb', 'memory', 'none']).describe('What holds the data; `none` on a witness'),
  advertise: z.string().optional().describe('Where others reach it'),
  coordinator: z.string().describe('The coordinator as URL, without its password'),
  startedAt: time('When this process started'),
  members: z.array(memberSchema).describe('The other nodes, as this one sees them'),
  shards: z.array(shardSchema).describe('What it hosts; empty on a witness'),
  voter: voterSchema.optional().describe('Only where it hosts the voter of `builtin://`'),
  access: accessSchema.optional().describe('Who may use it'),
})

export const scopeSchema = z.enum(scopes)
