import { nodeRandom } from '../platform/node-random.js'
import { ClusterProcesses } from './cluster-processes.js'
import type { DemoNarrator, DemoNode, DemoStep, DemoSummary } from './demo-narrator.js'
import { Load } from './load.js'
import { type CheckResult, checkNode, isSound } from './load-check.js'

export interface DemoOptions {
  readonly entries: number
  readonly keep: boolean
}

const names = ['a', 'b', 'c'] as const
const valueBytes = 200
const loadOptions = {
  writers: 32,
  valueBytes,
  operationsPerSecond: 2_000,
  batchPercent: 2,
  batchKeys: 100,
  counters: 500,
  random: () => nodeRandom.next(),
} as const
const showEveryMs = 100

/** Resolves with what was found; true in `good` only if nothing was lost and the nodes are equal. */
export async function runDemo(
  options: DemoOptions,
  narrator: DemoNarrator,
): Promise<{ readonly good: boolean; readonly directory: string }> {
  const cluster = await ClusterProcesses.create({ names, durability: 'standby', inSyncMin: 2, keep: options.keep })
  const load = new Load(cluster.url('a'), loadOptions)
  try {
    const good = await new Demo(cluster, load, narrator, options).run()
    return { good, directory: cluster.directory }
  } finally {
    load.close()
    await cluster.close()
  }
}

class Demo {
  private readonly cluster: ClusterProcesses
  private readonly load: Load
  private readonly narrator: DemoNarrator
  private readonly options: DemoOptions
  private readonly startedMs = performance.now()
  private stepMs = this.startedMs

  constructor(cluster: ClusterProcesses, load: Load, narrator: DemoNarrator, options: DemoOptions) {
    this.cluster = cluster
    this.load = load
    this.narrator = narrator
    this.options = options
  }

  async run(): Promise<boolean> {
    await this.form()
    await this.fill()
    await this.rebuild()
    const writePauseMs = await this.takeOver()
    await this.rejoin()
    return this.compare(writePauseMs)
  }

  private async form(): Promise<void> {
    this.begin('three processes on this machine: a is to be the primary, b and c its standbys')
    for (const name of names) this.cluster.start(name)
    await this.cluster.untilInSync('a', names)
    const pids = Object.fromEntries(names.map((name) => [name, this.cluster.process(name).pid]))
    this.step('formed', 'a, b and c are one cluster; a write is acknowledged when all of them have it on disk', {
      pids,
    })

    await this.cluster.stop('c')
    this.cluster.eraseData('c')
    await this.cluster.untilInSync('a', ['a', 'b'])
    this.step('left', 'c was shut down and gave up its place; its disk was thrown away')
  }

  private async fill(): Promise<void> {
    const { entries } = this.options
    this.begin(`writing ${entries.toLocaleString('en')} entries to a`)
    await this.load.fill(entries)
    this.step('loaded', `${entries.toLocaleString('en')} entries written to a in batches`, { entries })
  }

  private async rebuild(): Promise<void> {
    this.load.start()
    this.begin(`c comes back empty while ${loadOptions.operationsPerSecond} writes/s go to a`)
    this.cluster.start('c')
    let shownMs = -Infinity
    let bytes = 0
    let source = 'a'
    await this.cluster.until(
      'c',
      'in the in-sync set and streaming',
      (shard) => {
        const { bootstrap } = shard
        if (bootstrap !== undefined && performance.now() - shownMs >= showEveryMs) {
          shownMs = performance.now()
          bytes = Math.max(bytes, bootstrap.bytesDone)
          source = bootstrap.source ?? source
          this.narrator.bootstrap(bootstrap)
        }
        return shard.state === 'streaming' && shard.inSync.includes('c')
      },
      120_000,
    )
    this.narrator.bootstrapEnd()
    await this.cluster.untilInSync('a', names)
    this.step('bootstrapped', `c was built anew from ${source} under load and is in the in-sync set again`, {
      source,
      bytes,
    })
    await pause(1_500)
    this.restartStep()
  }

  private async takeOver(): Promise<number> {
    const { cluster, load } = this
    this.begin('a is killed (SIGKILL) in the middle of the load')
    await cluster.kill('a')
    const lastMs = load.lastAcknowledgedMs ?? performance.now()
    this.step('killed', 'a was killed with SIGKILL')
    load.switchTo(cluster.url('b'))
    const { epoch } = await cluster.promote('b')
    this.step('promoted', `b was promoted: epoch ${epoch}`, { epoch })
    const { atMs } = await load.untilFirstAcknowledged()
    const writePauseMs = Math.round(atMs - lastMs)
    this.step('writing', `the load goes on against b; no write was acknowledged for ${writePauseMs} ms`, {
      writePauseMs,
    })
    await pause(1_500)
    return writePauseMs
  }

  private async rejoin(): Promise<void> {
    this.restartStep()
    this.begin('a starts again with the disk it had')
    this.cluster.start('a')
    await this.cluster.until('a', 'streaming', (shard) => shard.state === 'streaming')
    await this.cluster.untilInSync('b', names)
    this.step('rejoined', 'a found out that it was deposed, follows b and is in the in-sync set')
    await pause(1_000)
    await this.load.stop()
  }

  private async compare(writePauseMs: number): Promise<boolean> {
    const { cluster, load } = this
    this.restartStep()
    const { acknowledged, unknown } = load.ledger.counts
    this.begin(`load stopped; ${acknowledged.toLocaleString('en')} acknowledged writes are read back from every node`)
    const sequence = await cluster.untilEqual(['b', 'a', 'c'])
    this.step('equal', `all nodes have applied the last entry, ${sequence}`, { sequence })
    const results: CheckResult[] = []
    const nodes: DemoNode[] = []
    for (const node of names) {
      const result = await checkNode(cluster.client, cluster.url(node), load.ledger, valueBytes)
      const { role, epoch } = await cluster.shard(node)
      const { position, keys, contentHash } = result
      results.push(result)
      nodes.push({ node, role, epoch: `${epoch?.number}@${epoch?.node}`, applied: position, keys, contentHash })
    }
    this.step('compared', 'every acknowledged write was looked for on every node, and the nodes compared')
    const lost = Math.max(...results.map((result) => result.lost))
    const equal = new Set(results.map((result) => result.contentHash)).size === 1 && results.every(isSound)
    const summary: DemoSummary = {
      acknowledged,
      lost,
      unknown,
      nodes: names.length,
      seconds: Math.round((performance.now() - this.startedMs) / 100) / 10,
      writePauseMs,
      equal,
    }
    const problems = results.flatMap((result, index) => result.problems.map((text) => `node ${names[index]}: ${text}`))
    this.narrator.end(summary, nodes, problems)
    return lost === 0 && equal
  }

  private begin(text: string): void {
    this.narrator.begin(text)
  }

  private step(event: string, text: string, fields?: DemoStep['fields']): void {
    const nowMs = performance.now()
    this.narrator.step({
      event,
      text,
      ms: Math.round(nowMs - this.stepMs),
      ...(fields === undefined ? {} : { fields }),
    })
    this.stepMs = nowMs
  }

  private restartStep(): void {
    this.stepMs = performance.now()
  }
}

/** The load goes on for a while, so that there is something to lose. */
function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
