import type { Command } from 'commander'
import { limits } from '../core/limits.js'
import { addClientFlags, type ClientFlags, nodeAddress, parseDuration } from './client-flags.js'
import { askInSyncRemove } from './node-client.js'
import { printJson, printLine } from './terminal.js'

interface InSyncFlags extends ClientFlags {
  readonly remove: string
  readonly shard?: string
  readonly timeout: number
}

export function registerInSync(program: Command): void {
  const command = program
    .command('in-sync')
    .description('take a lost node out of the in-sync set, so that writes no longer wait for it')
  addClientFlags(command)
    .requiredOption('--remove <NODE>', 'the node that leaves the set')
    .option('--shard <NAME>', 'shard, if the node hosts several')
    .option('--timeout <DURATION>', 'how long to wait for the change', parseDuration, limits.operateTimeoutMs)
    .option('--json', 'the new set as one JSON object')
    .addHelpText(
      'after',
      `
--url names the primary (exit code 3 otherwise). Refused where fewer than inSyncMin
nodes would remain. The node joins again by itself when it is back and caught up.

Example:
  understudy in-sync --url http://10.0.0.1:7400 --remove c`,
    )
    .action(async (flags: InSyncFlags) => {
      const { remove, shard, timeout: timeoutMs } = flags
      const changed = await askInSyncRemove(nodeAddress(flags), { remove, shard, timeoutMs })
      if (flags.json === true) {
        printJson(changed)
        return
      }
      const { inSync, recordVersion, epoch } = changed
      printLine(`in-sync set: ${inSync.join(', ')} (version ${recordVersion}, epoch ${epoch})`)
      if (inSync.includes(remove)) printLine(`${remove} is connected and caught up, and has joined again`)
    })
}
