import type { LifecycleState } from '../core/lifecycle.js'
import type { Clock } from '../ports/clock.js'
import { CommitWindow } from './commit-window.js'
import type { ShardMetrics } from './handle.js'
import { Histogram } from './histogram.js'

const fastSeconds = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]
const entryCounts = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096, 16_384, 65_536]

/** Collects what `/metrics` tells about one shard: totals since the process began, however often they are read. */
export class ShardObserver {
  reconnects = 0
  checksumFailures = 0
  gaps = 0
  fenced = 0
  failovers = 0
  inSyncChanges = 0
  coordinatorErrors = 0
  bootstrapBytes = 0
  bootstrapRestarts = 0
  rewoundEntries = 0
  private readonly transitions = new Map<string, number>()
  private readonly commit = new Histogram(fastSeconds)
  private readonly flush = new Histogram(fastSeconds)
  private readonly apply = new Histogram(fastSeconds)
  private readonly entries = new Histogram(entryCounts)
  readonly commits: CommitWindow

  constructor(clock: Clock) {
    this.commits = new CommitWindow(clock)
  }

  transition(from: LifecycleState, to: LifecycleState): void {
    const key = `${from}>${to}`
    this.transitions.set(key, (this.transitions.get(key) ?? 0) + 1)
  }

  commitSeconds(seconds: number): void {
    this.commit.observe(seconds)
    this.commits.add(seconds)
  }

  flushSeconds(seconds: number): void {
    this.flush.observe(seconds)
  }

  applySeconds(seconds: number): void {
    this.apply.observe(seconds)
  }

  blockEntries(entries: number): void {
    this.entries.observe(entries)
  }

  get totals(): Pick<ShardMetrics, 'counters' | 'histograms'> {
    return {
      counters: {
        reconnects: this.reconnects,
        checksumFailures: this.checksumFailures,
        gaps: this.gaps,
        fenced: this.fenced,
        failovers: this.failovers,
        inSyncChanges: this.inSyncChanges,
        coordinatorErrors: this.coordinatorErrors,
        bootstrapBytes: this.bootstrapBytes,
        bootstrapRestarts: this.bootstrapRestarts,
        rewoundEntries: this.rewoundEntries,
        transitions: new Map(this.transitions),
      },
      histograms: {
        commitSeconds: this.commit.snapshot,
        journalFlushSeconds: this.flush.snapshot,
        applySeconds: this.apply.snapshot,
        blockEntries: this.entries.snapshot,
      },
    }
  }
}
