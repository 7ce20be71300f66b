import type { LifecycleState } from './lifecycle.js'
import { compareEpochs, epochZero, type Position } from './position.js'
import { hasMember, type Member, type ShardRecord } from './record.js'

export type JournalEnd = Pick<Position, 'epoch' | 'sequence'>

/** What is known here of a node that is not the primary. */
export interface FailoverCandidate {
  readonly member: Member
  /** It answers, follows, or is the node that is asked. */
  readonly reachable: boolean
  /** Undefined: not known; a node that follows need not have told it. */
  readonly state: LifecycleState | undefined
  /** Up to where its journal is durable, as far as it has told. */
  readonly durable: JournalEnd | undefined
}

/** Who keeps the record, and whether it can be asked from here. */
export type CoordinatorReach =
  | { readonly kind: 'static' }
  | { readonly kind: 'connected' }
  | { readonly kind: 'disconnected'; readonly error: string | undefined }

export interface FailoverQuestion {
  /** The node that is asked. */
  readonly self: string
  readonly coordinator: CoordinatorReach
  readonly record: ShardRecord | undefined
  /** The set that is certain: members of the set in force that no change under way would remove. */
  readonly inSync: readonly Member[]
  readonly primaryAnswers: boolean
  /** Every known node but the primary, this one included if it is a standby. */
  readonly others: readonly FailoverCandidate[]
  /** Committed sequence as far as it is known here. */
  readonly committed: number
  /** Nodes that keep the coordinator's records themselves, if nodes do: losing the primary must leave a majority. */
  readonly voters: readonly CoordinatorVoter[]
}

export interface CoordinatorVoter {
  readonly node: string
  readonly reachable: boolean
}

export interface FailoverAnswer {
  readonly possible: boolean
  readonly reason: string
  readonly to: string | undefined
}

/** States in which a node does not take over by itself: it has no whole data, or somebody must decide first. */
const unfitStates: ReadonlySet<LifecycleState> = new Set<LifecycleState>([
  'bootstrapping',
  'fenced',
  'failed',
  'stopped',
])

/**
 * "Can we fail over now?", answered with what one node knows. It takes over nothing and proves nothing: the takeover
 * itself reads the record anew. A yes says as well whether writes would go on with what is left of the set.
 */
export function judgeFailover(question: FailoverQuestion): FailoverAnswer {
  const { record, coordinator, self } = question
  if (coordinator.kind === 'static') return no('with the static coordinator a person promotes')
  if (record === undefined) return no('the shard was not created yet')
  if (coordinator.kind === 'disconnected') {
    const why = coordinator.error === undefined ? '' : ` (${coordinator.error})`
    return no(`the coordinator cannot be reached from ${self}${why}, and nobody takes over without it`)
  }
  const primary = record.primary.node
  const majority = majorityWithout(primary, question.voters)
  if (majority !== undefined) return no(majority)
  const members = question.inSync.filter((member) => member.node !== primary)
  if (members.length === 0) {
    return no(`no other node than ${primary} is in the in-sync set: nobody else is certain to hold everything`)
  }
  const fit: FailoverCandidate[] = []
  const obstacles: string[] = []
  for (const member of members) {
    const candidate = question.others.find((other) => other.member.node === member.node)
    const obstacle = obstacleOf(member, candidate, record)
    if (obstacle !== undefined) obstacles.push(obstacle)
    else fit.push(candidate!)
  }
  if (fit.length === 0) return no(obstacles.join('; '))
  fit.sort(inTurn)
  const first = fit[0]!
  const parts = [question.primaryAnswers ? canTakeOver(first, question) : takesOver(first, primary)]
  const stop = writesWouldWait(question, fit)
  if (stop !== undefined) parts.push(stop)
  return { possible: true, reason: parts.join('; '), to: first.member.node }
}

/** The longest journal goes first, as in a takeover. */
function inTurn(a: FailoverCandidate, b: FailoverCandidate): number {
  const none: JournalEnd = { epoch: epochZero, sequence: 0 }
  const [left, right] = [a.durable ?? none, b.durable ?? none]
  return (
    compareEpochs(right.epoch, left.epoch) || right.sequence - left.sequence || (a.member.node < b.member.node ? -1 : 1)
  )
}

function no(reason: string): FailoverAnswer {
  return { possible: false, reason, to: undefined }
}

