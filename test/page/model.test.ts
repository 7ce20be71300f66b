import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { LifecycleState } from '#src/core/lifecycle.js'
import type { BootstrapStatus, FollowerStatus, MemberStatus, NodeStatus } from '#src/runtime/handle.js'
import type { LivePicture, PeerAnswer, PictureSample, TimelineEvent } from '#src/server/live-picture.js'
import { takeSample } from '#src/server/picture-sample.js'
import { type ClusterView, viewCluster } from '../../web/src/model/cluster-view.js'
import { EventStreamParser } from '../../web/src/model/event-stream.js'
import { formatAge, formatBytes, formatMs, formatShort, listOf, withLocalTimes } from '../../web/src/model/format.js'
import { freshnessOf } from '../../web/src/model/freshness.js'
import { lags, latencies, mergeSamples, nodesOf, positions, summarise } from '../../web/src/model/plot-data.js'
import { mergeEvents } from '../../web/src/model/timeline-view.js'
import { judge, judgePast } from '../../web/src/model/verdict.js'
import { warningsOf } from '../../web/src/model/warnings.js'
import { FakeNode } from '../support/fake-node.js'

const atMs = Date.parse('2026-01-01T00:10:00.000Z')

interface Scene {
  readonly states?: Readonly<Record<string, LifecycleState>>
  readonly inSync?: readonly string[]
  /** Nodes that do not answer. */
  readonly away?: readonly string[]
  readonly change?: (node: FakeNode, name: string) => void
  readonly serving?: string
}

/** Nodes a, b and c as JSON brings them to the page; a is primary unless the scene says something else. */
function pictureOf(scene: Scene = {}): LivePicture {
  const { away = [], inSync = ['a', 'b', 'c'], serving = 'a' } = scene
  const states: Record<string, LifecycleState> = { a: 'primary', b: 'streaming', c: 'streaming', ...scene.states }
  const names = Object.keys(states)
  const statuses = new Map<string, NodeStatus>()
  for (const name of names) {
    const node = new FakeNode(name)
    node.main.state = states[name]!
    node.main.epoch = { number: 1, node: 'a' }
    node.main.sequence = 100
    node.main.inSync = [...inSync]
    node.main.failover = { possible: true, reason: 'b holds everything and can take over', to: 'b' }
    if (name === 'a') node.main.followers = names.filter((other) => other !== 'a').map((other) => follower(other))
    node.members = names.filter((other) => other !== name).map((other) => member(other, states[other]!, away))
    scene.change?.(node, name)
    statuses.set(name, JSON.parse(JSON.stringify(node.status())) as NodeStatus)
  }
  const self = statuses.get(serving)!
  const peers = names
    .filter((name) => name !== serving)
    .map(
      (node): PeerAnswer =>
        away.includes(node)
          ? { node, address: `${node}.test:1`, error: 'nothing listens there' }
          : { node, address: `${node}.test:1`, status: statuses.get(node)! },
    )
  return { atMs, self, peers, sample: takeSample(atMs, self, peers), events: [] }
}

function member(node: string, state: LifecycleState, away: readonly string[]): MemberStatus {
  return {
    node,
    address: `${node}.test:1`,
    reachable: !away.includes(node),
    role: state === 'primary' ? 'primary' : 'standby',
    state,
    epoch: { number: 1, node: 'a' },
    durable: 90,
    applied: 90,
    inSync: true,
    lastSeenMs: away.includes(node) ? 61_000 : 20,
  }
}

function follower(node: string, changes: Partial<FollowerStatus> = {}): FollowerStatus {
  return {
    ...{ node, address: `${node}.test:1`, connected: true, inSync: true, state: 'streaming', since: '' },
    ...{ received: 100, durable: 100, applied: 100, lagEntries: 0, lagBytes: 0, lagMs: 0 },
    ...changes,
  } as FollowerStatus
}

