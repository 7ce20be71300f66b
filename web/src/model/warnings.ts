import type { ClusterView, NodeView } from './cluster-view.js'
import { formatAge, listOf, sentence, withLocalTimes } from './format.js'

export interface Warning {
  /** The same as long as it is the same trouble: what is read aloud once is not read again. */
  readonly id: string
  readonly tone: 'bad' | 'warn' | 'busy'
  readonly text: string
  /** The next step, where there is one. */
  readonly action: string | undefined
}

/** What a node says while writes or reads wait, or data may be gone; the rest is a matter of care. */
const isGrave = /^failed: |may have (?:been )?lost|^no read lease|^writes in epoch .* wait for|: writes wait until/

/** A standby that is further behind is worth a line. */
const lagWarnMs = 1_000

/** Worst first. */
export function warningsOf(view: ClusterView): readonly Warning[] {
  const warnings = [...ofPrimaries(view), ...ofCoordinator(view), ...ofSet(view)]
  for (const node of view.nodes) warnings.push(...ofNode(node, view))
  const said = new Map<string, string[]>()
  for (const { node, shard } of view.shards) {
    for (const text of shard.warnings) {
      if (!isSaidAlready(text, view)) said.set(text, [...(said.get(text) ?? []), node])
    }
  }
  for (const [text, nodes] of said) {
    const tone = isGrave.test(text) ? 'bad' : 'warn'
    const local = withLocalTimes(text, view.atMs)
    const who = nodes.length === view.shards.length && nodes.length > 1 ? '' : `${listOf(nodes)}: `
    warnings.push({
      id: `said ${text.replace(/[\d.:TZ-]+/g, '#')}`,
      tone,
      text: sentence(who + local),
      action: undefined,
    })
  }
  const order = { bad: 0, warn: 1, busy: 2 }
  return warnings.sort((a, b) => order[a.tone] - order[b.tone])
}

function ofPrimaries(view: ClusterView): Warning[] {
  const primaries = view.nodes.filter(({ role, answers }) => role === 'primary' && answers)
  if (primaries.length > 1) {
    const names = primaries.map(({ node, epoch }) => `${node} (epoch ${epoch})`)
    return [
      {
        id: 'primaries',
        tone: 'bad',
        text: `${listOf(names)} both believe to be primary. Only the one of the highest epoch commits.`,
        action: 'Look at the network between them; the lower one steps back as soon as it hears of the other.',
      },
    ]
  }
  if (view.primary !== undefined || view.isWitness) return []
  const action =
    view.failover?.possible === true
      ? `${view.failover.to} takes over by itself, in about ${((view.failoverMs ?? 0) / 1000).toFixed(1)} s from when the primary was lost.`
      : view.coordinator.kind === 'static'
        ? 'Promote a standby: understudy promote --url URL'
        : 'Bring a node of the in-sync set back, or the coordinator if it is away.'
  return [{ id: 'no-primary', tone: 'bad', text: 'There is no primary: writes wait.', action }]
}

function ofCoordinator({ coordinator, atMs }: ClusterView): Warning[] {
  const { since, error } = coordinator
  const unreachableFrom = [...coordinator.unreachableFrom].sort()
  if (unreachableFrom.length === 0) return []
  const when = since === undefined ? '' : ` for ${formatAge(atMs - Date.parse(since))}`
  const why = error === undefined ? '' : ` (${error})`
  return [
    {
      id: `coordinator ${unreachableFrom.join()}`,
      tone: 'bad',
      text: `The coordinator cannot be reached from ${listOf(unreachableFrom)}${when}${why}.`,
      action:
        'Nobody takes over and the in-sync set cannot change until it is back. Writes go on while the whole set answers.',
    },
  ]
}

function ofSet({ inSync, inSyncMin, durability, primary, nodes }: ClusterView): Warning[] {
  if (durability !== 'standby' || inSyncMin === undefined || inSync.length === 0) return []
  if (inSync.length < inSyncMin) {
    const text = `Not enough nodes in sync: ${inSync.length} of at least ${inSyncMin}. Writes wait.`
    return [{ id: 'set-small', tone: 'bad', text, action: 'Bring a standby back; it joins when it has caught up.' }]
  }
  const silent = inSync.filter((name) => nodes.find(({ node }) => node === name)?.reachable === false)
  if (silent.length === 0 || primary === undefined || inSync.length - silent.length >= inSyncMin) return []
  const text = `Writes wait for ${listOf(silent)}: without ${silent.length === 1 ? 'it' : 'them'} fewer than ${inSyncMin} nodes hold them.`
  return [{ id: `set-waits ${silent.join()}`, tone: 'bad', text, action: 'Bring it back, or start another standby.' }]
}

function ofNode(node: NodeView, view: ClusterView): Warning[] {
  const { node: name, state, reason, bootstrap } = node
  if (!node.reachable) {
    const seen = node.lastSeenMs === undefined ? '' : ` Last seen ${formatAge(node.lastSeenMs)} ago.`
    const text = `${name} does not answer (${node.error}).${seen}`
    const action = node.inSync
      ? 'Start it again. Until then it is taken out of the in-sync set if enough others are left.'
      : 'Start it again: it catches up and joins the in-sync set by itself.'
    return [{ id: `reach ${name}`, tone: 'bad', text, action }]
  }
  if (state === 'failed' || state === 'fenced') {
    const action =
      state === 'failed'
        ? `Read the log of ${name}, mend the cause and start it again; with damaged data it is built anew from another node.`
        : 'Somebody must decide first: the reason says what.'
    return [
      {
        id: `${state} ${name}`,
        tone: 'bad',
        text: sentence(`${name} is ${state}: ${reason ?? 'no reason known'}`),
        action,
      },
    ]
  }
  if (bootstrap !== undefined) {
    const parts = [
      bootstrap.share === undefined ? bootstrap.phase : `${Math.floor(bootstrap.share * 100)} %`,
      ...(bootstrap.left === '' ? [] : [bootstrap.left]),
    ]
    const from = bootstrap.source === undefined ? '' : ` from ${bootstrap.source}`
    const text = `${name} is being built${from}: ${parts.join(', ')}.`
    return [{ id: `bootstrap ${name}`, tone: 'busy', text, action: `Until it is done ${name} cannot take over.` }]
  }
  const { ms } = node.lag
  if (state === 'streaming' && ms !== undefined && ms >= lagWarnMs) {
    const text = `${name} is ${node.lagFigures}.`
    const action =
      'It leaves the in-sync set if it stays behind. Look at its disk, its processor and the network to it.'
    return [{ id: `lag ${name}`, tone: 'warn', text, action }]
  }
  if (state !== undefined && state !== 'primary' && state !== 'streaming') {
    const text = sentence(`${name} is ${state}${reason === undefined ? '' : `: ${withLocalTimes(reason, view.atMs)}`}`)
    return [{ id: `state ${name}`, tone: state === 'catching-up' ? 'busy' : 'warn', text, action: undefined }]
  }
  return []
}

/** What the page says better itself, with what to do. */
function isSaidAlready(text: string, { nodes, coordinator }: ClusterView): boolean {
  if (text.startsWith('the coordinator cannot be reached')) return coordinator.unreachableFrom.length > 0
  if (text.startsWith('failed: ')) return nodes.some(({ state }) => state === 'failed')
  const outside = /^(\S+) is not in the in-sync set: (.*)$/.exec(text)
  if (outside === null) return false
  const node = nodes.find((one) => one.node === outside[1])
  return node !== undefined && (!node.reachable || node.tone !== 'good')
}
