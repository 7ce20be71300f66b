import { setTimeout as sleep } from 'node:timers/promises'
import type { Command } from 'commander'
import { limits } from '../core/limits.js'
import { isFailure, UnderstudyError } from '../errors.js'
import type { ShardStatus } from '../runtime/handle.js'
import { addClientFlags, type ClientFlags, nodeAddress, parseDuration } from './client-flags.js'
import { takePicture } from './cluster-picture.js'
import { formatSeconds, plural } from './format.js'
import { askPromote, askStatus, type NodeAddress, type Promoted } from './node-client.js'
import { createPaint, printJson, printLine } from './terminal.js'

interface PromoteFlags extends ClientFlags {
  readonly force?: boolean
  readonly shard?: string
  readonly timeout: number
}

export function registerPromote(program: Command): void {
  const command = program
    .command('promote')
    .description('make a standby the primary; refused where acknowledged writes could be lost')
  addClientFlags(command)
    .option('--force', 'also if entries may be lost; what, is printed')
    .option('--shard <NAME>', 'shard, if the node hosts several')
    .option('--timeout <DURATION>', 'how long to wait until it takes writes', parseDuration, limits.operateTimeoutMs)
    .option('--json', 'the result as one JSON object')
    .addHelpText(
      'after',
      `
The node that --url names takes a new epoch; every node that it reaches refuses
the old one from then on. Without --force it must be certain that it holds every
acknowledged write, and is refused otherwise (exit code 1, with the reason and with
what --force would lose).

With an automatic coordinator (etcd, builtin) a standby takes over by itself, and
switchover moves the primary while both nodes are up. This command is for what is
left: no member of the in-sync set is there any more, and a node outside of it shall
go on with what it has; or the coordinator was wiped or restored from a backup, and
the nodes are fenced until one of them is named (--force both times). The coordinator
must answer, also with --force.

Examples:
  understudy promote --url http://10.0.0.2:7400
  understudy promote --url http://10.0.0.2:7400 --force --json`,
    )
    .action((flags: PromoteFlags) => run(flags))
}

async function run(flags: PromoteFlags): Promise<void> {
  const address = nodeAddress(flags)
  const { force = false, timeout: timeoutMs, shard, json = false } = flags
  const endMs = Date.now() + timeoutMs
  let promoted: Promoted
  try {
    promoted = await askPromote(address, { force, timeoutMs, shard })
  } catch (error) {
    if (!isFailure(error, 'PROMOTION_REFUSED') || force) throw error
    throw new UnderstudyError('PROMOTION_REFUSED', `${error.message}\n${await describeLoss(address, shard)}`, {
      ...(error.hint === undefined ? {} : { hint: error.hint }),
      cause: error,
    })
  }
  const { node, reason } = await untilPrimary(address, shard, endMs, promoted)
  if (json) {
    printJson({ node, state: 'primary', ...promoted })
    return
  }
  const { epoch, position, mayLose } = promoted
  printLine(`node ${node} is the primary in epoch ${epoch}, from position ${position} on: ${reason}`)
  if (mayLose !== null) {
    const { entries, seconds } = mayLose
    const known =
      entries === undefined ? 'how many is not known' : `${plural(entries, 'entry', 'entries')} known to be missing`
    const time = seconds === undefined ? '' : `, ${formatSeconds(seconds)} of writes`
    printLine(`${createPaint(process.stdout)('yellow', 'warning')}: ${mayLose.reason} (${known}${time})`)
  }
}

/** The epoch is taken; the node is primary for clients when the epoch's first block is committed (C4). */
async function untilPrimary(
  address: NodeAddress,
  shard: string | undefined,
  endMs: number,
  { epoch }: Promoted,
): Promise<{ readonly node: string; readonly reason: string }> {
  for (;;) {
    const status = await askStatus(address)
    const found = findShard(status.shards, shard)
    if (found?.state === 'primary') return { node: status.node, reason: found.reason }
    if (found === undefined || Date.now() >= endMs || (found.role !== 'standby' && found.state !== 'promoting')) {
      throw new UnderstudyError(
        'TIMEOUT',
        `${status.node} has taken epoch ${epoch}, but takes no writes yet (${found?.state}: ${found?.reason})`,
        { outcome: 'done', hint: 'understudy status shows what it waits for' },
      )
    }
    await sleep(limits.pollMs / 2)
  }
}

function findShard(shards: readonly ShardStatus[], name: string | undefined): ShardStatus | undefined {
  return shards.find((one) => one.shard === (name ?? 'main'))
}

/** What is known now of what a forced promotion would give up. */
async function describeLoss(address: NodeAddress, name: string | undefined): Promise<string> {
  const picture = await takePicture(address)
  const rows = picture.shards.find((one) => one.shard === (name ?? 'main'))?.nodes ?? []
  const own = rows.find((row) => row.node === picture.asked)
  if (own?.durable === undefined) return `with --force: ${picture.asked} has no data of its own to lead with`
  const { durable } = own
  const others = rows.filter((row) => row !== own)
  const known = Math.max(0, ...others.map((row) => (row.committed ?? row.durable ?? 0) - durable))
  const silent = others.filter((row) => !row.answers)
  const parts = [`with --force: ${own.node} ends at ${durable}`]
  parts.push(
    known > 0
      ? `${plural(known, 'entry', 'entries')} that others have would be lost`
      : 'no other node that answers has more',
  )
  if (silent.length > 0) {
    const seen = silent.map((row) =>
      row.durable === undefined ? row.node : `${row.node}, last seen at ${row.durable}`,
    )
    parts.push(`what only the silent have cannot be known (${seen.join('; ')})`)
  }
  const { failover } = picture.shards.find((one) => one.shard === (name ?? 'main')) ?? {}
  if (failover?.possible === true && failover.to !== own.node) {
    parts.push(`nothing would be lost with ${failover.to}: ${failover.reason}`)
  }
  return parts.join('; ')
}