function textsOf(view: ClusterView): string[] {
  return warningsOf(view).map(({ tone, text }) => `${tone}: ${text}`)
}

describe('the answer', () => {
  test('all is well: yes, because, and what becomes of writes; no warnings', () => {
    const view = viewCluster(pictureOf())
    const verdict = judge(view)
    assert.equal(verdict.title, 'Can fail over now: yes')
    assert.equal(verdict.tone, 'good')
    assert.equal(verdict.because, 'because b holds everything and can take over.')
    assert.equal(verdict.writes, 'a takes the writes; each is on a, b and c before it is acknowledged.')
    assert.deepEqual(textsOf(view), [])
  })

  test('a yes after which writes would wait is no calm yes', () => {
    const reason = 'b holds everything and can take over; writes would then wait until another node is back'
    const change = (node: FakeNode) => {
      node.main.failover = { possible: true, reason, to: 'b' }
    }
    const verdict = judge(viewCluster(pictureOf({ change })))
    assert.equal(verdict.tone, 'warn')
    assert.equal(
      verdict.because,
      'because b holds everything and can take over. But writes would then wait until another node is back.',
    )
  })

  test('no, with the reason; with the static coordinator that is no alarm', () => {
    const no = (kind: 'static' | 'automatic') => (node: FakeNode) => {
      node.main.failover = { possible: false, reason: 'b does not answer', to: undefined }
      node.main.coordinator = { ...node.main.coordinator, kind }
    }
    const automatic = judge(viewCluster(pictureOf({ change: no('automatic') })))
    assert.deepEqual([automatic.title, automatic.tone], ['Can fail over now: no', 'bad'])
    assert.equal(automatic.because, 'because b does not answer.')
    assert.equal(judge(viewCluster(pictureOf({ change: no('static') }))).tone, 'quiet')
  })

  test('the primary is believed; without one, a member of the set that sees a way', () => {
    const change = (node: FakeNode, name: string) => {
      if (name === 'b') node.main.failover = { possible: false, reason: 'b knows less', to: undefined }
    }
    assert.equal(viewCluster(pictureOf({ serving: 'b', change })).failover?.saidBy, 'a')
    const without = viewCluster(pictureOf({ serving: 'b', away: ['a'], states: { b: 'reconnecting' }, change }))
    assert.equal(without.failover?.saidBy, 'c')
    assert.match(judge(without).writes, /There is no primary: writes wait\./)
    assert.equal(judge(without).tone, 'warn')
  })

  test('a node that does not reach the coordinator takes over nothing, whoever names it', () => {
    const change = (away: readonly string[]) => (node: FakeNode, name: string) => {
      node.main.coordinator = { ...node.main.coordinator, connected: !away.includes(name) }
    }
    const other = viewCluster(pictureOf({ change: change(['b']) })).failover
    assert.deepEqual([other?.possible, other?.to], [true, 'c'])
    const none = viewCluster(pictureOf({ change: change(['b', 'c']) })).failover
    assert.equal(none?.possible, false)
  })

  test('an old answer is told as one', () => {
    const past = judgePast(judge(viewCluster(pictureOf())))
    assert.equal(past.title, 'Could fail over when last seen: yes')
    assert.equal(past.tone, 'quiet')
  })

  test('a witness knows that it does not know', () => {
    const node = new FakeNode('w')
    const voter = { voter: 'w', witness: true } as NonNullable<NodeStatus['voter']>
    const self = { ...node.status(), shards: [], members: [member('a', 'primary', [])], voter }
    const view = viewCluster({ atMs, self, peers: [], sample: takeSample(atMs, self, []), events: [] })
    assert.equal(judge(view).answer, 'unknown')
    assert.match(judge(view).because, /witness/)
    assert.deepEqual(
      view.nodes.map(({ node }) => node),
      ['a'],
    )
  })
})

