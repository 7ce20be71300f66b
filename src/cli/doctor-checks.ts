/** What `understudy doctor` concludes from what it has seen. Everything here decides; nothing asks. */
import { limits } from '../core/limits.js'
import type { ShardStatus } from '../runtime/handle.js'
import type { ClusterPicture } from './cluster-picture.js'
import { formatBytes, formatMs, plural } from './format.js'

export type CheckStatus = 'ok' | 'warn' | 'fail' | 'unknown'

export interface Check {
  readonly id: string
  readonly status: CheckStatus
  /** One line, or one for each thing that was found. */
  readonly found: string
  /** The command or change that comes next; undefined where nothing is to be done. */
  readonly next?: string
}

/** What was measured of one node, beside its status. */
export interface NodeMeasures {
  readonly node: string
  readonly answerMs: number | undefined
  /** Its clock minus this machine's; the answer's date has whole seconds. */
  readonly clockOffsetMs: number | undefined
  /** Mean of all flushes of its journal since it started. */
  readonly flushMs: number | undefined
  readonly openFiles: number | undefined
  readonly openFilesMax: number | undefined
}

export interface CertificateFact {
  readonly where: string
  readonly validToMs: number
}

export interface EndpointFact {
  readonly endpoint: string
  readonly connectMs: number | undefined
  readonly error: string | undefined
}

/** Of the data directory, where the command runs beside it. */
export interface LocalFacts {
  readonly directory: string
  readonly fsyncMs: { readonly p50: number; readonly p99: number } | undefined
  readonly freeBytes: number
  readonly totalBytes: number
  readonly openFilesMax: number | undefined
}

export interface DoctorFacts {
  readonly picture: ClusterPicture | undefined
  readonly nodes: readonly NodeMeasures[]
  readonly certificates: readonly CertificateFact[]
  readonly endpoints: readonly EndpointFact[]
  readonly local: LocalFacts | undefined
  readonly slotRetainBytes: number
  readonly nowMs: number
}

export const doctorBounds = {
  fsyncP99WarnMs: 50,
  fsyncP99FailMs: 500,
  flushWarnMs: 25,
  clockWarnMs: 5_000,
  freeWarnRatio: 0.1,
  freeFailBytes: 256 * 1024 * 1024,
  certificateWarnMs: 21 * 24 * 3600_000,
  openFilesMin: 4096,
  endpointWarnMs: 100,
} as const

export function judge(facts: DoctorFacts): Check[] {
  const { picture, local } = facts
  const checks: Check[] = []
  if (picture !== undefined) {
    for (const shard of picture.shards) {
      checks.push(failoverCheck(picture, shard), lossCheck(shard))
    }
    checks.push(
      nodesCheck(picture),
      versionsCheck(picture),
      settingsCheck(picture),
      ...coordinatorChecks(picture, facts.endpoints),
      retentionCheck(picture, facts.slotRetainBytes),
      clockCheck(facts.nodes),
      flushCheck(facts.nodes),
      warningsCheck(picture),
    )
  }
  checks.push(certificateCheck(facts))
  if (local !== undefined) checks.push(...localChecks(local))
  checks.push(openFilesCheck(facts))
  return checks
}

export function worstOf(checks: readonly Check[]): CheckStatus {
  return (['fail', 'warn', 'unknown'] as const).find((status) => checks.some((one) => one.status === status)) ?? 'ok'
}

function failoverCheck(picture: ClusterPicture, shard: ClusterPicture['shards'][number]): Check {
  const id = 'failover'
  const { failover } = shard
  if (shard.primary === undefined) {
    return {
      id,
      status: 'fail',
      found: `shard ${shard.shard} has no primary now: writes wait`,
      next: 'understudy status: it says what is in the way of a takeover',
    }
  }
  if (failover === undefined) return { id, status: 'unknown', found: 'no node says whether it could take over' }
  const found = `${failover.possible ? 'yes' : 'no'}: ${failover.reason}`
  if (failover.possible) return { id, status: 'ok', found }
  if (shard.coordinator?.kind === 'static') {
    return { id, status: 'warn', found, next: 'understudy promote --url URL of a standby, when the primary is gone' }
  }
  const alone = picture.nodes.length === 1
  return {
    id,
    status: alone ? 'warn' : 'fail',
    found,
    next: alone ? 'add a node: understudy bootstrap, then understudy serve' : 'understudy status',
  }
}

