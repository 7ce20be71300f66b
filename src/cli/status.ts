import { setTimeout as sleep } from 'node:timers/promises'
import type { Command } from 'commander'
import { limits } from '../core/limits.js'
import { isFailure } from '../errors.js'
import { addClientFlags, type ClientFlags, nodeAddress } from './client-flags.js'
import { type ClusterPicture, takePicture } from './cluster-picture.js'
import { LiveScreen } from './live-screen.js'
import type { NodeAddress } from './node-client.js'
import { renderPicture } from './status-table.js'
import { createPaint, printJson, printLine } from './terminal.js'
import { wrap } from './wrap.js'

interface StatusFlags extends ClientFlags {
  readonly watch?: boolean
}

export function registerStatus(program: Command): void {
  const command = program
    .command('status')
    .description('show the cluster as a table: who is primary, how far everybody is')
  addClientFlags(command)
    .option('--watch', 'again every second, until Ctrl-C')
    .option('--json', 'one JSON object (with --watch one per line and second)')
    .addHelpText(
      'after',
      `
Asks one node, and all members that it names. "position" is what is applied and
readable there, "durable" how far its journal is on disk, "lag" the entries that it
lacks, "bytes" and "time" the same in bytes of journal and in time. (parentheses):
known only from the node asked. A narrow terminal shows fewer columns.

"can fail over now" is the answer for this moment: who would take over, whether
writes would go on then, or what is in the way. Below: who sees the coordinator, and
the changes of primary that the nodes have seen since they started.

Examples:
  understudy status
  understudy status --url http://10.0.0.2:7400 --watch
  understudy status --json | jq -r '.shards[0].primary'
  understudy status --json | jq '.shards[0].failover'

Exit code 4 if the node does not answer.`,
    )
    .action(async (flags: StatusFlags) => {
      const address = nodeAddress(flags)
      const json = flags.json === true
      if (flags.watch === true) await watch(address, json)
      else show(await takePicture(address), json)
    })
}

function show(picture: ClusterPicture, json: boolean): boolean {
  return json ? printJson(asJson(picture)) : printLine(renderPicture(picture, Date.now()))
}

function asJson(picture: ClusterPicture): unknown {
  const nodes = picture.nodes.map(({ node, url, status, error }) => ({
    node,
    url,
    ...(status === undefined ? {} : { status }),
    ...(error === undefined ? {} : { error: error.toJSON() }),
  }))
  return { at: new Date().toISOString(), ...picture, nodes }
}

/** Goes on when the node that was asked dies: any member knows the others. */
async function watch(first: NodeAddress, json: boolean): Promise<void> {
  const end = new AbortController()
  process.once('SIGINT', () => end.abort())
  process.once('SIGTERM', () => end.abort())
  const screen = !json && process.stdout.isTTY === true ? new LiveScreen(process.stdout) : undefined
  let urls: readonly string[] = [first.url]
  let isFirst = true
  try {
    while (!end.signal.aborted) {
      const taken = await takeFromAny(urls, first)
      if ('error' in taken && isFirst) throw taken.error
      isFirst = false
      if ('picture' in taken) {
        urls = [first.url, ...taken.picture.nodes.map((node) => node.url).filter((url) => url !== first.url)]
      }
      if (end.signal.aborted) return
      const isOpen = json
        ? printJson('picture' in taken ? asJson(taken.picture) : { at: new Date().toISOString(), error: taken.error })
        : (screen?.show(textOf(taken)) ?? printLine(textOf(taken)))
      if (!isOpen) return
      await sleep(limits.watchIntervalMs, undefined, { signal: end.signal }).catch(() => undefined)
    }
  } finally {
    screen?.end()
  }
}

function textOf(taken: Taken): string {
  const paint = createPaint(process.stdout)
  const width = process.stdout.columns ?? Number.POSITIVE_INFINITY
  const head = paint('dim', `${new Date().toISOString()} · Ctrl-C ends`)
  if ('picture' in taken) return `${head}\n\n${renderPicture(taken.picture, Date.now())}\n`
  return `${head}\n\n${wrap(`${paint('red', taken.error.code)}: ${taken.error.message}`, width).join('\n')}\n`
}

type Taken = { readonly picture: ClusterPicture } | { readonly error: Error & { readonly code: string } }

async function takeFromAny(urls: readonly string[], first: NodeAddress): Promise<Taken> {
  let found: Taken | undefined
  for (const url of urls) {
    try {
      return { picture: await takePicture({ ...first, url }) }
    } catch (error) {
      if (!isFailure(error)) throw error
      found ??= { error }
    }
  }
  return found!
}
