/**
 * Bugs that are planted into a copy of the built program, one at a time, to show that the simulator finds them: each
 * takes a rule out of the code. `find` must stand exactly once in the built file: an edit that does not fit any more
 * is an error, never a bug that was not planted.
 */
export interface Edit {
  /** Below dist. */
  readonly file: string
  readonly find: string
  readonly replace: string
}

export interface PlantedBug {
  readonly name: string
  /** Of the safety rules and invariants. */
  readonly rule: string
  readonly edits: readonly Edit[]
  /** What the world does meanwhile: the faults in which the rule matters. */
  readonly faults: string
  /** Found within so many seeds. */
  readonly seeds: number
  /** Default: what each seed says. */
  readonly coordinator?: 'builtin' | 'static'
  /** A test file that must fail instead, where whole clusters show the bug too seldom: below build/test, no ending. */
  readonly test?: string
}

function edit(file: string, find: string, replace: string): Edit {
  return { file, find, replace }
}

const inSync = 'core/in-sync.js'
const takeover = 'core/takeover.js'
const lease = 'core/lease.js'
const writer = 'journal/journal-writer.js'
const recovery = 'journal/recovery.js'
const standby = 'runtime/standby-session.js'
const data = 'runtime/shard-data.js'
const handshake = 'core/handshake.js'
const follower = 'runtime/follower-session.js'
const clear = 'runtime/clear.js'
const voter = 'coordinator/builtin/voter.js'
const voterDirectory = 'coordinator/builtin/voter-directory.js'

const seedsDefault = 200

function bug(
  name: string,
  rule: string,
  faults: string,
  edits: readonly Edit[],
  more: Partial<PlantedBug> = {},
): PlantedBug {
  return { name, rule, faults, edits, seeds: seedsDefault, ...more }
}