/** One node more than writes need must be in the set, or the next loss stops them. */
function lossCheck({ inSync, settings, coordinator }: ClusterPicture['shards'][number]): Check {
  const id = 'spare-node'
  if (settings === undefined) return { id, status: 'unknown', found: 'no node has said its settings' }
  const spare = inSync.length - settings.inSyncMin
  const found = `${plural(inSync.length, 'node')} in the in-sync set, ${settings.inSyncMin} needed for writes`
  if (settings.inSyncMin === 1 && settings.durability === 'standby') {
    return {
      id,
      status: 'warn',
      found: `${found}: acknowledged writes may rest on one disk only`,
      next: 'create the shard with inSyncMin 2 where that must not be',
    }
  }
  if (settings.durability === 'local') {
    return { id, status: 'warn', found: `${found}; durability local: a failover may lose the newest writes` }
  }
  if (spare > 0) return { id, status: 'ok', found: `${found}: ${plural(spare, 'node')} may be lost without a stop` }
  const isManual = coordinator?.kind === 'static'
  return {
    id,
    status: 'warn',
    found: `${found}: the loss of one more node stops writes${isManual ? ' until it is taken out by hand' : ''}`,
    next: 'start or add another node; see "in sync" in understudy status',
  }
}

function nodesCheck({ nodes }: ClusterPicture): Check {
  const away = nodes.filter(({ status }) => status === undefined)
  if (away.length === 0) {
    const names = nodes.map(({ node, status }) => (status?.voter?.witness === true ? `${node} (witness)` : node))
    return { id: 'nodes', status: 'ok', found: `all answer: ${names.join(', ')}` }
  }
  return {
    id: 'nodes',
    status: 'fail',
    found: away.map(({ node, error }) => `${node}: ${error?.message ?? 'no answer'}`).join('; '),
    next: `start ${away.map(({ node }) => node).join(', ')}, or look at its log`,
  }
}

function versionsCheck({ nodes }: ClusterPicture): Check {
  const versions = groups(nodes.flatMap(({ node, status }) => (status === undefined ? [] : [[status.version, node]])))
  if (versions.length <= 1) return { id: 'versions', status: 'ok', found: versions[0]?.value ?? 'none known' }
  return {
    id: 'versions',
    status: 'warn',
    found: describeGroups(versions),
    next: 'upgrade the standbys first, then switch over and upgrade the old primary',
  }
}

function settingsCheck({ nodes }: ClusterPicture): Check {
  const settings = groups(
    nodes.flatMap(({ node, status }) =>
      (status?.shards ?? []).map((shard): [string, string] => [
        `${shard.shard}: ${Object.entries(shard.settings)
          .map(([key, value]) => `${key} ${value}`)
          .join(', ')}`,
        node,
      ]),
    ),
  )
  const shards = new Set(nodes.flatMap(({ status }) => status?.shards.map(({ shard }) => shard) ?? []))
  if (settings.length <= shards.size) {
    return { id: 'settings', status: 'ok', found: settings.map(({ value }) => value).join('; ') || 'none known' }
  }
  return {
    id: 'settings',
    status: 'fail',
    found: describeGroups(settings),
    next: 'configure all nodes as the shard was created, and restart those that differ',
  }
}

