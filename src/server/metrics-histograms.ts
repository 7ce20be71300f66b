import type { ShardMetrics } from '../runtime/handle.js'
import type { HistogramSnapshot } from '../runtime/histogram.js'

const help: ReadonlyArray<readonly [keyof ShardMetrics['histograms'], string, string]> = [
  ['commitSeconds', 'understudy_commit_seconds', 'From a write to its answer: committed and applied'],
  ['journalFlushSeconds', 'understudy_journal_flush_seconds', 'One write and fsync of the journal'],
  ['applySeconds', 'understudy_apply_seconds', 'One application of blocks to the engine'],
  ['blockEntries', 'understudy_blocks_entries', 'Entries in a block'],
]

/**
 * Histograms in the exposition format of Prometheus. The node counts into buckets itself, at the rate of writes;
 * prom-client would have to be told every single value again.
 */
export function describeHistograms(shards: readonly ShardMetrics[]): string {
  return help
    .map(([key, name, text]) => {
      const lines = shards.flatMap(({ shard, histograms }) => samplesOf(name, shard, histograms[key]))
      return `# HELP ${name} ${text}\n# TYPE ${name} histogram\n${lines.map((line) => `${line}\n`).join('')}`
    })
    .join('\n')
}

function samplesOf(name: string, shard: string, histogram: HistogramSnapshot): string[] {
  const label = `shard="${shard.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')}"`
  let below = 0
  const buckets = histogram.bounds.map((bound, index) => {
    below += histogram.counts[index] ?? 0
    return `${name}_bucket{le="${bound}",${label}} ${below}`
  })
  return [
    ...buckets,
    `${name}_bucket{le="+Inf",${label}} ${histogram.count}`,
    `${name}_sum{${label}} ${histogram.sum}`,
    `${name}_count{${label}} ${histogram.count}`,
  ]
}