describe('warnings', () => {
  test('a node that does not answer is said once, with when it was seen and what to do', () => {
    const change = (node: FakeNode, name: string) => {
      if (name === 'a') node.main.warnings = ['c is not in the in-sync set: it does not answer']
    }
    const view = viewCluster(pictureOf({ away: ['c'], inSync: ['a', 'b'], change }))
    const warnings = warningsOf(view)
    assert.deepEqual(textsOf(view), ['bad: c does not answer (nothing listens there). Last seen 1 min ago.'])
    assert.match(warnings[0]!.action ?? '', /Start it again/)
    const card = view.nodes.find(({ node }) => node === 'c')!
    assert.deepEqual([card.answers, card.tone, card.sequence.applied], [false, 'bad', 90])
  })

  test('worst first, whatever order they were found in', () => {
    const change = (node: FakeNode, name: string) => {
      if (name === 'b') node.main.coordinator = { ...node.main.coordinator, connected: false, lastError: 'timed out' }
      if (name === 'a') node.main.warnings = ['writes rest on one node only (a)']
      if (name === 'a') node.main.followers = [follower('b', { lagMs: 4_000, lagEntries: 12, lagBytes: 2048 })]
    }
    const view = viewCluster(pictureOf({ states: { c: 'bootstrapping' }, change }))
    assert.deepEqual(textsOf(view), [
      'bad: The coordinator cannot be reached from b for 10 min (timed out).',
      'warn: b is 12 entries · 2.0 KiB · 4.0 s behind.',
      'warn: a: writes rest on one node only (a).',
      'busy: c is being built: under way.',
    ])
  })

  test('not enough in sync, no primary, two primaries, failed and fenced nodes are bad', () => {
    const small = textsOf(viewCluster(pictureOf({ inSync: ['a'] })))
    assert.match(small[0]!, /^bad: Not enough nodes in sync: 1 of at least 2/)
    const none = textsOf(viewCluster(pictureOf({ serving: 'b', away: ['a'], states: { b: 'reconnecting' } })))
    assert.ok(none.includes('bad: There is no primary: writes wait.'))
    const change = (node: FakeNode, name: string) => {
      if (name === 'b') node.main.epoch = { number: 2, node: 'b' }
    }
    const two = textsOf(viewCluster(pictureOf({ states: { b: 'primary' }, change })))
    assert.match(two[0]!, /^bad: a \(epoch 1@a\) and b \(epoch 2@b\) both believe to be primary/)
    const failed = textsOf(viewCluster(pictureOf({ states: { b: 'failed', c: 'fenced' } })))
    assert.deepEqual(failed, ['bad: b is failed: it is failed.', 'bad: c is fenced: it is fenced.'])
  })

  test('what several nodes say is said once, in local time', () => {
    const change = (node: FakeNode) => {
      node.main.warnings = ['epoch 1@a (failover, 2026-01-01T00:09:00.000Z) may have lost 3 entries: x']
    }
    const texts = textsOf(viewCluster(pictureOf({ change })))
    assert.equal(texts.length, 1)
    assert.match(texts[0]!, /^bad: epoch 1@a \(failover, \d\d:\d\d:00\) may have lost 3 entries: x\.$/)
  })

  test('figures that move do not make another warning of it', () => {
    const bootstrap: BootstrapStatus = {
      ...{
        phase: 'transferring',
        method: 'range-chunks',
        source: 'a',
        position: 1,
        bytesDone: 25,
        bytesExpected: 100,
        entriesDone: 1,
      },
      ...{ bytesPerSecond: 5, secondsLeft: 15, resumedFrom: undefined, restarts: 0 },
      ...{ retryInMs: undefined, lastError: undefined },
    }
    const at = (bytesDone: number) =>
      viewCluster(
        pictureOf({
          states: { c: 'bootstrapping' },
          change: (node, name) => {
            if (name === 'c') node.main.bootstrap = { ...bootstrap, bytesDone }
          },
        }),
      )
    const [early, late] = [warningsOf(at(25)), warningsOf(at(50))]
    assert.equal(early[0]!.text, 'c is being built from a: 25 %, about 15 s left.')
    assert.equal(late[0]!.text, 'c is being built from a: 50 %, about 15 s left.')
    assert.equal(early[0]!.id, late[0]!.id)
    const progress = at(25).nodes[2]!.bootstrap!
    assert.deepEqual([progress.share, progress.amount, progress.rate], [0.25, '25 of 100 B', '5 B/s'])
    assert.equal(at(120).nodes[2]!.bootstrap!.share, undefined, 'more than was expected: nobody knows how much is left')
  })
})

