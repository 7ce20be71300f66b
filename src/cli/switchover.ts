import type { Command } from 'commander'
import { limits } from '../core/limits.js'
import { addClientFlags, type ClientFlags, nodeAddress, parseDuration } from './client-flags.js'
import { formatMs } from './format.js'
import { askSwitchover } from './node-client.js'
import { printJson, printLine } from './terminal.js'

interface SwitchoverFlags extends ClientFlags {
  readonly to?: string
  readonly shard?: string
  readonly timeout: number
}

export function registerSwitchover(program: Command): void {
  const command = program
    .command('switchover')
    .description(
      'hand the primary over to a standby, without losing or failing a write; rolled back if it cannot be done',
    )
  addClientFlags(command)
    .option('--to <NODE>', 'the next primary (default: the standby of the in-sync set that is furthest)')
    .option('--shard <NAME>', 'shard, if the node hosts several')
    .option(
      '--timeout <DURATION>',
      'until then it is done, or writes go on where they were',
      parseDuration,
      limits.operateTimeoutMs,
    )
    .option('--json', 'the result as one JSON object')
    .addHelpText(
      'after',
      `
For maintenance: both nodes are up. --url may name any node; the primary does it.
It stops taking writes, lets the standby catch up to its last entry, and hands the
epoch over; writes that arrive meanwhile wait and go to the new primary. The old
primary then follows as a standby. The pause is printed.

Refused (exit code 1, nothing has changed) if the standby is not in the in-sync set
or has not caught up in time. If the primary is gone this is no switchover: with an
automatic coordinator a standby takes over by itself, otherwise: understudy promote.

Examples:
  understudy switchover --url http://10.0.0.1:7400
  understudy switchover --url http://10.0.0.1:7400 --to b --timeout 30s
  understudy switchover --to b --json | jq .pauseMs`,
    )
    .action(async (flags: SwitchoverFlags) => {
      const { to, shard, timeout: timeoutMs } = flags
      const done = await askSwitchover(nodeAddress(flags), { to, shard, timeoutMs })
      if (flags.json === true) {
        printJson(done)
        return
      }
      printLine(
        `node ${done.primary} is the primary in epoch ${done.epoch}; writes paused for ${formatMs(done.pauseMs)}`,
      )
    })
}
