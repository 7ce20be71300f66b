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
  /** Found within so many seeds. */
  readonly seeds: number
  /** Arguments of the simulator: what the bug needs to show itself. */
  readonly arguments?: readonly string[]
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

const seedsDefault = 400

function bug(name: string, rule: string, edits: readonly Edit[], more: Partial<PlantedBug> = {}): PlantedBug {
  return { name, rule, edits, seeds: seedsDefault, ...more }
}

export const plantedBugs: readonly PlantedBug[] = [
  bug('acknowledged before fsync', 'I5', [edit(writer, '        await file.datasync();\n', '')]),
  bug('a standby acknowledges what it has only received', 'I5, C1', [
    edit(
      standby,
      'durable: this.journal.durable.sequence,\n            applied',
      'durable: this.journal.appended.sequence,\n            applied',
    ),
  ]),
  bug('a primary waits for nobody', 'I1', [edit(inSync, "if (durability === 'standby') {", 'if (false) {')]),
  bug('the set before a change instead of the union', 'C3', [
    edit(
      inSync,
      'for (const record of this.proposed)\n            union',
      'for (const record of [])\n            union',
    ),
  ]),
  bug('joining against a low mark', 'C2', [
    edit(inSync, 'session.durable < this.epochStart || session.durable < this.committedSequence', 'false'),
  ]),
  bug('another incarnation is the same member', 'S2', [
    edit('core/record.js', 'a.node === b.node && a.incarnation === b.incarnation', 'a.node === b.node'),
  ]),
  bug('ready before the first block of the epoch is committed', 'C4', [
    edit('runtime/primary-role.js', '!this.ready && applier.applied.sequence >= this.inSync.epochStart', '!this.ready'),
  ]),
  bug('a new primary cuts its tail', 'C4', [
    edit(
      'runtime/promoter.js',
      '    const data = context.data;\n',
      '    const data = context.data;\n    await data.journal.truncate(await data.committedEnd());\n',
    ),
  ]),
  bug('cut to the committed position at a subscription', 'F38, I1', [
    edit(
      standby,
      '            await this.journal.mark();\n',
      '            await this.journal.mark();\n            const end = await this.journal.positionAt(Math.max(this.parts.applied(), this.journal.base.sequence));\n            if (end !== undefined) await this.journal.truncate(end);\n',
    ),
  ]),
  bug('a node outside of the set takes over', 'C6', [
    edit(takeover, 'if (!hasMember(record.inSync, self)) {', 'if (false) {'),
  ]),
  bug('a takeover leaves a set below its minimum, and that commits', 'C6, C3', [
    edit(takeover, 'while (inSync.length < record.settings.inSyncMin && absent.length > 0)', 'while (false)'),
    edit(inSync, 'record.inSync.length >= inSyncMin', 'true'),
    edit(inSync, 'if (this.waitedFor.length < this.effective.settings.inSyncMin)', 'if (false)'),
  ]),
  bug('a primary uses its epoch again after a restart', 'S3', [
    edit(takeover, 'named && compareEpochs(record.epoch, question.led) > 0 &&', 'named &&'),
  ]),
  bug('a swap that was answered by another record counts as done', 'C3', [
    edit('runtime/record-keeper.js', 'result.swapped || result.state.record?.nonce === next.nonce', 'true'),
  ]),
  bug('a swap without an answer counts as not done', 'C3', [
    edit(
      'runtime/record-keeper.js',
      'context.observer.coordinatorErrors += 1;\n                const failure',
      'return { swapped: true, state: { coordinatorId: next.coordinatorId, record: next, revision: expectedRevision + 1 } };\n                const failure',
    ),
  ]),
  bug('applied before it is committed', 'J1', [
    edit(
      data,
      'this.applier.advance(Math.min(this.committedSequence, this.journal.durable.sequence))',
      'this.applier.advance(this.journal.durable.sequence)',
    ),
  ]),
  bug('a restart replays what was not committed', 'J1', [
    edit(
      data,
      'const committed = Math.min(knownCommitted, journal.durable.sequence);',
      'const committed = journal.durable.sequence;',
    ),
  ]),
  bug('recovered blocks are called durable without fsync', 'J3', [edit(recovery, 'await segment.file.sync();', '')]),
  bug('the name of a new segment is not synced', 'J3', [
    edit('journal/segment-maker.js', 'await fs.syncDirectory(directory);', ''),
  ]),
  bug('a torn tail is called damage', 'J2', [
    edit('core/recovery.js', "facts.flushedBefore >= facts.firstBadSequence ? 'corruption' : 'tail'", "'corruption'"),
  ]),
  bug('after a failed fsync the next one is believed', 'J3, F17', [
    edit(recovery, 'await copyBytes(segment, uncoveredOffset, segment.file);', ''),
    edit(recovery, 'if (rescue && index >= scans.length - 2)', 'if (false)'),
  ]),
  bug('small files are not synced', 'S3', [edit('storage/durable-json.js', 'await file.sync();', '')]),
  bug('a promise of an epoch is not stored', 'S3, I2', [
    edit(
      'runtime/shard-store.js',
      '            return formatEpoch(promised) === formatEpoch(now.promised) ? now : { ...now, promised };',
      '            this.superblockNow = { ...now, promised };\n            return this.superblockNow;',
    ),
    edit('runtime/shard-store.js', 'if (next !== now)', 'if (next !== now && next !== this.superblockNow)'),
  ]),
  bug('a lease without end', 'L1', [
    edit(
      'runtime/lease-keeper.js',
      'return untilMs !== undefined && this.parts.clock.nowMs() < untilMs;',
      'return untilMs !== undefined;',
    ),
  ]),
  bug('a promise does not bind', 'L1', [edit(lease, 'this.until = Math.max(this.until, nowMs + this.promiseMs);', '')]),
  bug('a promise is forgotten at a restart', 'L1', [
    edit(lease, 'this.until = startMs + promiseMs;', 'this.until = startMs;'),
  ]),
  bug('the lease of one member is enough', 'L1', [
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
  ]),
  bug('a confirmed read confirms nothing', 'L2', [
    edit(
      'runtime/lease-keeper.js',
      'return this.ended === undefined && !this.suspended && this.confirmed >= id;',
      'return true;',
    ),
  ]),
  bug('the lease is kept during a hand-over', 'L5', [
    edit('runtime/lease-keeper.js', '        this.suspended = true;\n        this.lease.revoke();', ''),
  ]),
  bug('committed is announced before it is applied', 'I7', [
    edit(
      'runtime/primary-role.js',
      'return Math.min(this.inSync.committed, this.parts.applier.applied.sequence);',
      'return this.inSync.committed;',
    ),
  ]),
  bug('a write is sent again while its outcome is unknown', 'S9', [
    edit(
      'core/requests.js',
      '    end() {\n        this.way = undefined;',
      "    end() {\n        for (const [request, one] of this.requests) if (one.fate.type === 'sent') this.change(request, { type: 'nowhere' });\n        this.way = undefined;",
    ),
  ]),
  bug('the position of a snapshot is read late', 'S5, B1', [
    edit(
      'runtime/source-session.js',
      '        const view = this.engine.snapshot();\n',
      '        const view = this.engine.snapshot();\n        for (let turn = 0; turn < 20; turn++) await this.engine.readChunk(view, 0, new Uint8Array(0), 1);\n',
    ),
    edit('runtime/source-session.js', 'position: view.position,', 'position: this.engine.applied,'),
  ]),
  bug('a bootstrap is installed before it has replayed', 'B1', [
    edit('runtime/bootstrap.js', '            await this.catchUp(inbox, signal);\n', ''),
  ]),
  bug('a bootstrap holds no slot', 'B2', [
    edit(
      'runtime/source-session.js',
      'await this.holdSlot(request.slot, Math.min(first?.sequence ?? Number.MAX_SAFE_INTEGER, this.engine.applied.sequence));',
      '',
    ),
  ]),
  bug('the primary is not asked before a bootstrap is installed', 'B1', [
    edit('runtime/bootstrap.js', 'if (!confirmation.fits) {', 'if (false) {'),
  ]),
  bug('a rewind brings no values', 'B3', [
    edit('runtime/rewind.js', 'opened.engine.rewind(keys, back)', 'opened.engine.rewind([], back)'),
  ]),
  bug('committed entries are undone', 'C5', [
    edit('core/history.js', 'if (common.sequence < kept && !mayUndo) {', 'if (false) {'),
    edit(takeover, 'if (!hasMember(record.inSync, self)) {', 'if (false) {'),
  ]),
  bug('chains are not compared', 'F38, S4', [
    edit('core/history.js', 'here !== undefined && here.chain === subscriber.position.chain', 'here !== undefined'),
    edit('core/append.js', 'if (header.chainBefore !== end.chain) {', 'if (false) {'),
    edit('core/recovery.js', 'if (header.chainBefore !== previous.chain) {', 'if (false) {'),
  ]),
  bug('epochs are not compared at an append', 'I2', [
    edit('core/append.js', 'if (compareEpochs(sessionEpoch, promised) < 0) {', 'if (false) {'),
    edit(
      standby,
      'if (this.epoch !== undefined && compareEpochs(this.epoch, this.parts.promised()) < 0) {',
      'if (false) {',
    ),
    edit(standby, 'if (compareEpochs(this.epoch, this.parts.promised()) < 0) {', 'if (false) {'),
    edit(standby, 'if (compareEpochs(stream.epoch, this.parts.promised()) < 0) {', 'if (false) {'),
  ]),
  bug(
    'the voter answers before its disk does',
    'V1, C3',
    [edit('coordinator/builtin/voter-directory.js', '        await this.journal.mark();\n', '')],
    { arguments: ['--coordinator', 'builtin'] },
  ),
]