describe('nodes', () => {
  test('a standby says how far it is behind, in words and figures; a little is up to date', () => {
    const lagOf = (changes: Partial<FollowerStatus>) => {
      const change = (node: FakeNode, name: string) => {
        if (name === 'a') node.main.followers = [follower('b', changes)]
      }
      const { lagText, lagFigures } = viewCluster(pictureOf({ change })).nodes[1]!
      return [lagText, lagFigures]
    }
    assert.deepEqual(lagOf({}), ['up to date', '0 entries · 0 B · 0 ms behind'])
    assert.deepEqual(lagOf({ lagEntries: 1, lagBytes: 90, lagMs: 12 }), ['up to date', '1 entry · 90 B · 12 ms behind'])
    assert.deepEqual(lagOf({ lagEntries: 5000, lagBytes: 1 << 20, lagMs: 2500 }), [
      '2.5 s behind',
      '5,000 entries · 1.0 MiB · 2.5 s behind',
    ])
  })

  test('what is not known is no zero: a node whose data are not open yet has no position', () => {
    const picture = pictureOf({ states: { c: 'connecting' } })
    const status = picture.peers[1]!.status!
    const empty = {
      ...status.shards[0]!,
      position: undefined,
      sequence: { appended: 0, durable: 0, committed: 0, applied: 0, checkpoint: 0 },
    }
    const peers = [picture.peers[0]!, { ...picture.peers[1]!, status: { ...status, shards: [empty] } }]
    const sample = takeSample(atMs, { ...picture.self, members: [] }, peers)
    assert.equal(sample.nodes.c!.applied, undefined)
    assert.equal(viewCluster({ ...picture, peers, sample }).nodes[2]!.sequence.applied, undefined)
  })

  test('served by a standby that nobody told anything, what it knows of the others is shown', () => {
    const picture = pictureOf({ serving: 'b', away: ['a', 'c'] })
    const sample = takeSample(atMs, picture.self, picture.peers)
    assert.deepEqual(sample.nodes.c, { applied: 90, lagEntries: 0 })
    assert.equal(viewCluster(picture).nodes.length, 3)
  })
})

describe('plots', () => {
  const sample = (atMs: number, applied: number, lagMs?: number): PictureSample => ({
    atMs,
    nodes: { a: { applied, lagMs: 0 }, b: { applied, ...(lagMs === undefined ? {} : { lagMs }) } },
    commits: { perSecond: 1, p50Ms: applied, p99Ms: applied * 2 },
  })

  test('a line ends where nothing was seen', () => {
    const samples = [sample(1000, 1, 5), sample(2000, 2), sample(60_000, 3, 7)]
    const nodes = nodesOf(samples)
    assert.deepEqual(nodes, ['a', 'b'])
    const data = lags(samples, nodes)
    assert.deepEqual(data.x, [1, 2, 2.001, 60])
    assert.deepEqual(data.series[1], { name: 'b', values: [5, null, null, 7] })
    assert.deepEqual(positions(samples, nodes).series[0]!.values, [1, 2, null, 3])
    assert.deepEqual(latencies(samples).series[1]!.values, [2, 4, null, 6])
  })

  test('the table holds now, least and most', () => {
    const samples = [sample(1000, 1, 9), sample(2000, 2, 3)]
    assert.deepEqual(summarise(lags(samples, ['b', 'x'])), [
      { name: 'b', last: 3, least: 3, most: 9 },
      { name: 'x', last: undefined, least: undefined, most: undefined },
    ])
  })

  test('after a reconnection the history of the node takes the place of what overlaps', () => {
    const kept = [sample(1000, 1), sample(2000, 2), sample(3000, 3)]
    const merged = mergeSamples(kept, [sample(2000, 20), sample(3000, 30)], 2)
    assert.deepEqual(
      merged.map(({ nodes }) => nodes.a!.applied),
      [20, 30],
    )
    assert.equal(mergeSamples(kept, [], 10).length, 3)
  })
})

