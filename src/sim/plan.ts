/** What a seed says about a run before it begins: the cluster, its world, and which faults come how often. */
import { limits } from '../core/limits.js'
import type { ShardSettings } from '../core/record.js'
import { type FaultKind, faultKinds, faultNeeds } from './fault-kinds.js'
import type { LinkPlan } from './links.js'
import type { SeededStreams } from './seeded-random.js'

export type CoordinatorKind = 'memory' | 'builtin' | 'static'

export interface DiskPlan {
  /** fsync, from and to; the rest takes a small part of it. */
  readonly syncMsMin: number
  readonly syncMsMax: number
}

export interface Plan {
  readonly seed: number
  readonly nodes: readonly string[]
  readonly coordinator: CoordinatorKind
  readonly settings: ShardSettings
  readonly segmentBytes: number
  readonly checkpointBytes: number
  readonly slotRetainBytes: number
  readonly writeTimeoutMs: number
  readonly links: LinkPlan
  readonly disk: DiskPlan
  /** Clocks run at 1 - x to 1 + x. */
  readonly clockDrift: number
  readonly clients: number
  readonly operationsPerSecond: number
  readonly keys: number
  /** Clients that read and say how fresh it must be; 0: none in this run. */
  readonly readers: number
  readonly freshReadsPerSecond: number
  /** Clients that create and drop column families, and use them; 0: only the default family in this run. */
  readonly familyClients: number
  readonly familyOperationsPerSecond: number
  readonly valueBytes: number
  /** Whose engine hands out and takes files of checkpoints: all, some or none. */
  readonly nodesWithFiles: readonly string[]
  /** An engine hands over no more at a time, so that a snapshot of few keys has several chunks. */
  readonly chunkBytes: number
  /** So slow that a bootstrap of everything takes about as long; undefined: not throttled. */
  readonly bootstrapMs: number | undefined
  /** How long faults come. */
  readonly faultMs: number
  /** Mean time between two faults of each kind; absent: none. */
  readonly faults: ReadonlyMap<FaultKind, number>
  /** Of the faults so many are followed by another one within a second. */
  readonly burstShare: number
}

export interface PlanOptions {
  /** Only these faults, whatever the seed says; those that such a cluster cannot survive are left out. */
  readonly faults?: readonly FaultKind[]
  /** How long they come, in simulated milliseconds; default 20,000. */
  readonly faultMs?: number
  /** Default: what the seed says. */
  readonly coordinator?: CoordinatorKind
  /** How many nodes, 2 to 4, besides a witness; default: what the seed says. */
  readonly nodes?: number
}

const forgetful: readonly FaultKind[] = ['coordinator-rolled-back', 'coordinator-wiped']
const defaultFaultMs = 20_000
const nodeNames = ['a', 'b', 'c', 'd']
/** Of the nodes of a cluster, without the witness. */
export const nodesMin = 2
export const nodesMax = nodeNames.length