function majorityWithout(primary: string, voters: readonly CoordinatorVoter[]): string | undefined {
  if (!voters.some((voter) => voter.node === primary)) return undefined
  const needed = Math.floor(voters.length / 2) + 1
  const left = voters.filter((voter) => voter.node !== primary && voter.reachable).length
  if (left >= needed) return undefined
  const names = voters.map((voter) => voter.node).join(', ')
  return `without ${primary} the coordinator has ${left} of at least ${needed} voters (${names}), and nobody takes over without it`
}

function obstacleOf(member: Member, candidate: FailoverCandidate | undefined, record: ShardRecord): string | undefined {
  const { node } = member
  if (candidate === undefined || !candidate.reachable) return `${node} does not answer`
  // Another directory under the same name is another member (S2).
  if (!hasMember([candidate.member], member)) return `${node} was built anew and is not in the in-sync set yet`
  if (candidate.state !== undefined && unfitStates.has(candidate.state)) return `${node} is ${candidate.state}`
  if (candidate.durable !== undefined && candidate.durable.sequence < record.floor.sequence) {
    return `${node} ends at ${candidate.durable.sequence}, below ${record.floor.sequence}, which is committed`
  }
  return undefined
}

function canTakeOver({ member: { node }, durable }: FailoverCandidate, question: FailoverQuestion): string {
  if (question.record!.settings.durability === 'standby') return `${node} holds everything and can take over`
  const behind = durable === undefined ? undefined : Math.max(0, question.committed - durable.sequence)
  if (behind === undefined) return `${node} can take over, without what it has not received (durability local)`
  return behind === 0
    ? `${node} can take over and has everything of this moment (durability local: what it has not received then is lost)`
    : `${node} can take over, without ${entries(behind)} that it has not received (durability local)`
}

function takesOver({ member: { node } }: FailoverCandidate, primary: string): string {
  return `${primary} does not answer, and ${node} can take over`
}

/** Commits need `inSyncMin` members after the takeover too; those that do not answer do not count. */
function writesWouldWait(question: FailoverQuestion, fit: readonly FailoverCandidate[]): string | undefined {
  const { inSyncMin, durability } = question.record!.settings
  if (durability === 'local' || fit.length >= inSyncMin) return undefined
  const spare = question.others
    .filter(({ member, reachable, state }) => {
      const isFit = fit.some((one) => one.member.node === member.node)
      return !isFit && reachable && (state === undefined || !unfitStates.has(state))
    })
    .map(({ member }) => member.node)
  const until = spare.length === 0 ? 'until another node is back' : `until ${spare.join(' or ')} has joined the set`
  return `writes would then wait ${until} (${fit.length} of at least ${inSyncMin} would be left)`
}

export interface Outsider {
  readonly node: string
  readonly reachable: boolean
  readonly follows: boolean
  readonly state: LifecycleState | undefined
  readonly lagEntries: number | undefined
  /** Why it left the set, if that was seen here. */
  readonly left: { readonly at: string; readonly reason: string } | undefined
}

/** What the primary says of its set when a coordinator keeps it: worst first, empty when all is well. */
export function warnOfInSyncSet(
  record: ShardRecord,
  inSync: readonly Member[],
  outsiders: readonly Outsider[],
): readonly string[] {
  const { durability, inSyncMin } = record.settings
  const warnings: string[] = []
  // A set of one is said elsewhere, and below the minimum nothing commits, which is said too.
  if (durability === 'standby' && inSync.length === inSyncMin && inSync.length > 1) {
    const names = inSync.map((member) => member.node).join(', ')
    warnings.push(`the in-sync set is at its minimum (${names}): if one of them is lost, writes wait for another node`)
  }
  for (const outsider of outsiders) {
    const left = outsider.left === undefined ? '' : ` (left at ${outsider.left.at}: ${outsider.left.reason})`
    warnings.push(`${outsider.node} is not in the in-sync set: ${whyOutside(outsider)}${left}`)
  }
  return warnings
}

function whyOutside({ reachable, follows, state, lagEntries }: Outsider): string {
  if (follows) {
    if (lagEntries === undefined || lagEntries === 0) return 'it follows and joins when it has caught up'
    return `it is ${entries(lagEntries)} behind`
  }
  if (!reachable) return 'it does not answer'
  return state === undefined ? 'it does not follow' : `it is ${state}`
}

function entries(count: number): string {
  return `${count} ${count === 1 ? 'entry' : 'entries'}`
}
