import { formatEpoch } from '../core/position.js'
import { nodeRandom } from '../platform/node-random.js'
import { ClusterProcesses } from './cluster-processes.js'
import type { DemoNarrator, DemoNode, DemoStep, DemoSummary } from './demo-narrator.js'
import { Load } from './load.js'
import { type CheckResult, checkNode, isSound } from './load-check.js'

export interface DemoOptions {
  readonly entries: number
  readonly keep: boolean
}

const names: readonly string[] = ['a', 'b', 'c']
const witness = 'w'
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
const settleTimeoutMs = 60_000

/** Resolves with what was found; true in `good` only if nothing was lost and the nodes are equal. */
export async function runDemo(
  options: DemoOptions,
  narrator: DemoNarrator,
): Promise<{ readonly good: boolean; readonly directory: string }> {
  const cluster = await ClusterProcesses.create({
    names,
    coordinator: 'builtin',
    witnesses: [witness],
    durability: 'standby',
    inSyncMin: 2,
    keep: options.keep,
  })
  const load = new Load(
    names.map((name) => cluster.url(name)),
    loadOptions,
  )
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
    const first = await this.form()
    await this.rebuild(names.findLast((name) => name !== first)!)
    const takeoverMs = await this.takeOver(first)
    await this.rejoin(first)
    const switchoverPauseMs = await this.switchBack(first)
    return this.compare({ takeoverMs, switchoverPauseMs })
  }

  private async form(): Promise<string> {
    this.begin('four processes on this machine: the nodes a, b and c, and a witness that only votes')
    this.cluster.start(witness)
    for (const name of names) this.cluster.start(name)
    const primary = await this.cluster.untilSettled(names, settleTimeoutMs)
    const pids = Object.fromEntries([...names, witness].map((name) => [name, this.cluster.process(name).pid]))
    const text = `a, b and c are one cluster with ${primary} as its primary; a write is acknowledged when all of them have it on disk`
    this.step('formed', text, { primary, pids })
    return primary
  }

  /** `name` loses its disk and is built anew from the others, while all of them are written to. */
  private async rebuild(name: string): Promise<void> {
    const { entries } = this.options
    const others = names.filter((one) => one !== name)
    await this.cluster.stop(name)
    this.cluster.eraseData(name)
    await this.cluster.untilSettled(others, settleTimeoutMs)
    this.load.switchTo(others.map((one) => this.cluster.url(one)))
    this.step('left', `${name} was shut down and gave up its place; its disk was thrown away`)
    this.begin(`writing ${entries.toLocaleString('en')} entries to ${others.join(' and ')}`)
    await this.load.fill(entries)
    this.step('loaded', `${entries.toLocaleString('en')} entries written in batches`, { entries })

    this.load.start()
    this.begin(
      `${name} comes back empty while ${loadOptions.operationsPerSecond} writes/s go to ${others.join(' and ')}`,
    )
    this.cluster.start(name)
    let shownMs = -Infinity
    let bytes = 0
    let source = others[0]!
    await this.cluster.until(
      name,
      'in the in-sync set and streaming',
      (shard) => {
        const { bootstrap } = shard
        if (bootstrap !== undefined && performance.now() - shownMs >= showEveryMs) {
          shownMs = performance.now()
          bytes = Math.max(bytes, bootstrap.bytesDone)
          source = bootstrap.source ?? source
          this.narrator.bootstrap(bootstrap)
        }
        return shard.state === 'streaming' && shard.inSync.includes(name)
      },
      120_000,
    )
    this.narrator.bootstrapEnd()
    await this.cluster.untilSettled(names, settleTimeoutMs)
    this.load.switchTo(names.map((one) => this.cluster.url(one)))
    const text = `${name} was built anew from ${source} under load and is in the in-sync set again`
    this.step('bootstrapped', text, { node: name, source, bytes })
    await pause(1_500)
    this.restartStep()
  }

  private async takeOver(old: string): Promise<number> {
    const { cluster, load } = this
    this.begin(`${old}, the primary, is killed (SIGKILL) in the middle of the load; nobody promotes anybody`)
    const killedMs = performance.now()
    await cluster.kill(old)
    // What is sent from now on counts.
    load.switchTo(names.map((name) => cluster.url(name)))
    this.step('killed', `${old} was killed with SIGKILL`, { node: old })
    const { atMs } = await load.untilFirstAcknowledged()
    const takeoverMs = Math.round(atMs - killedMs)
    const primary = await this.leader(names.filter((name) => name !== old))
    const epoch = formatEpoch((await cluster.shard(primary)).epoch!)
    const text = `${primary} took over in epoch ${epoch}: writes are taken again ${takeoverMs} ms after the kill`
    this.step('taken-over', text, { primary, epoch, takeoverMs })
    await pause(1_500)
    return takeoverMs
  }

  private async rejoin(old: string): Promise<void> {
    this.restartStep()
    this.begin(`${old} starts again with the disk it had`)
    this.cluster.start(old)
    const primary = await this.cluster.untilSettled(names, settleTimeoutMs)
    const text = `${old} found out that it was deposed, follows ${primary} and is in the in-sync set`
    this.step('rejoined', text, { node: old, primary })
    await pause(1_000)
  }

  private async switchBack(first: string): Promise<number> {
    const { cluster, load } = this
    const primary = await cluster.untilSettled(names, settleTimeoutMs)
    this.restartStep()
    this.begin(`${primary} hands over to ${first} under load`)
    load.watchGap()
    const { epoch } = await cluster.switchover(primary, first)
    load.switchTo(names.map((name) => cluster.url(name)))
    await load.untilFirstAcknowledged()
    await cluster.untilSettled(names, settleTimeoutMs)
    const switchoverPauseMs = Math.round(load.longestGapMs)
    const text = `${first} is the primary again, in epoch ${epoch}; the longest time without an acknowledged write was ${switchoverPauseMs} ms`
    this.step('switched-over', text, { primary: first, epoch, switchoverPauseMs })
    await pause(1_000)
    await load.stop()
    return switchoverPauseMs
  }

  /** Who of them is primary now. */
  private async leader(candidates: readonly string[]): Promise<string> {
    const [first] = candidates
    const { primary } = await this.cluster.until(
      first!,
      `one of ${candidates.join(', ')} primary`,
      (shard) => shard.primary !== undefined && candidates.includes(shard.primary.node),
    )
    return primary!.node
  }

  private async compare(times: Pick<DemoSummary, 'takeoverMs' | 'switchoverPauseMs'>): Promise<boolean> {
    const { cluster, load } = this
    this.restartStep()
    const { acknowledged, unknown } = load.ledger.counts
    this.begin(`load stopped; ${acknowledged.toLocaleString('en')} acknowledged writes are read back from every node`)
    const primary = await cluster.untilSettled(names, settleTimeoutMs)
    const sequence = await cluster.untilEqual([primary, ...names.filter((name) => name !== primary)])
    this.step('equal', `all nodes have applied the last entry, ${sequence}`, { sequence })
    const results: CheckResult[] = []
    const nodes: DemoNode[] = []
    for (const node of names) {
      const result = await checkNode(cluster.client, cluster.url(node), load.ledger, valueBytes)
      const { role, epoch } = await cluster.shard(node)
      const { position, keys, contentHash } = result
      results.push(result)
      nodes.push({ node, role, epoch: formatEpoch(epoch!), applied: position, keys, contentHash })
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
      ...times,
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