export function planOf(seed: number, streams: SeededStreams, options: PlanOptions = {}): Plan {
  const random = streams.of('plan')
  const coordinatorDraw = random.next()
  const coordinator: CoordinatorKind =
    options.coordinator ?? (coordinatorDraw < 0.6 ? 'memory' : coordinatorDraw < 0.85 ? 'builtin' : 'static')
  const drawnCount = random.next() < 0.75 ? 3 : random.next() < 0.6 ? 2 : 4
  const count = options.nodes ?? drawnCount
  const failoverMs = random.pick([200, 500, 1_000, 1_000, 2_000])
  const durability = coordinator !== 'static' && random.chance(0.15) ? 'local' : 'standby'
  const more = streams.of('plan: more')
  const three = count > 2 && random.chance(0.15)
  // One is an explicit choice: then a write may rest on a single disk, and none of them may be harmed.
  const one = more.chance(0.12) && coordinator !== 'static'
  const inSyncMin = durability === 'local' || one ? 1 : three ? 3 : 2
  const settings: ShardSettings = {
    durability,
    inSyncMin,
    failoverMs,
    inSyncTimeoutMs: random.pick([300, 1_000, 3_000]),
  }
  const smallJournal = random.chance(0.5)
  const links: LinkPlan = {
    delayMs: random.skewed(0.05, 5),
    jitterMs: random.skewed(0.05, 10),
    lossShare: random.chance(0.3) ? random.skewed(0.0005, 0.02) : 0,
    bytesPerMs: random.pick([100_000, 100_000, 2_000]),
  }
  const disk: DiskPlan = { syncMsMin: random.skewed(0.1, 2), syncMsMax: random.skewed(2, 15) }
  const faults = new Map<FaultKind, number>()
  const swarm = streams.of('swarm')
  // Where everything breaks all the time little is written, and few things happen that take long.
  const share = more.pick([0.1, 0.2, 0.4])
  for (const kind of faultKinds) {
    const isOn = swarm.chance(share)
    const everyMs = swarm.skewed(1_500, 15_000)
    const wanted = options.faults === undefined ? isOn : options.faults.includes(kind)
    if (wanted && faultNeeds(kind, { coordinator, durability, inSyncMin, nodes: count })) faults.set(kind, everyMs)
  }
  // Drawn apart: what was there before stays as it was.
  const wider = streams.of('plan: wider')
  const readers = wider.chance(0.6) ? 1 + wider.below(3) : 0
  const freshReadsPerSecond = Math.round(wider.skewed(5, 40))
  const familyClients = wider.chance(0.4) ? 1 + wider.below(3) : 0
  const familyOperationsPerSecond = Math.round(wider.skewed(5, 40))
  const filesDraw = wider.next()
  const filesShare = filesDraw < 0.5 ? 0 : filesDraw < 0.85 ? 1 : 0.6
  const nodesWithFiles = ['a', 'b', 'c', 'd'].filter(() => wider.next() < filesShare)
  // An operator who forces a promotion would write over whatever a coordinator has forgotten: that is no fault of ours.
  if (faults.has('promote-forced')) for (const kind of forgetful) faults.delete(kind)
  return {
    seed,
    nodes: nodeNames.slice(0, count),
    coordinator,
    settings,
    segmentBytes: limits.segmentBytesMin,
    checkpointBytes: smallJournal ? 4_096 : limits.checkpointBytes,
    slotRetainBytes: smallJournal && random.chance(0.5) ? 100_000 : limits.slotRetainBytesMax,
    writeTimeoutMs: random.pick([1_000, 3_000]),
    links,
    disk,
    clockDrift: random.chance(0.5) ? 0.04 : 0,
    clients: 3 + random.below(6),
    operationsPerSecond: Math.round(random.skewed(20, 120)),
    keys: more.chance(0.25) ? 20 + more.below(20) : 2 + random.below(5),
    readers,
    freshReadsPerSecond,
    nodesWithFiles,
    familyClients,
    familyOperationsPerSecond,
    valueBytes: random.chance(0.3) ? 2_000 : 20,
    chunkBytes: more.pick([64, 1_000, 10_000, limits.chunkBytes]),
    bootstrapMs: more.chance(0.4) ? more.skewed(50, 3_000) : undefined,
    faultMs: options.faultMs ?? defaultFaultMs,
    faults,
    burstShare: more.pick([0, 0.25, 0.5]),
  }
}

export function describePlan(plan: Plan): string {
  const { nodes, coordinator, settings, links, disk, faults } = plan
  const kinds = [...faults].map(([kind, everyMs]) => `${kind}/${(everyMs / 1000).toFixed(1)}s`)
  return [
    `${nodes.length} nodes, coordinator ${coordinator}, durability ${settings.durability}, inSyncMin ${settings.inSyncMin}`,
    `failoverMs ${settings.failoverMs}, inSyncTimeoutMs ${settings.inSyncTimeoutMs}, writeTimeoutMs ${plan.writeTimeoutMs}`,
    `network ${links.delayMs.toFixed(2)}+${links.jitterMs.toFixed(2)} ms, loss ${(100 * links.lossShare).toFixed(2)} %, fsync ${disk.syncMsMin.toFixed(1)}-${disk.syncMsMax.toFixed(1)} ms`,
    `checkpoints every ${plan.checkpointBytes} bytes, slots hold ${plan.slotRetainBytes} bytes, drift ${plan.clockDrift}`,
    `${plan.clients} clients, ${plan.operationsPerSecond} operations/s on ${plan.keys} keys`,
    `${plan.readers} clients with ${plan.readers === 0 ? 0 : plan.freshReadsPerSecond} reads/s that say how fresh; ${plan.familyClients} with ${plan.familyClients === 0 ? 0 : plan.familyOperationsPerSecond}/s in families`,
    `files of checkpoints: ${plan.nodesWithFiles.join(', ') || 'nobody'}`,
    `faults: ${kinds.length === 0 ? 'none' : kinds.join(', ')}`,
  ].join('\n')
}