export const plantedBugs: readonly PlantedBug[] = [
  bug('acknowledged before fsync', 'I5', 'power-loss,power-loss-all', [
    edit(writer, '        await file.datasync();\n', ''),
  ]),
  bug('a standby acknowledges what it has only received', 'I5, C1', 'power-loss,power-loss-all,disk-slow', [
    edit(
      standby,
      'durable: this.journal.durable.sequence,\n            applied',
      'durable: this.journal.appended.sequence,\n            applied',
    ),
  ]),
  bug('a primary waits for nobody', 'I1', 'crash,partition-node', [
    edit(inSync, "if (durability === 'standby') {", 'if (false) {'),
  ]),
  bug(
    'the set before a change instead of the union',
    'C3',
    'crash,restart,slow-link,disk-slow,coordinator-slow,remove-from-in-sync',
    [
      edit(
        inSync,
        'for (const record of this.proposed)\n            union',
        'for (const record of [])\n            union',
      ),
    ],
  ),
  bug('joining against a low mark', 'C2', 'crash,restart,slow-link,disk-slow,partition-node', [
    edit(inSync, 'session.durable < this.epochStart || session.durable < this.committedSequence', 'false'),
  ]),
  bug('another incarnation is the same member', 'S2', 'wipe,crash,second-process,partition-node', [
    edit('core/record.js', 'a.node === b.node && a.incarnation === b.incarnation', 'a.node === b.node'),
  ]),
  bug(
    'ready before the first block of the epoch is committed',
    'C4',
    'crash,partition-node,connection-drop,switchover',
    [
      edit(
        'runtime/primary-role.js',
        '!this.ready && applier.applied.sequence >= this.inSync.epochStart',
        '!this.ready',
      ),
    ],
  ),
  bug('a new primary cuts its tail', 'C4', 'crash,power-loss-all,partition-node', [
    edit(
      'runtime/promoter.js',
      '    const data = context.data;\n',
      '    const data = context.data;\n    await data.journal.truncate(await data.committedEnd());\n',
    ),
  ]),
  bug('cut to the committed position at a subscription', 'F38, I1', 'crash,connection-drop,partition-node,slow-link', [
    edit(
      standby,
      '            await this.journal.mark();\n',
      '            await this.journal.mark();\n            const kept = await this.journal.positionAt(Math.max(this.parts.applied(), this.journal.base.sequence));\n            if (kept !== undefined) await this.journal.truncate(kept);\n',
    ),
  ]),
  bug('a node outside of the set takes over', 'C6', 'crash,partition-node,slow-link,disk-slow', [
    edit(takeover, 'if (!hasMember(record.inSync, self)) {', 'if (false) {'),
  ]),
  bug('a takeover leaves a set below its minimum, and that commits', 'C6, C3', 'crash,wipe,partition-node', [
    edit(takeover, 'while (inSync.length < record.settings.inSyncMin && absent.length > 0)', 'while (false)'),
    edit(inSync, 'record.inSync.length >= inSyncMin', 'true'),
    edit(
      inSync,
      'this.waitedFor.length < this.effective.settings.inSyncMin ? 0 : this.lowestDurable',
      'this.lowestDurable',
    ),
  ]),
  bug('a primary uses its epoch again after a restart', 'S3', 'crash,power-loss,power-loss-all,restart', [
    edit(takeover, 'named && compareEpochs(record.epoch, question.led) > 0 &&', 'named &&'),
  ]),
  bug('a swap that was answered by another record counts as done', 'C3', 'crash,partition-node,connection-drop', [
    edit('runtime/record-keeper.js', 'result.swapped || result.state.record?.nonce === next.nonce', 'true'),
  ]),
  bug(
    'a swap without an answer counts as not done',
    'C3',
    'coordinator-cut,coordinator-slow,coordinator-away,crash,partition-node',
    [
      edit(
        'runtime/record-keeper.js',
        'context.observer.coordinatorErrors += 1;\n                const failure',
        'return { swapped: true, state: { coordinatorId: next.coordinatorId, record: next, revision: expectedRevision + 1 } };\n                const failure',
      ),
    ],
  ),
  bug('applied before it is committed', 'J1', 'crash,partition-node,power-loss,slow-link', [
    edit(
      data,
      'this.applier.advance(Math.min(this.committedSequence, this.journal.durable.sequence))',
      'this.applier.advance(this.journal.durable.sequence)',
    ),
  ]),
  bug('a restart replays what was not committed', 'J1', 'crash,power-loss-all,partition-node,slow-link', [
    edit(
      data,
      'const committed = Math.min(knownCommitted, journal.durable.sequence);',
      'const committed = journal.durable.sequence;',
    ),
  ]),
  bug('the name of a new segment is not synced', 'J3', 'power-loss,power-loss-all,crash', [
    edit('journal/segment-maker.js', 'await fs.syncDirectory(directory);', ''),
  ]),
  bug('a torn tail is called damage', 'J2', 'power-loss,power-loss-all', [
    edit('core/recovery.js', "facts.flushedBefore >= facts.firstBadSequence ? 'corruption' : 'tail'", "'corruption'"),
  ]),
  bug('after a failed fsync the next one is believed', 'J3, F17', 'disk-sync-fails,power-loss-all,power-loss', [
    edit(recovery, 'await copyBytes(segment, uncoveredOffset, segment.file);', ''),
    edit(recovery, 'if (rescue && index >= scans.length - 2)', 'if (false)'),
  ]),
  bug('small files are not synced', 'S3', 'power-loss,power-loss-all', [
    edit('storage/durable-json.js', 'await file.sync();', ''),
  ]),
  bug('a promise of an epoch is not stored', 'S3, I2', 'crash,restart,partition-node,partition-pair,connection-drop', [
    edit(
      'runtime/shard-store.js',
      '            return formatEpoch(promised) === formatEpoch(now.promised) ? now : { ...now, promised };',
      '            this.superblockNow = { ...now, promised };\n            return this.superblockNow;',
    ),
    edit('runtime/shard-store.js', 'if (next !== now)', 'if (next !== now && next !== this.superblockNow)'),
  ]),
  bug('a lease without end', 'L1', 'partition-node,stall,partition-halves', [
    edit(
      'runtime/lease-keeper.js',
      'return untilMs !== undefined && this.parts.clock.nowMs() < untilMs;',
      'return untilMs !== undefined;',
    ),
  ]),
  bug('a promise does not bind', 'L1', 'firewall-node', [
    edit(lease, 'this.until = Math.max(this.until, nowMs + this.promiseMs);', ''),
  ]),
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
    'the lease of one member is enough',
    'L1',
    'firewall-node,partition-pair',
    [
      edit(
        lease,
        'lowestMs = Math.min(lowestMs, promise.sentMs);',
        'lowestMs = Number.isFinite(lowestMs) ? Math.max(lowestMs, promise.sentMs) : promise.sentMs;',
      ),
      edit(
        lease,
        'if (promise === undefined)\n                return undefined;\n            lowestMs',
        'if (promise === undefined)\n                continue;\n            lowestMs',
      ),
    ],
    { seeds: 500 },
  ),
  bug('a confirmed read confirms nothing', 'L2', 'partition-node,stall,partition-halves', [
    edit(
      'runtime/lease-keeper.js',
      'return this.ended === undefined && !this.suspended && this.confirmed >= id;',
      'return true;',
    ),
  ]),
  bug('committed is announced before it is applied', 'I7', 'slow-link,disk-slow', [
    edit(
      'runtime/primary-role.js',
      'return Math.min(this.inSync.committed, this.parts.applier.applied.sequence);',
      'return this.inSync.committed;',
    ),
  ]),
  bug('a write is sent again while its outcome is unknown', 'S9', 'crash,connection-drop,partition-node,switchover', [
    edit(
      'core/requests.js',
      '    end() {\n        this.way = undefined;',
      "    end() {\n        for (const [request, one] of this.requests) if (one.fate.type === 'sent') this.change(request, { type: 'nowhere' });\n        this.way = undefined;",
    ),
  ]),
  bug('the position of a snapshot is read late', 'S5, B1', 'wipe', [
    edit(
      'runtime/source-session.js',
      '        const view = this.engine.snapshot();\n',
      '        const view = this.engine.snapshot();\n        for (let turn = 0; turn < 20; turn++) await this.engine.readChunk(view, 0, new Uint8Array(0), 1);\n',
    ),
    edit('runtime/source-session.js', 'position: view.position,', 'position: this.engine.applied,'),
  ]),
  bug('a bootstrap is installed before it has replayed', 'B1', 'wipe,slow-link', [
    edit('runtime/bootstrap.js', '            await this.catchUp(inbox, signal);\n', ''),
  ]),
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
  bug('a rewind brings no values', 'B3', 'firewall-node,promote-forced,crash', [
    edit('runtime/rewind.js', 'opened.engine.rewind(keys, back)', 'opened.engine.rewind([], back)'),
  ]),
  bug('chains are not compared', 'F38, S4', 'crash,power-loss-all,partition-node,slow-link', [
    edit('core/history.js', 'here !== undefined && here.chain === subscriber.position.chain', 'here !== undefined'),
    edit('core/append.js', 'if (header.chainBefore !== end.chain) {', 'if (false) {'),
    edit('core/recovery.js', 'if (header.chainBefore !== previous.chain) {', 'if (false) {'),
  ]),
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
  bug('a coordinator that has forgotten is believed', 'S1', 'coordinator-wiped,crash', [
    edit(
      takeover,
      "return { type: 'fence', reason: 'there is data here, but the coordinator has no record of this shard', hint };",
      "return { type: 'absent' };",
    ),
    edit('runtime/automatic-leadership.js', 'if (!superblock.provisional)\n            return;', ''),
  ]),
  bug('a coordinator that went backwards is believed', 'S3', 'coordinator-rolled-back,crash,partition-node', [
    edit(takeover, 'if (order < 0 || compareEpochs(found.epoch, promised) < 0) {', 'if (false) {'),
  ]),
  bug('a second source of a bootstrap is behind the first', 'B1', 'wipe,crash,firewall-node,slow-link', [
    edit('core/bootstrap.js', "position.sequence < plan.first.sequence ? 'behind' : 'fits'", "'fits'"),
    edit('runtime/source-session.js', 'here === undefined || here.chain !== first.chain', 'false'),
  ]),
  bug(
    'a promotion by hand asks too few',
    'C8',
    'promote,crash,firewall-node',
    [
      edit('core/promotion.js', 'if (answered.length + 1 < needed) {', 'if (false) {'),
      edit('core/promotion.js', 'promisesNeeded: force ? 0 : needed - 1', 'promisesNeeded: 0'),
    ],
    { seeds: 2_000, coordinator: 'static' },
  ),
  bug('a checkpoint that nothing has proven', 'J4', 'power-loss,power-loss-all', [
    edit(
      data,
      'this.checkpointing = this.engine\n            .checkpoint()',
      'this.checkpointing = Promise.resolve(this.engine.applied)',
    ),
  ]),
  bug(
    'a cut tail stays in the file',
    'J2',
    'power-loss,power-loss-all,crash',
    [edit(recovery, 'await segment.zero(segment.nextOffset);', '')],
    { test: 'journal/damage' },
  ),
  bug('a write may wait without end', 'C9, I8', 'partition-node,crash,slow-link', [
    edit('runtime/write-queue.js', '            this.sweep();\n', ''),
  ]),
  bug(
    'the voter answers before its disk does',
    'V1, C3',
    'power-loss,power-loss-all,coordinator-restart,crash,switchover,remove-from-in-sync',
    [edit('coordinator/builtin/voter-directory.js', '        await this.journal.mark();\n', '')],
    { test: 'coordinator/voter-disk', coordinator: 'builtin' },
  ),
  bug('freshness is told before the epoch has begun', 'L6, C4', 'crash,disk-slow,partition-node,power-loss', [
    edit('runtime/follower-session.js', '!this.role.isReady || ', ''),
  ]),
  bug('freshness counts from when it arrives', 'L6', 'slow-link,disk-slow,stall', [
    edit(
      standby,
      'this.freshMarks.push({ sequence, atMs })',
      'this.freshMarks.push({ sequence, atMs: this.parts.clock.nowMs() })',
    ),
  ]),
  bug('fresh before it is applied', 'L6', 'slow-link,disk-slow,connection-drop', [
    edit(standby, 'mark !== undefined && mark.sequence <= applied;', 'mark !== undefined;'),
  ]),
  bug('a position counts before it is applied', 'L6', 'slow-link,disk-slow,crash', [
    edit(
      'runtime/shard-handle.js',
      'data === undefined || data.applier.applied.sequence < position.sequence',
      'data === undefined || data.journal.durable.sequence < position.sequence',
    ),
  ]),
  bug(
    'a position of another history counts by its number',
    'L6',
    'crash,power-loss-all,partition-node,promote-forced',
    [
      edit(
        'runtime/shard-handle.js',
        '(start.epoch.number !== position.epoch.number || start.epoch.node !== position.epoch.node)',
        'false',
      ),
    ],
  ),
  bug('what a crash left unsynced is believed', 'S3', 'crash,power-loss,disk-slow', [
    edit('storage/durable-json.js', '    await files.syncDirectory(directory);\n    const bytes', '    const bytes'),
  ]),
  bug(
    'a forced promotion does not say what it gives up',
    'C5',
    'promote-forced,crash,partition-node,partition-halves',
    [
      edit(takeover, 'lossySince: clean ? known.lossySince : epoch', 'lossySince: known.lossySince'),
      edit('core/promotion.js', 'lossySince: clean ? newest.lossySince : epoch', 'lossySince: newest.lossySince'),
    ],
  ),
  bug('a forced promotion cuts its own tail', 'C4, C5', 'promote-forced,crash,partition-node,power-loss-all,stall', [
    edit(
      'runtime/promotion-by-hand.js',
      'if (isLossy(forced.record))\n            await this.waitOutRegistration(known, answers);',
      'if (force) await data.journal.truncate(await data.committedEnd());',
    ),
  ]),
  bug('what no force gave up is undone', 'C5', 'promote-forced,crash,partition-node,partition-halves,stall', [
    edit('core/history.js', 'question.mayUndo || compareEpochs(end.epoch, question.lossySince) < 0', 'true'),
    edit(takeover, 'lossySince: clean ? known.lossySince : epoch', 'lossySince: known.lossySince'),
    edit('core/promotion.js', 'lossySince: clean ? newest.lossySince : epoch', 'lossySince: newest.lossySince'),
  ]),
  bug('an id of a dropped family is given again', 'S8', 'crash,restart', [
    edit('engine/family-table.js', 'if (operation.family < this.idNext)', 'if (this.ids.has(operation.family))'),
    edit(
      'runtime/family-maker.js',
      'Math.max(engine.familyIdNext, this.idFloor)',
      'Math.max(0, ...engine.families.map(({ id }) => id)) + 1',
    ),
  ]),
  bug('a bootstrap brings no next id of families', 'S8', 'wipe,crash,power-loss-all', [
    edit(
      'runtime/incoming-data.js',
      'engine.finishIngest(first, families, familyIdNext)',
      'engine.finishIngest(first, families, 1)',
    ),
  ]),
  bug('a family is never dropped', 'S8', 'crash,restart', [
    edit(
      'engine/family-table.js',
      'if (!this.ids.has(operation.family))\n                return this;',
      'return this;',
    ),
  ]),
  bug('files of a checkpoint are not synced', 'B1, J3', 'wipe,crash,power-loss,power-loss-all', [
    edit('runtime/incoming-files.js', '        await file.sync();\n', ''),
  ]),
  // Second lines, and what no whole cluster shows: each by the unit test that fails.
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
