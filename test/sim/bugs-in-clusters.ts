import { bug, edit, type PlantedBug } from './planted-bug.js'

const inSync = 'core/in-sync.js'
const takeover = 'core/takeover.js'
const lease = 'core/lease.js'
const writer = 'journal/journal-writer.js'
const recovery = 'journal/recovery.js'
const standby = 'runtime/standby-session.js'
const data = 'runtime/shard-data.js'

/** Found by seeds: whole clusters show them. */
export const bugsInClusters: readonly PlantedBug[] = [
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
  bug('a rewind brings no values', 'B3', 'firewall-node,promote-forced,crash', [
    edit('runtime/rewind.js', 'opened.engine.rewind(keys, back)', 'opened.engine.rewind([], back)'),
  ]),
  bug('chains are not compared', 'F38, S4', 'crash,power-loss-all,partition-node,slow-link', [
    edit('core/history.js', 'here !== undefined && here.chain === subscriber.position.chain', 'here !== undefined'),
    edit('core/append.js', 'if (header.chainBefore !== end.chain) {', 'if (false) {'),
    edit('core/recovery.js', 'if (header.chainBefore !== previous.chain) {', 'if (false) {'),
  ]),
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
  bug('a write may wait without end', 'C9, I8', 'partition-node,crash,slow-link', [
    edit('runtime/write-queue.js', '            this.sweep();\n', ''),
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
  bug(
    'what a crash left unsynced is believed',
    'S3',
    'crash,disk-slow,partition-node,power-loss',
    [edit('storage/durable-json.js', '    await files.syncDirectory(directory);\n    const bytes', '    const bytes')],
    { seeds: 500 },
  ),
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
  bug(
    "a session that opens while its node closes is nobody's",
    'I8',
    'restart,disk-slow,partition-node,coordinator-away',
    [edit('runtime/peers.js', 'if (this.abort.signal.aborted)\n                    link.close();', '')],
    { seeds: 500 },
  ),
]
