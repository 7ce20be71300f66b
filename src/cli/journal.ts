import { once } from 'node:events'
import { type Command, InvalidArgumentError, Option } from 'commander'
import { parseDivergentName } from '../core/divergent.js'
import { formatEpoch, formatPosition } from '../core/position.js'
import { UnderstudyError } from '../errors.js'
import { type InspectRecord, inspectJournal, rawBlocks } from '../journal/inspect.js'
import { describeSideFile } from '../journal/side-file.js'
import { nodeFileSystem } from '../platform/node-file-system.js'
import { formatBytes, plural } from './format.js'
import { findJournal, findSideFiles } from './journal-location.js'
import { createPaint } from './terminal.js'

interface JournalFlags {
  readonly from?: number
  readonly json?: boolean
  readonly raw?: boolean
}

export function registerJournal(program: Command): void {
  program
    .command('journal')
    .description("read a journal's segments without a node, and say where damage is; changes nothing")
    .argument('<DIR>', 'data directory, shard directory, journal directory, or one *.journal file')
    .option('--from <SEQ>', 'leave out blocks that end before this sequence', parseSequence)
    .addOption(new Option('--raw', 'the exact bytes of the blocks, which are the same on every node').conflicts('json'))
    .option('--json', 'one JSON object per record')
    .addHelpText(
      'after',
      `
Entries that a rejoin cut from a journal lie in divergent-*.journal in the shard's
directory; they are named at the end, and read by giving the file.

Verdicts on damage: "tail" is what a crash leaves behind the last flush mark; the next
start cuts it. "corruption" is below it: exit code 5, with file, offset, what was
expected and what was found. Reading beside a running node is safe.

Examples:
  understudy journal ./data
  understudy journal ./data --from 1000 --json | jq .sequence
  cmp <(understudy journal a --raw) <(understudy journal b --raw)`,
    )
    .action((directory: string, flags: JournalFlags) => run(directory, flags))
}

function parseSequence(text: string): number {
  const value = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN
  if (Number.isSafeInteger(value)) return value
  throw new InvalidArgumentError('is no sequence: an integer from 0 on')
}

async function run(directory: string, flags: JournalFlags): Promise<void> {
  const path = findJournal(directory)
  const from = flags.from ?? 0
  if (flags.raw === true) {
    for await (const bytes of rawBlocks(nodeFileSystem, path, from)) if (!(await write(bytes))) return
    return
  }
  const summary = new Summary()
  const show = flags.json === true ? (record: InspectRecord) => JSON.stringify(asJson(record)) : lineOf
  for await (const record of inspectJournal(nodeFileSystem, path, { from })) {
    // Notes of what was left out say nothing.
    if ((record.type === 'mark' || record.type === 'seal') && record.flushedBefore < from) continue
    summary.add(record)
    if (!(await write(`${show(record)}\n`))) return
  }
  if (flags.json !== true) await write(`${summary.text}\n`)
  for (const file of findSideFiles(path)) await write(await describeSide(file, flags.json === true))
  if (summary.firstCorruption !== undefined) {
    const { file, offset, expected, found } = summary.firstCorruption
    throw new UnderstudyError(
      'CORRUPTION',
      `${path}: ${plural(summary.corruptions, 'place')} damaged; the first is ${file} at byte ${offset}: expected ${expected}, found ${found}`,
      { hint: 'rebuild this node from another with `understudy bootstrap --replace`; keep a copy of the directory' },
    )
  }
}

async function describeSide(file: string, json: boolean): Promise<string> {
  const tail = await describeSideFile(nodeFileSystem, file)
  if (json) return `${JSON.stringify({ type: 'divergent', file, ...tail })}\n`
  const paint = createPaint(process.stdout)
  if (tail === undefined) return `${paint('red', `${file}: not a whole side file`)}\n`
  const { firstSequence, lastSequence, commonSequence } = tail
  const missing = firstSequence - 1 - commonSequence
  const entries = plural(lastSequence - firstSequence + 1, 'cut entry', 'cut entries')
  const lack = missing === 0 ? '' : `; ${plural(missing, 'entry', 'entries')} before them had been trimmed already`
  return `${paint('yellow', `${file}: ${entries}, ${firstSequence} to ${lastSequence}${lack}`)}\n`
}

/** False when nobody reads any more; waits while the reader is behind. */
async function write(piece: string | Uint8Array): Promise<boolean> {
  const { stdout } = process
  if (stdout.destroyed) return false
  if (!stdout.write(piece)) {
    await Promise.race([once(stdout, 'drain'), once(stdout, 'close')]).catch(() => undefined)
  }
  return !stdout.destroyed
}

