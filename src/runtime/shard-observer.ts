import type { LifecycleState } from '../core/lifecycle.js'
import type { Clock } from '../ports/clock.js'
import { CommitWindow } from './commit-window.js'
import type { ShardMetrics } from './handle.js'

const observationsMax = 4096

/** Collects what `/metrics` tells about one shard; observations are bounded between two readings. */
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
  private commit: number[] = []
  private flush: number[] = []
  private apply: number[] = []
  private entries: number[] = []
  readonly commits: CommitWindow

  constructor(clock: Clock) {
    this.commits = new CommitWindow(clock)
  }

  transition(from: LifecycleState, to: LifecycleState): void {
    const key = `${from}>${to}`
    this.transitions.set(key, (this.transitions.get(key) ?? 0) + 1)
  }

  commitSeconds(seconds: number): void {
    keep(this.commit, seconds)
    this.commits.add(seconds)
  }

  flushSeconds(seconds: number): void {
    keep(this.flush, seconds)
  }

  applySeconds(seconds: number): void {
    keep(this.apply, seconds)
  }

  blockEntries(entries: number): void {
    keep(this.entries, entries)
  }

  take(): Pick<ShardMetrics, 'counters' | 'observations'> {
    const observations = {
      commitSeconds: this.commit,
      journalFlushSeconds: this.flush,
      applySeconds: this.apply,
      blockEntries: this.entries,
    }
    this.commit = []
    this.flush = []
    this.apply = []
    this.entries = []
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
      observations,
    }
  }
}

/** Nobody reads: what would grow is thinned out, the newest half stays. */
function keep(values: number[], value: number): void {
  if (values.length >= observationsMax) values.splice(0, observationsMax / 2)
  values.push(value)
}
