import { bug, edit, type PlantedBug } from './planted-bug.js'

const inSync = 'core/in-sync.js'
const takeover = 'core/takeover.js'
const lease = 'core/lease.js'
const recovery = 'journal/recovery.js'
const standby = 'runtime/standby-session.js'
const handshake = 'core/handshake.js'
const follower = 'runtime/follower-session.js'
const clear = 'runtime/clear.js'
const voter = 'coordinator/builtin/voter.js'
const voterDirectory = 'coordinator/builtin/voter-directory.js'

/** Second lines, and what whole clusters show too seldom or not at all: each with the test file that fails. */
export const bugsBesideTests: readonly PlantedBug[] = [
  bug(
    'a promise is forgotten at a restart',
    'L1',
    'firewall-node,crash,restart',
    [
      edit(lease, 'this.until = startMs + promiseMs;', 'this.until = startMs;'),
      // A node that starts gives every primary its time to be heard, which is longer.
      edit('runtime/takeover.js', 'this.graceUntilMs = nowMs + context.timings.silenceMs;', ''),
    ],
    { test: 'core/lease' },
  ),
  bug(
    'a bootstrap holds no slot',
    'B2',
    'wipe,slow-link,disk-slow',
    [
      edit(
        'runtime/source-session.js',
        'await this.holdSlot(request.slot, Math.min(first?.sequence ?? Number.MAX_SAFE_INTEGER, this.engine.applied.sequence));',
        '',
      ),
    ],
    { test: 'runtime/checkpoint-bootstrap' },
  ),
  bug(
    'epochs are not compared at an append',
    'I2',
    'firewall-node,partition-one-way,stall,slow-link',
    [
      edit('core/append.js', 'if (compareEpochs(sessionEpoch, promised) < 0) {', 'if (false) {'),
      edit(
        standby,
        'if (this.epoch !== undefined && compareEpochs(this.epoch, this.parts.promised()) < 0) {',
        'if (false) {',
      ),
      edit(standby, 'if (compareEpochs(this.epoch, this.parts.promised()) < 0) {', 'if (false) {'),
      edit(standby, 'if (compareEpochs(stream.epoch, this.parts.promised()) < 0) {', 'if (false) {'),
    ],
    { test: 'core/append' },
  ),
  bug(
    'a primary counts what it has not synced itself',
    'I5',
    'power-loss,power-loss-all,disk-slow',
    [
      edit(
        'runtime/primary-role.js',
        'this.inSync.onOwnProgress(this.parts.journal.durable.sequence, this',
        'this.inSync.onOwnProgress(this.parts.journal.appended.sequence, this',
      ),
    ],
    { test: 'runtime/takeover-rules' },
  ),
  bug(
    'a cut tail stays in the file',
    'J2',
    'power-loss,power-loss-all,crash',
    [edit(recovery, 'await segment.zero(segment.nextOffset);', '')],
    { test: 'journal/damage' },
  ),
  bug(
    'the voter answers before its disk does',
    'V1, C3',
    'power-loss,power-loss-all,coordinator-restart,crash,switchover,remove-from-in-sync',
    [edit('coordinator/builtin/voter-directory.js', '        await this.journal.mark();\n', '')],
    { test: 'coordinator/voter-disk', coordinator: 'builtin' },
  ),

  bug(
    'freshness is told before the epoch has begun',
    'L6, C4',
    'crash,disk-slow,partition-node,power-loss',
    [edit('runtime/follower-session.js', '!this.role.isReady || ', '')],
    { test: 'runtime/freshness' },
  ),
  bug(
    'another coordinator is believed',
    'S6',
    'coordinator-wiped,crash',
    [edit(takeover, 'stored.coordinatorId !== coordinatorId && compareEpochs(found.epoch, seen) <= 0', 'false')],
    { test: 'core/takeover' },
  ),
  bug(
    'a record that another coordinator wrote is believed',
    'S6',
    'coordinator-wiped,crash',
    [edit(takeover, 'if (found.coordinatorId !== coordinatorId) {', 'if (false) {')],
    { test: 'core/takeover' },
  ),
  bug(
    'nodes of two coordinators talk to each other',
    'S6',
    'coordinator-wiped,crash',
    [edit(handshake, 'own.coordinatorId !== peer.coordinatorId) {', 'false) {')],
    { test: 'core/handshake' },
  ),
  bug(
    'a swap that was meant for a lost store is done in the next one',
    'S6',
    'coordinator-wiped,crash',
    [edit(voter, 'if (next.coordinatorId !== directory.coordinatorId)', 'if (false)')],
    { test: 'coordinator/builtin-conformance', coordinator: 'builtin' },
  ),
  bug(
    'nodes of two settings talk to each other',
    'S7',
    'restart,crash',
    [edit(handshake, 'if (!sameSettings(own.settings, peer.settings)) {', 'if (false) {')],
    { test: 'runtime/identity' },
  ),
  bug(
    'a node starts with other settings than its shard has',
    'S7',
    'restart,crash',
    [edit(handshake, 'if (sameSettings(record.settings, configured))', 'if (true)')],
    { test: 'core/handshake' },
  ),
  bug(
    'a clear with a limit goes by ranges',
    'B5',
    'slow-link,connection-drop',
    [edit(clear, 'const operations = limited', 'const operations = false')],
    { test: 'runtime/waits' },
  ),
  bug(
    'a clear is one piece, however large',
    'B5',
    'slow-link,connection-drop',
    [edit(clear, 'Math.min(limits.clearPieceKeysMax, left)', 'left')],
    { test: 'runtime/waits' },
  ),
  bug(
    'what was recovered is not written and synced again',
    'J3',
    'disk-sync-fails,power-loss-all,power-loss',
    [edit(recovery, '                await this.syncAgain(scan);\n', '                ;\n')],
    { test: 'journal/power-loss' },
  ),
  bug(
    'what was recovered is synced without being written again',
    'J3, F17',
    'disk-sync-fails,power-loss-all,power-loss',
    [edit(recovery, 'await copyBytes(segment, uncoveredOffset, segment.file);', '')],
    { test: 'journal/disk-errors' },
  ),
  bug(
    'an acknowledgement of another epoch counts',
    'C1',
    'crash,partition-node,slow-link',
    [edit(inSync, 'if (epoch.number !== this.epoch.number || epoch.node !== this.epoch.node)', 'if (false)')],
    { test: 'core/in-sync' },
  ),
  bug(
    'an acknowledgement outlives its session',
    'C1',
    'crash,connection-drop,slow-link',
    [
      edit(
        inSync,
        'if (session !== undefined && sameMember(session.member, member))\n            this.sessions.delete(member.node);',
        '',
      ),
    ],
    { test: 'core/in-sync' },
  ),
  bug(
    'more counts as acknowledged than was sent',
    'C1',
    'crash,connection-drop,slow-link',
    [edit(follower, 'Math.min(ack.durable, this.feeder.sent)', 'ack.durable')],
    { test: 'runtime/sessions' },
  ),
  bug(
    'a source shows what is not committed',
    'C1',
    'wipe,crash,slow-link,partition-node',
    [
      edit(
        'runtime/source-session.js',
        'Math.min(this.committed(), this.journal.durable.sequence)',
        'this.journal.durable.sequence',
      ),
    ],
    { test: 'runtime/takeover' },
  ),
  bug(
    'what is committed here is cut',
    'C5',
    'crash,partition-node,power-loss-all',
    [edit('core/history.js', 'if (common.sequence < kept && !mayUndo) {', 'if (false) {')],
    { test: 'core/history' },
  ),
  bug(
    'a member that lacks what is committed takes over',
    'C5',
    'crash,partition-node,power-loss-all',
    [edit(takeover, 'question.durable.sequence < record.floor.sequence || !question.holdsFloor', 'false')],
    { test: 'core/takeover' },
  ),
  bug(
    'a takeover leaves the floor where it was',
    'C5',
    'crash,partition-node,power-loss-all',
    [
      edit(
        takeover,
        "record.settings.durability === 'local' ? record.floor : laterPosition(committedEnd, record.floor)",
        'record.floor',
      ),
    ],
    { test: 'core/takeover' },
  ),
  bug(
    'a change of the set leaves the floor where it was',
    'C5',
    'crash,partition-node,remove-from-in-sync',
    [edit(inSync, 'version: this.record.version + 1, floor: this.floor }', 'version: this.record.version + 1 }')],
    { test: 'core/in-sync' },
  ),
  bug(
    'a node under repair takes over',
    'C7',
    'firewall-node,promote-forced,crash',
    [edit(takeover, 'if (question.unfit !== undefined)', 'if (false)')],
    { test: 'core/takeover' },
  ),
  bug(
    'a standby is followed',
    'C7',
    'crash,partition-node',
    [edit('runtime/greeter.js', "if (hello.purpose === 'follow' && !context.leads()) {", 'if (false) {')],
    { test: 'runtime/sessions' },
  ),
  bug(
    'data that is being undone is opened like any other',
    'C7, B3',
    'firewall-node,promote-forced,crash',
    [
      edit(
        'runtime/shard.js',
        'if (superblock !== undefined && superblock.rewinding === undefined)',
        'if (superblock !== undefined)',
      ),
    ],
    { test: 'runtime/rewind' },
  ),
  bug(
    'bytes that arrive show that they are heard',
    'L3',
    'partition-one-way,firewall-node',
    [edit('link/link.js', 'if (this.pace === undefined)\n            return', 'if (true)\n            return')],
    { test: 'link/pace' },
  ),
  bug(
    'a member takes over while another hears the primary',
    'L1, L3',
    'partition-pair,partition-one-way',
    [edit(takeover, 'if (!named && hearing !== undefined) {', 'if (false) {')],
    { test: 'core/takeover' },
  ),
  bug(
    'a primary without lease and commits stays one',
    'L3',
    'partition-node,firewall-node',
    [
      edit(
        'runtime/primary-watch.js',
        'if (nowMs - this.goodAtMs <= giveUpMs || !this.anotherCould(role, nowMs))\n            return;',
        'return;',
      ),
    ],
    { test: 'runtime/primary-watch' },
  ),
  bug(
    'a write at local is answered without the lease',
    'L3',
    'firewall-node,partition-node',
    [
      edit(
        'runtime/primary-role.js',
        "if (lease === undefined || this.inSync.record.settings.durability !== 'local')",
        'if (true)',
      ),
    ],
    { test: 'runtime/lease' },
  ),
  bug(
    'a set of one needs no lease of the coordinator',
    'L4',
    'coordinator-away,coordinator-cut,crash',
    [
      edit(
        lease,
        'solitude.othersKnown ? solitude.registeredUntilMs : Number.POSITIVE_INFINITY',
        'Number.POSITIVE_INFINITY',
      ),
    ],
    { test: 'core/lease' },
  ),
  bug(
    'a registration counts from its answer',
    'L4',
    'coordinator-slow,coordinator-cut',
    [
      edit(
        'coordinator/builtin/client.js',
        'Math.max(this.registeredUntil, sentMs + registrationMs)',
        'Math.max(this.registeredUntil, clock.nowMs() + registrationMs)',
      ),
    ],
    { test: 'coordinator/builtin-conformance', coordinator: 'builtin' },
  ),
  bug(
    'a restarted node forgets whom it knew',
    'L4',
    'coordinator-away,restart,crash',
    [edit('runtime/automatic-leadership.js', 'cluster.recall(store.superblock?.members ?? []);', '')],
    { test: 'runtime/coordinator-away' },
  ),
  bug(
    'the lease is kept during a hand-over',
    'L5',
    'switchover,firewall-node,coordinator-slow',
    [edit('runtime/hand-over.js', '        role.giveUpLease();\n', '')],
    { test: 'runtime/switchover' },
  ),
  bug(
    'promises from before a hand-over count again after it',
    'L5',
    'switchover,firewall-node,coordinator-slow',
    [edit(lease, 'this.promises.clear();', '')],
    { test: 'core/lease' },
  ),
  bug(
    'an answer to a question from before a hand-over is a promise',
    'L5',
    'switchover,firewall-node,coordinator-slow',
    [edit(lease, 'this.requests.length = 0;', '')],
    { test: 'core/lease' },
  ),
  bug(
    'a hand-over hands over while blocks are begun',
    'L5',
    'switchover,slow-link',
    [edit('runtime/primary-role.js', '        this.queue.pause();\n', '')],
    { test: 'runtime/switchover' },
  ),
  bug(
    'the lease is looked at before the value is read',
    'L1',
    'stall,firewall-node',
    [
      edit(
        'database/shard-level.js',
        'const value = await this.shard.reader().get(this.#family, key, this.#snapshotOf(options));\n        if (!ticket.isGranted)\n            await ticket.granted(waitOf(options));',
        'if (!ticket.isGranted)\n            await ticket.granted(waitOf(options));\n        const value = await this.shard.reader().get(this.#family, key, this.#snapshotOf(options));',
      ),
    ],
    { test: 'database/consistency' },
  ),
  bug(
    'a member joins before it has promised',
    'L1',
    'firewall-node,restart,crash',
    [edit('runtime/primary-role.js', 'if (this.lease?.hasPromise(member) === false)', 'if (false)')],
    { test: 'runtime/takeover-rules' },
  ),
  bug(
    'a promise is given while an own takeover is undecided',
    'L1',
    'coordinator-slow,coordinator-cut,firewall-node',
    [
      edit(
        'runtime/takeover.js',
        'if (this.attemptUnderWay)\n            return false;\n        const { swapSentAt } = this;',
        'return true;\n        const { swapSentAt } = this;',
      ),
    ],
    { test: 'runtime/takeover-rules' },
  ),
  bug(
    'a promise is sent and does not bind',
    'L1',
    'firewall-node',
    [edit('runtime/shard-context.js', '        this.leasePromise.give(this.clock.nowMs());\n', '')],
    { test: 'runtime/lease' },
  ),
  bug(
    'a read without a lease does not wait for one',
    'L2',
    'partition-node,stall',
    [
      edit(
        'runtime/read-ticket.js',
        'return this.lease.held({ timeoutMs: options.timeoutMs ?? this.timeoutMs, signal: options.signal });',
        'return this.lease.held({ timeoutMs: 0, signal: options.signal });',
      ),
    ],
    { test: 'runtime/lease' },
  ),
  bug(
    'a bootstrap is installed without asking the primary',
    'B1',
    'wipe,promote-forced,crash,slow-link',
    [edit('runtime/bootstrap.js', 'if (!confirmation.fits) {', 'if (false) {')],
    { test: 'runtime/bootstrap' },
  ),
  bug(
    'a former primary confirms a bootstrap',
    'B1',
    'firewall-node,promote-forced,wipe',
    [
      edit(
        'runtime/shard-bootstrap.js',
        'const primary = context.presentPrimary;',
        "const primary = context.peers.answers.find((answer) => answer.state === 'primary');",
      ),
    ],
    { test: 'runtime/bootstrap' },
  ),
  bug(
    'what the primary has refused is fetched again',
    'B2',
    'firewall-node,promote-forced,wipe',
    [edit('core/bootstrap.js', 'Number(this.diverged.has(a.node)) - Number(this.diverged.has(b.node)) ||', '')],
    { test: 'core/bootstrap' },
  ),
  bug(
    'only the source keeps the journal for a bootstrap',
    'B2',
    'wipe,slow-link,disk-slow',
    [edit('runtime/bootstrap.js', 'this.parts.pinElsewhere(bootstrapSlot(this.parts.node), first);', '')],
    { test: 'runtime/bootstrap' },
  ),
  bug(
    'a slot holds the journal without end',
    'B2, F42',
    'wipe,crash,slow-link',
    [edit('core/retention.js', 'retention.heldBytes > slot.retainBytesMax', 'false')],
    { test: 'runtime/bootstrap' },
  ),
  bug(
    'a creation that is refused forgets the one before, which may commit',
    'S8',
    'restart,disk-slow,partition-node,stall',
    [edit('runtime/family-maker.js', 'if (neverComes && known === undefined)', 'if (neverComes)')],
    { test: 'runtime/family-maker' },
  ),
  bug(
    'a rebuilt node counts in a promotion with the set that its source knew',
    'S2, I1',
    'wipe,partition-node,crash',
    [edit('runtime/incoming-data.js', 'record: newerRecord(record, confirmed.record) ?? record', 'record')],
    { test: 'runtime/bootstrap' },
  ),
  bug(
    'a rebuilt node keeps nothing of what only it had',
    'B4',
    'wipe,crash',
    [edit('runtime/incoming-data.js', 'await this.own(this.parts.keepDivergent(epochs, durable.sequence));', '')],
    { test: 'runtime/rewind' },
  ),
  bug(
    'readers go on in data that is being rebuilt',
    'B4',
    'wipe,crash',
    [
      edit(
        'runtime/shard.js',
        "        await this.opener.close();\n        if (repair.type === 'bootstrap')",
        "        if (repair.type === 'bootstrap')",
      ),
    ],
    { test: 'runtime/bootstrap' },
  ),
  bug(
    'a voter without its identity begins anew',
    'V2',
    'coordinator-restart',
    [
      edit(
        voterDirectory,
        'if ((await files.stat(root)) !== undefined && (await files.list(root)).length > 0) {',
        'if (false) {',
      ),
    ],
    { test: 'coordinator/voter-disk', coordinator: 'builtin' },
  ),
  bug(
    'a voter that begins anew is the one that was lost',
    'V2, S6',
    'coordinator-restart',
    [edit(voterDirectory, 'const coordinatorId = random.hex(16);', "const coordinatorId = '0'.repeat(32);")],
    { test: 'coordinator/builtin', coordinator: 'builtin' },
  ),
  bug(
    'a voter forgets its records at a restart',
    'V3',
    'coordinator-restart,power-loss-all',
    [edit(voterDirectory, 'await found.replay(snapshot?.position ?? emptyPosition(coordinatorId));', '')],
    { test: 'coordinator/voter-disk', coordinator: 'builtin' },
  ),
  bug(
    'a former primary leads again and asks nobody',
    'C8',
    'crash,restart,promote',
    [
      edit(
        'core/start.js',
        "if (silent.length > 0) {\n        return {\n            type: 'wait',\n            fenced: true,",
        "if (false) {\n        return {\n            type: 'wait',\n            fenced: true,",
      ),
    ],
    { test: 'core/start', coordinator: 'static' },
  ),
  bug(
    'writes queue while the set is out of reach',
    'C9',
    'partition-node,crash',
    [
      edit(
        'runtime/write-queue.js',
        'if (!this.stillStalled)\n            this.stalledAt = undefined;\n        else {',
        'if (true)\n            this.stalledAt = undefined;\n        else {',
      ),
    ],
    { test: 'runtime/writes' },
  ),
  bug(
    'a forwarded write is taken in another epoch',
    'S9',
    'switchover,connection-drop',
    [edit(follower, 'if (!sameEpoch(message.epoch, this.epoch)) {', 'if (false) {')],
    { test: 'runtime/forwarding' },
  ),
  bug(
    'two sessions of one node are read',
    'S9, S2',
    'connection-drop,second-process',
    [
      edit(
        'runtime/primary-role.js',
        'if (before !== undefined) {\n            before.end(',
        'if (false) {\n            before.end(',
      ),
    ],
    { test: 'runtime/forwarding' },
  ),
  bug(
    'a write is forwarded before the epoch has begun here',
    'S9',
    'switchover,crash,connection-drop',
    [edit('core/requests.js', 'if (way === undefined || applied < way.epochStart)', 'if (way === undefined)')],
    { test: 'core/requests' },
  ),
  bug(
    'what may have been appended is called not done',
    'S9',
    'connection-drop,crash',
    [edit('core/requests.js', "return 'unknown';", "return 'none';")],
    { test: 'runtime/forwarder' },
  ),
  bug(
    'clocks are taken to run alike',
    'L1',
    'firewall-node,stall',
    [
      edit('core/timings.js', 'promiseMs: Math.ceil(leaseMs * (1 + clockRateMargin)),', 'promiseMs: leaseMs,'),
      edit(
        'core/timings.js',
        "invariant(promiseMs >= leaseMs * (1 + clockRateMargin), 'a promise outlives its lease, whatever the clocks');",
        '',
      ),
    ],
    { test: 'core/lease' },
  ),
  bug(
    'a write that waits for applied waits for nobody else',
    'C7',
    'slow-link,disk-slow',
    [edit(inSync, 'lowest = Math.min(lowest, this.sessionOf(member)?.applied ?? 0);', ';')],
    { test: 'core/in-sync' },
  ),
  bug(
    'a value of many is handed out before the lease is looked at',
    'L1',
    'stall,firewall-node',
    [
      edit(
        'database/shard-level.js',
        'const values = await this.shard.reader().getMany(this.#family, keys, this.#snapshotOf(options));\n        if (!ticket.isGranted)',
        'const values = await this.shard.reader().getMany(this.#family, keys, this.#snapshotOf(options));\n        if (false)',
      ),
    ],
    { test: 'database/consistency' },
  ),
  bug(
    'an iterator is read without the lease',
    'L1',
    'stall,firewall-node',
    [edit('database/entry-feed.js', 'if (!this.ticket.isGranted)', 'if (false)')],
    { test: 'database/consistency' },
  ),
  bug(
    'the former primary stays in the set of a takeover',
    'C6',
    'crash,stall,partition-node',
    [
      edit(
        takeover,
        'const isPresent = (member) => !sameMember(member, record.primary) &&\n        answers',
        'const isPresent = (member) => answers',
      ),
    ],
    { test: 'core/takeover' },
  ),
  bug(
    'a node that lacks what is committed is promoted by hand',
    'C5, C8',
    'promote,crash',
    [edit('core/promotion.js', 'if (missingEntries > 0) {', 'if (false) {')],
    { test: 'core/promotion', coordinator: 'static' },
  ),
]