describe('the stream', () => {
  test('events arrive in any pieces', () => {
    const text = 'event: history\r\ndata: {"a":\r\ndata: 1}\r\n\r\n: comment\n\nevent: picture\ndata: 2\n\n'
    for (let size = 1; size <= text.length; size++) {
      const parser = new EventStreamParser()
      const events = []
      for (let at = 0; at < text.length; at += size) events.push(...parser.push(text.slice(at, at + size)))
      assert.deepEqual(events, [
        { event: 'history', data: '{"a":\n1}' },
        { event: 'picture', data: '2' },
      ])
    }
  })

  test('an event that never ends is refused', () => {
    const parser = new EventStreamParser()
    assert.throws(() => {
      for (let i = 0; i < 10; i++) parser.push('x'.repeat(1024 * 1024))
    }, /too long/)
  })

  test('one change that is told again is shown once', () => {
    const event = (atMs: number, epoch?: string): TimelineEvent => ({
      ...{ atMs, kind: epoch === undefined ? 'state' : 'primary', node: 'a', text: `at ${atMs}` },
      ...(epoch === undefined ? {} : { epoch }),
    })
    const merged = mergeEvents([event(3), event(1, '1@a')], [event(3), event(2, '1@a'), event(9)], 10)
    assert.deepEqual(
      merged.map(({ atMs }) => atMs),
      [2, 3, 9],
    )
  })

  test('how old a picture is, is said as soon as the next one is missing', () => {
    assert.equal(freshnessOf({ kind: 'live' }, 'a', 900).isFresh, true)
    const old = freshnessOf({ kind: 'live' }, 'a', 12_000)
    assert.deepEqual([old.isFresh, old.label], [false, 'last seen 12 s ago'])
    assert.match(old.notice!, /^Node a, which serves this page, does not answer: last seen 12 s ago\./)
    assert.equal(freshnessOf({ kind: 'lost', message: 'x' }, 'a', 100).isFresh, false)
    assert.equal(freshnessOf({ kind: 'connecting' }, undefined, undefined).label, 'connecting')
    assert.match(freshnessOf({ kind: 'refused', message: 'it starts.' }, 'a', 100).notice!, /a says: it starts/)
  })
})

describe('words and figures', () => {
  test('are short and true', () => {
    assert.deepEqual([0, 0.123, 4.56, 250, 2500, 61_000].map(formatMs), [
      ...['0 ms', '0.12 ms', '4.6 ms', '250 ms', '2.5 s', '1 min 1 s'],
    ])
    assert.deepEqual([0, 1023, 1024, 1.5 * 1024 ** 3].map(formatBytes), ['0 B', '1023 B', '1.0 KiB', '1.5 GiB'])
    assert.deepEqual([999, 12_345, 1_234_567, 5e9].map(formatShort), ['999', '12.35 k', '1.235 M', '5 G'])
    assert.deepEqual([1000, 7000, 61_000, 7.2e6, 2e8].map(formatAge), ['a moment', '5 s', '1 min', '2 h', '2 d'])
    assert.deepEqual([[], ['a'], ['a', 'b'], ['a', 'b', 'c']].map(listOf), ['', 'a', 'a and b', 'a, b and c'])
    assert.match(withLocalTimes('left at 2025-12-31T12:00:00.000Z: x', atMs), /^left at 2025-12-31 \d\d:00:00: x$/)
  })
})