type Damage = InspectRecord & { readonly type: 'damage' }

class Summary {
  corruptions = 0
  firstCorruption: Damage | undefined
  private segments = 0
  private blocks = 0
  private entries = 0
  private bytes = 0
  private first: number | undefined
  private last: number | undefined
  private tails = 0

  add(record: InspectRecord): void {
    if (record.type === 'segment') this.segments += 1
    else if (record.type === 'block') {
      const { header, end, bytes } = record.block
      this.blocks += 1
      this.entries += header.entryCount
      this.bytes += bytes.length
      this.first ??= header.firstSequence
      this.last = end.sequence
    } else if (record.type === 'damage') {
      if (record.verdict === 'tail') this.tails += 1
      else {
        this.corruptions += 1
        this.firstCorruption ??= record
      }
    }
  }

  get text(): string {
    const paint = createPaint(process.stdout)
    const range = this.first === undefined ? 'no blocks' : `sequences ${this.first} to ${this.last}`
    const damage =
      this.corruptions > 0
        ? paint('red', `damaged in ${plural(this.corruptions, 'place')}`)
        : this.tails > 0
          ? paint('yellow', 'a torn tail, which the next start cuts')
          : paint('green', 'no damage')
    const size = `${plural(this.blocks, 'block')} with ${plural(this.entries, 'entry', 'entries')} (${formatBytes(this.bytes)})`
    return `${plural(this.segments, 'segment')}, ${size}, ${range}: ${damage}`
  }
}

function lineOf(record: InspectRecord): string {
  const paint = createPaint(process.stdout)
  const at = (offset: number): string => `${String(offset).padStart(12)}  `
  switch (record.type) {
    case 'segment': {
      const { header, file, bytes } = record
      const { identity, base } = header
      const cut = parseDivergentName(file) === undefined ? '' : `, cut: another history parts after ${header.committed}`
      return `${paint('bold', file)}  ${formatBytes(bytes)}, after position ${formatPosition(base)}, shard ${identity.shard} of cluster ${identity.cluster}, history ${identity.historyId}${cut}`
    }
    case 'block': {
      const { header, end, bytes } = record.block
      const sequences =
        header.firstSequence === end.sequence ? `${end.sequence}` : `${header.firstSequence}..${end.sequence}`
      return [
        `${at(record.offset)}block ${sequences}`,
        `epoch ${formatEpoch(header.epoch)}${header.epochStart ? ' begins' : ''}`,
        plural(header.entryCount, 'entry', 'entries'),
        plural(record.operationCount, 'operation'),
        formatBytes(bytes.length),
        new Date(header.timestampMs).toISOString(),
        `committed ${header.committed}`,
        `chain ${end.chain.slice(0, 12)}`,
      ].join('  ')
    }
    case 'mark':
    case 'seal':
      return paint(
        'dim',
        `${at(record.offset)}${record.type}  flushed ${record.flushedBefore}  committed ${record.committed}`,
      )
    case 'damage': {
      const colour = record.verdict === 'tail' ? 'yellow' : 'red'
      return `${at(record.offset)}${paint(colour, `damage (${record.verdict})`)}  in ${record.file}: expected ${record.expected}, found ${record.found}`
    }
    case 'unfinished-cut':
      return paint(
        'yellow',
        `${record.file}: a cut to ${formatPosition(record.to)} was begun; the next start finishes it`,
      )
  }
}

function asJson(record: InspectRecord): unknown {
  switch (record.type) {
    case 'segment': {
      const { type, file, bytes, header } = record
      const { identity, base, committed, epochs } = header
      return {
        type,
        file,
        bytes,
        ...identity,
        base: formatPosition(base),
        chain: base.chain,
        committed,
        epochs: epochs.map(({ epoch, firstSequence }) => ({ epoch: formatEpoch(epoch), firstSequence })),
      }
    }
    case 'block': {
      const { type, file, offset, block, operationCount } = record
      const { header, end, bytes } = block
      return {
        type,
        file,
        offset,
        bytes: bytes.length,
        firstSequence: header.firstSequence,
        sequence: end.sequence,
        epoch: formatEpoch(header.epoch),
        epochStart: header.epochStart,
        entries: header.entryCount,
        operations: operationCount,
        at: new Date(header.timestampMs).toISOString(),
        committed: header.committed,
        flushedBefore: header.flushedBefore,
        chain: end.chain,
      }
    }
    case 'unfinished-cut':
      return { type: record.type, file: record.file, to: formatPosition(record.to) }
    default:
      return record
  }
}
