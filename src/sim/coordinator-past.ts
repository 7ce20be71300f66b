import { compareEpochs, type Epoch } from '../core/position.js'
import type { RecordState } from '../ports/coordinator.js'
import type { SimulatedCluster } from './simulated-cluster.js'

const shard = 'main'
const pastMax = 200
const otherId = '0d'.repeat(16)

/**
 * What the coordinator in memory has held, and its return to it: restored from a backup, or wiped. Until somebody
 * brings the right store back it must decide nothing (S1, S3).
 */
export class CoordinatorPast {
  private readonly cluster: SimulatedCluster
  private readonly states: RecordState[] = []
  private untilRight: (() => void) | undefined

  constructor(cluster: SimulatedCluster) {
    this.cluster = cluster
  }

  /** Called now and then: what lies between two calls was never in a backup. */
  note(): void {
    if (this.untilRight !== undefined) return
    const state = this.cluster.store.state(shard)
    if (state.record === undefined || this.states.at(-1)?.revision === state.revision) return
    this.states.push(state)
    if (this.states.length > pastMax) this.states.shift()
  }

  /** A backup that is older than what each node knows; what is returned brings the right store back. */
  rollBack(pick: (count: number) => number): (() => void) | undefined {
    const known = this.leastKnown()
    if (known === undefined) return undefined
    const older = this.states.filter(
      ({ record }) =>
        record !== undefined &&
        (compareEpochs(record.epoch, known.epoch) < 0 ||
          (compareEpochs(record.epoch, known.epoch) === 0 && record.version < known.version)),
    )
    const chosen = older[pick(older.length)]
    if (chosen?.record === undefined) return undefined
    return this.replace(chosen)
  }

  /** Empty, and under another name, as after the loss of its disk. */
  wipe(): (() => void) | undefined {
    if (this.leastKnown() === undefined) return undefined
    return this.replace({ coordinatorId: otherId, record: undefined, revision: 0 })
  }

  private replace(wrong: RecordState): () => void {
    const { store, oracle } = this.cluster
    const right = store.state(shard)
    const put = ({ coordinatorId, record, revision }: RecordState) =>
      store.restore(new Map(record === undefined ? [] : [[shard, record]]), coordinatorId, revision)
    const end = () => {
      if (this.untilRight !== end) return
      this.untilRight = undefined
      const found = store.state(shard)
      if (found.revision !== wrong.revision) {
        oracle.problems.add(
          `S3: a coordinator that had forgotten was written to: epoch ${found.record?.epoch.number}@${found.record?.epoch.node}, version ${found.record?.version}`,
        )
      }
      put(right)
    }
    this.untilRight = end
    put(wrong)
    return end
  }

  /**
   * The oldest record that a node knows; undefined while one of them is down, or the right store is not there. A node
   * that knows no more than a backup believes it, and no rule can help.
   */
  private leastKnown(): { readonly epoch: Epoch; readonly version: number } | undefined {
    if (this.untilRight !== undefined) return undefined
    let least: { readonly epoch: Epoch; readonly version: number } | undefined
    for (const one of this.cluster.nodes) {
      const status = this.cluster.standingOf(one)
      if (status?.epoch === undefined || status.recordVersion === undefined) return undefined
      const known = { epoch: status.epoch, version: status.recordVersion }
      const order = least === undefined ? -1 : compareEpochs(known.epoch, least.epoch) || known.version - least.version
      if (order < 0) least = known
    }
    return least
  }
}