function coordinatorChecks({ nodes, shards }: ClusterPicture, endpoints: readonly EndpointFact[]): Check[] {
  const id = 'coordinator'
  if (shards.every((shard) => shard.coordinator?.kind !== 'automatic')) {
    return [
      {
        id,
        status: 'warn',
        found: 'static: nobody takes over by itself, a person promotes',
        next: 'understudy promote --url URL when the primary is gone',
      },
    ]
  }
  const lost = nodes.flatMap(({ node, status }) =>
    (status?.shards ?? []).flatMap(({ coordinator }) =>
      coordinator.connected ? [] : [`${node}: ${coordinator.lastError ?? 'not connected'}`],
    ),
  )
  const slow = endpoints.filter((one) => one.connectMs === undefined || one.connectMs > doctorBounds.endpointWarnMs)
  const seen = endpoints
    .map(({ endpoint, connectMs, error }) => `${endpoint} ${connectMs === undefined ? error : formatMs(connectMs)}`)
    .join(', ')
  const from = seen === '' ? '' : `; a connection from this machine takes: ${seen}`
  if (lost.length > 0) {
    return [
      { id, status: 'fail', found: `${lost.join('; ')}${from}`, next: 'start the coordinator, check its address' },
    ]
  }
  if (slow.length > 0) {
    return [{ id, status: 'warn', found: `all nodes are connected${from}`, next: "look at the coordinator's machines" }]
  }
  return [{ id, status: 'ok', found: `all nodes are connected${from}` }]
}

function retentionCheck({ nodes }: ClusterPicture, slotRetainBytes: number): Check {
  const slots = nodes.flatMap(({ node, status }) =>
    (status?.shards ?? []).flatMap((shard: ShardStatus) => shard.slots.map((slot) => ({ node, ...slot }))),
  )
  const largest = slots.sort((a, b) => b.retainedBytes - a.retainedBytes)[0]
  if (largest === undefined) return { id: 'retention', status: 'ok', found: 'no slot holds journal back' }
  const found = `${largest.node} keeps ${formatBytes(largest.retainedBytes)} of journal for ${largest.name}, of ${formatBytes(slotRetainBytes)} at most`
  if (largest.retainedBytes * 2 < slotRetainBytes) return { id: 'retention', status: 'ok', found }
  return {
    id: 'retention',
    status: 'warn',
    found: `${found}: beyond it that standby is built anew`,
    next: 'bring the standby back, or raise slotRetainBytes if the disk has room',
  }
}

function clockCheck(nodes: readonly NodeMeasures[]): Check {
  const offsets = nodes.flatMap(({ node, clockOffsetMs }) =>
    clockOffsetMs === undefined ? [] : [{ node, clockOffsetMs }],
  )
  const note = 'the protocol does not need clocks to agree: no promise and no order rests on them; logs and status do'
  if (offsets.length === 0) return { id: 'clock', status: 'unknown', found: `no node told its time; ${note}` }
  const values = offsets.map((one) => one.clockOffsetMs)
  const spread = Math.max(...values) - Math.min(...values)
  const found = `clocks of the nodes differ by ${spread < 1000 ? 'less than 1 s' : formatMs(spread)}; ${note}`
  if (spread <= doctorBounds.clockWarnMs) return { id: 'clock', status: 'ok', found }
  return { id: 'clock', status: 'warn', found, next: 'synchronise the clocks (chrony, systemd-timesyncd)' }
}

function flushCheck(nodes: readonly NodeMeasures[]): Check {
  const known = nodes.flatMap(({ node, flushMs }) => (flushMs === undefined ? [] : [{ node, flushMs }]))
  if (known.length === 0) return { id: 'flush', status: 'unknown', found: 'no node has flushed its journal yet' }
  const found = `mean flush of the journal since the start: ${known.map((one) => `${one.node} ${precise(one.flushMs)}`).join(', ')}`
  const slow = known.filter((one) => one.flushMs > doctorBounds.flushWarnMs).map(({ node }) => node)
  if (slow.length === 0) return { id: 'flush', status: 'ok', found }
  return {
    id: 'flush',
    status: 'warn',
    found,
    next: `look at the disk of ${slow.join(', ')}: every write waits for it`,
  }
}

function warningsCheck({ warnings }: ClusterPicture): Check {
  if (warnings.length === 0) return { id: 'warnings', status: 'ok', found: 'no node has a warning' }
  return { id: 'warnings', status: 'warn', found: warnings.join('\n'), next: 'understudy status' }
}

