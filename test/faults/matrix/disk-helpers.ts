/** What the kinds of faults of disks have in common. */
import { join } from 'node:path'
import { refusalOf } from '#src/cli/http-client.js'
import type { ShardStatus } from '#src/runtime/handle.js'
import type { Fault, FaultRule, FaultyDisk } from '../fs-shim/faulty-disk.js'
import type { FaultContext } from './kinds.js'
import { pass } from './times.js'

export const failTimeoutMs = 15_000

export function diskOf(context: FaultContext, name: string): FaultyDisk {
  const disk = context.disks.get(name)
  if (disk === undefined) throw new Error(`the disk of ${name} cannot be made to fail`)
  return disk
}

export function journalOf(context: FaultContext, name: string): string {
  return join(context.cluster.data(name), 'shards', 'main', 'current', 'journal')
}

export function fault(context: FaultContext, name: string, rule: FaultRule): Fault {
  return diskOf(context, name).fault(rule)
}

export function noteFault(context: FaultContext, name: string, { rule, injected, matched }: Fault): void {
  const { calls, action = 'fail', error = 'EIO' } = rule
  context.note(`${name}: ${calls.join(' and ')} ${action === 'fail' ? error : action} ${injected} of ${matched}`)
}

/** The shard has stopped, the process has not, and both status and answers to clients say why. */
export async function untilFailed(
  context: FaultContext,
  name: string,
  code: string,
  reason: RegExp,
): Promise<ShardStatus> {
  const { cluster } = context
  const failed = await cluster.until(name, 'failed', (shard) => shard.state === 'failed', failTimeoutMs)
  if (!reason.test(failed.reason)) throw new Error(`${name} failed, and says only: ${failed.reason}`)
  const request = { method: 'GET', path: '/v1/kv/anything?consistency=local' } as const
  const answer = await cluster.client.send(cluster.url(name), request)
  const refusal = refusalOf(answer)
  if (refusal.code !== `UNDERSTUDY_${code}` || refusal.hint === undefined) {
    throw new Error(`${name} failed with "${failed.reason}" and answers ${answer.status} ${JSON.stringify(refusal)}`)
  }
  return failed
}

export async function restart(context: FaultContext, name: string): Promise<void> {
  await context.cluster.stop(name)
  context.cluster.start(name)
}

/** Ends with an error, or runs with a shard that has failed; both name what happened. */
export async function failsToStart(context: FaultContext, name: string, reason: RegExp): Promise<void> {
  const { cluster } = context
  const child = cluster.process(name)
  const endMs = performance.now() + failTimeoutMs
  while (performance.now() < endMs) {
    if (!child.isRunning) {
      if (child.endedBy !== 'exit code 1' || !reason.test(child.logTail())) {
        throw new Error(`${name} ended by ${child.endedBy}: ${child.logTail()}`)
      }
      context.note(`${name} did not start`)
      return
    }
    const shard = (await cluster.shards()).get(name)
    if (shard?.state === 'failed') {
      if (!reason.test(shard.reason)) throw new Error(`${name} failed, and says only: ${shard.reason}`)
      context.note(`${name} started with a failed shard`)
      return
    }
    await pass(20)
  }
  throw new Error(`${name} started, or did not, and says nothing: ${child.logTail()}`)
}
