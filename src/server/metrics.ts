import { Counter, Gauge, Registry } from 'prom-client'
import type { AccessStatus } from '../ports/access.js'
import type { VoterStatus } from '../ports/voter.js'
import type { NodeHandle, ShardMetrics } from '../runtime/handle.js'
import { describeHistograms } from './metrics-histograms.js'

const roles = ['primary', 'standby', 'joining', 'fenced', 'failed'] as const
const sequenceStates = ['appended', 'durable', 'committed', 'applied'] as const

export interface Metrics {
  readonly contentType: string
  /** What is true now, in the exposition format of Prometheus. */
  collect(node: NodeHandle, access?: AccessStatus): Promise<string>
}

/** A registry of its own for each server: two nodes in one process never share a number. */
export function createMetrics(): Metrics {
  const registry = new Registry()
  const registers = [registry]
  const gauge = (name: string, help: string, ...labels: string[]): Gauge =>
    new Gauge({ name: `understudy_${name}`, help, labelNames: ['shard', ...labels], registers })
  const counter = (name: string, help: string, ...labels: string[]): Counter =>
    new Counter({ name: `understudy_${name}`, help, labelNames: ['shard', ...labels], registers })

  const gauges = {
    role: gauge('role', '1 for the role that this node has for the shard, 0 for the others', 'role'),
    epoch: gauge('epoch', 'Number of the epoch'),
    sequence: gauge('sequence', 'Sequence up to which entries are in this state here', 'state'),
    lag: gauge('lag_seconds', 'How old the data of this node may be; absent while that is not known'),
    lagEntries: gauge('standby_lag_entries', 'Entries that a standby is behind its primary', 'standby'),
    lagBytes: gauge('standby_lag_bytes', 'Journal bytes that a standby is behind its primary', 'standby'),
    lagSeconds: gauge('standby_lag_seconds', 'Time that a standby is behind its primary', 'standby'),
    inSync: gauge('in_sync', '1 for each node of the in-sync set, 0 for known standbys outside of it', 'standby'),
    connected: gauge('coordinator_connected', '1 if this node reaches the coordinator; always 1 with static'),
    canFailOver: gauge('can_fail_over', '1 if a standby could take over now, as far as this node knows; see status'),
    journalBytes: gauge('journal_bytes', 'Bytes of the journal on disk'),
    expected: gauge('bootstrap_bytes_expected', 'Estimated bytes of the bootstrap that is under way'),
    slots: gauge('slots_bytes', 'Journal bytes that a slot holds back', 'slot'),
    divergentFiles: gauge('divergent_files', 'Side files of entries that another history does not have'),
    warnings: gauge('warnings', 'Things that an operator should know now; see status'),
  }
  const build = new Gauge({
    name: 'understudy_build_info',
    help: 'Always 1: who this is and what it runs',
    labelNames: ['version', 'cluster', 'node', 'engine'],
    registers,
  })
  const ofVoter = {
    up: new Gauge({
      name: 'understudy_voter_up',
      help: '1 while the voter that this node hosts answers; absent where it hosts none',
      registers,
    }),
    members: new Gauge({ name: 'understudy_voter_members', help: 'Members registered with the voter', registers }),
    sessions: new Gauge({ name: 'understudy_voter_sessions', help: 'Nodes connected to the voter', registers }),
    journalBytes: new Gauge({ name: 'understudy_voter_journal_bytes', help: 'Bytes of its journal', registers }),
    revision: gauge('voter_revision', 'Revision of the record that the voter holds for the shard'),
  }
  const ofAccess = {
    expiry: new Gauge({
      name: 'understudy_certificate_expiry_timestamp_seconds',
      help: 'When the certificate of this node expires, in seconds since 1970; absent without TLS',
      registers,
    }),
    problem: new Gauge({
      name: 'understudy_access_problem',
      help: '1 while files with credentials or certificates are not taken as they are now; see status',
      registers,
    }),
  }
  const setAccess = (access: AccessStatus | undefined): void => {
    for (const one of Object.values(ofAccess)) one.remove()
    if (access === undefined) return
    ofAccess.problem.set(access.problem === undefined ? 0 : 1)
    if (access.tls !== undefined) ofAccess.expiry.set(Date.parse(access.tls.certificateExpiresAt) / 1000)
  }
  const setVoter = (voter: VoterStatus): void => {
    ofVoter.up.set(voter.state === 'serving' ? 1 : 0)
    ofVoter.members.set(voter.members.length)
    ofVoter.sessions.set(voter.sessions)
    ofVoter.journalBytes.set(voter.journal.bytes)
    for (const { shard, revision } of voter.records) ofVoter.revision.set({ shard }, revision)
  }
  const counters = {
    reconnects: counter('reconnects_total', 'Sessions that had to be opened again'),
    checksumFailures: counter('checksum_failures_total', 'Blocks or chunks whose checksum did not match'),
    gaps: counter('gaps_total', 'Blocks that did not follow the one before'),
    fenced: counter('fenced_total', 'Times that this node was fenced'),
    failovers: counter('failovers_total', 'Times that this node took over because the primary was gone'),
    inSyncChanges: counter('in_sync_changes_total', 'Changes of the in-sync set while this node was primary'),
    coordinatorErrors: counter('coordinator_errors_total', 'Requests to the coordinator that failed'),
    bootstrapBytes: counter('bootstrap_bytes_total', 'Bytes received by bootstraps'),
    bootstrapRestarts: counter('bootstrap_restarts_total', 'Bootstraps that began again on a wiped directory'),
    rewoundEntries: counter('rewound_entries_total', 'Entries undone because another history took their place'),
  }
  const transitions = counter('state_transitions_total', 'Transitions of the lifecycle', 'from', 'to')
  const setShard = (metrics: ShardMetrics): void => {
    const { shard, status } = metrics
    for (const role of roles) gauges.role.set({ shard, role }, status.role === role ? 1 : 0)
    gauges.epoch.set({ shard }, status.epoch?.number ?? 0)
    for (const state of sequenceStates) gauges.sequence.set({ shard, state }, status.sequence[state])
    if (status.lagMs !== undefined) gauges.lag.set({ shard }, status.lagMs / 1000)
    for (const follower of status.followers) {
      const labels = { shard, standby: follower.node }
      gauges.lagEntries.set(labels, follower.lagEntries)
      gauges.lagBytes.set(labels, follower.lagBytes)
      gauges.lagSeconds.set(labels, follower.lagMs / 1000)
      gauges.inSync.set(labels, 0)
    }
    for (const standby of status.inSync) gauges.inSync.set({ shard, standby }, 1)
    gauges.connected.set({ shard }, status.coordinator.connected ? 1 : 0)
    gauges.canFailOver.set({ shard }, status.failover.possible ? 1 : 0)
    gauges.journalBytes.set({ shard }, status.journal.bytes)
    if (status.bootstrap?.bytesExpected !== undefined) {
      gauges.expected.set({ shard }, status.bootstrap.bytesExpected)
    }
    for (const slot of status.slots) gauges.slots.set({ shard, slot: slot.name }, slot.retainedBytes)
    gauges.divergentFiles.set({ shard }, status.divergentFiles.length)
    gauges.warnings.set({ shard }, status.warnings.length)

    for (const name of Object.keys(counters) as Array<keyof typeof counters>) {
      counters[name].inc({ shard }, metrics.counters[name])
    }
    for (const [key, count] of metrics.counters.transitions) {
      const [from = key, to = ''] = key.split('>')
      transitions.inc({ shard, from, to }, count)
    }
  }

  return {
    contentType: registry.contentType,
    async collect(node, access) {
      // The node keeps the totals: they are set anew each time, so that nothing of a standby that left remains.
      for (const one of Object.values(gauges)) one.reset()
      for (const one of [...Object.values(counters), transitions]) one.reset()
      build.reset()
      const { version, cluster, engine } = node.status()
      build.set({ version, cluster, node: node.name, engine }, 1)
      const { shards, voter } = node.metrics()
      for (const shard of shards) setShard(shard)
      // A gauge without labels shows 0 when nobody has set it: of a voter that is not here nothing is shown.
      for (const one of [ofVoter.up, ofVoter.members, ofVoter.sessions, ofVoter.journalBytes]) one.remove()
      ofVoter.revision.reset()
      if (voter !== undefined) setVoter(voter)
      setAccess(access)
      return `${await registry.metrics()}\n${describeHistograms(shards)}`
    },
  }
}