function certificateCheck({ certificates, nowMs }: DoctorFacts): Check {
  const id = 'certificates'
  const first = [...certificates].sort((a, b) => a.validToMs - b.validToMs)[0]
  if (first === undefined) return { id, status: 'ok', found: 'none in use' }
  const days = Math.floor((first.validToMs - nowMs) / (24 * 3600_000))
  const until = new Date(first.validToMs).toISOString().slice(0, 10)
  if (first.validToMs < nowMs) {
    return {
      id,
      status: 'fail',
      found: `${first.where} ended on ${until}`,
      next: 'replace the file: a node reads it anew without a restart',
    }
  }
  const found = `${first.where} is valid until ${until}, for ${plural(days, 'day')}`
  if (first.validToMs - nowMs > doctorBounds.certificateWarnMs) return { id, status: 'ok', found }
  return { id, status: 'warn', found, next: 'replace the file: a node reads it anew without a restart' }
}

function localChecks({ directory, fsyncMs, freeBytes, totalBytes }: LocalFacts): Check[] {
  const free = `${formatBytes(freeBytes)} of ${formatBytes(totalBytes)} are free below ${directory}`
  const space: Check =
    freeBytes < doctorBounds.freeFailBytes
      ? { id: 'disk-space', status: 'fail', found: free, next: 'free some, or move the data to a larger disk' }
      : freeBytes < totalBytes * doctorBounds.freeWarnRatio
        ? { id: 'disk-space', status: 'warn', found: free, next: 'free some before the disk is full: then writes stop' }
        : { id: 'disk-space', status: 'ok', found: free }
  if (fsyncMs === undefined) return [space]
  const { p50, p99 } = fsyncMs
  const found = `4 KiB and fdatasync: half of them within ${precise(p50)}, 99 of 100 within ${precise(p99)}`
  const status = p99 > doctorBounds.fsyncP99FailMs ? 'fail' : p99 > doctorBounds.fsyncP99WarnMs ? 'warn' : 'ok'
  const next = { next: 'another disk, or less that writes to this one: every commit waits for it' }
  return [space, { id: 'disk-sync', status, found, ...(status === 'ok' ? {} : next) }]
}

function openFilesCheck({ nodes, local }: DoctorFacts): Check {
  const id = 'open-files'
  const of = nodes.flatMap(({ node, openFiles, openFilesMax }) =>
    openFilesMax === undefined ? [] : [{ node, used: openFiles, max: openFilesMax }],
  )
  if (local?.openFilesMax !== undefined) of.push({ node: 'this shell', used: undefined, max: local.openFilesMax })
  if (of.length === 0) {
    return { id, status: 'unknown', found: 'no limit is known', next: "run it with --data on the node's machine" }
  }
  const found = of.map(({ node, used, max }) => `${node} ${used === undefined ? '' : `${used} of `}${max}`).join(', ')
  const low = of.filter(({ used, max }) => max < doctorBounds.openFilesMin || (used !== undefined && used * 2 > max))
  if (low.length === 0) return { id, status: 'ok', found }
  return {
    id,
    status: 'warn',
    found: `${found}; ${doctorBounds.openFilesMin} are advised`,
    next: 'raise it: LimitNOFILE= of the systemd unit, or ulimit -n',
  }
}

interface Group {
  readonly value: string
  readonly nodes: readonly string[]
}

function groups(pairs: ReadonlyArray<readonly string[]>): Group[] {
  const found = new Map<string, string[]>()
  for (const [value = '', node = ''] of pairs) found.set(value, [...(found.get(value) ?? []), node])
  return [...found].map(([value, nodes]) => ({ value, nodes }))
}

function describeGroups(found: readonly Group[]): string {
  return found.map(({ value, nodes }) => `${nodes.join(', ')}: ${value}`).join('; ')
}

function precise(ms: number): string {
  return ms < 10 ? `${ms.toFixed(2)} ms` : formatMs(ms)
}

/** What a node keeps for a slot at most, where its configuration is not known here. */
export const slotRetainBytesDefault = limits.slotRetainBytesMax
