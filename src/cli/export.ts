import { isUtf8 } from 'node:buffer'
import { type FileHandle, open, rename, rm, rmdir } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { type Command, Option } from 'commander'
import { encodeChunk } from '../codec/chunk.js'
import { RunningDigest } from '../codec/digest.js'
import { toUnderstudyError, UnderstudyError } from '../errors.js'
import { nodeFileSystem } from '../platform/node-file-system.js'
import { type ContentEntry, type ContentReader, type ContentSummary, copyContent, type OnContent } from './content.js'
import { addPlaceFlags, type PlaceFlags, placeOf } from './content-place.js'
import { formatBytes, formatCount, plural } from './format.js'
import { isFree } from './import.js'
import { onInterrupt, reasonOf } from './interrupt.js'
import { LevelContent } from './level-content.js'
import { LocalContent, RemoteContent } from './node-content.js'
import { ProgressBar } from './progress-bar.js'
import { printJson, printLine } from './terminal.js'

const formats = ['level', 'ndjson'] as const
type Format = (typeof formats)[number]

interface ExportFlags extends PlaceFlags {
  readonly format?: Format
  readonly family: string
}

export function registerExport(program: Command): void {
  const command = program
    .command('export')
    .description('copy the content out: into a new classic-level directory, or as NDJSON')
    .argument('<OUT>', 'a new directory; a new file that ends with .ndjson; or - for standard output')
  addPlaceFlags(command)
    .addOption(
      new Option('--format <FORMAT>', 'level | ndjson (default: by the name of OUT, ndjson for -)').choices(formats),
    )
    .option('--family <NAME>', 'column family to copy', 'default')
    .option('--json', 'the result as one JSON object (not with -, whose output is NDJSON itself)')
    .addHelpText(
      'after',
      `
The content is that of one moment, also while the node is written to. OUT appears under
its name only when it is whole; what exists is never overwritten. A classic-level
directory is read back at the end and compared.

A line of NDJSON is {"key","value"}; bytes that are not UTF-8 stand as base64 in keyBase64
or valueBase64, as in GET /v1/kv.

Examples:
  understudy export ./level --url http://10.0.0.1:7400
  understudy export backup.ndjson --url http://10.0.0.1:7400 --family orders
  understudy export - --data ./data | gzip > backup.ndjson.gz

Exit codes: 0 copied; 1 failed; 2 OUT exists; 4 the node does not answer, or the directory is in use; 5 what was read
back is not what was written.`,
    )
    .action((out: string, flags: ExportFlags) => run(out, flags))
}

async function run(out: string, flags: ExportFlags): Promise<void> {
  const place = placeOf(flags)
  const format = flags.format ?? (out === '-' || out.endsWith('.ndjson') ? 'ndjson' : 'level')
  if (out === '-' && (format !== 'ndjson' || flags.json === true)) {
    throw new UnderstudyError('BAD_REQUEST', 'standard output takes NDJSON and nothing else', {
      hint: 'name a directory or a file',
    })
  }
  if (out !== '-' && !(await isFree(out))) {
    throw new UnderstudyError('CONFIG', `${out} exists already`, { hint: 'name another place: nothing is overwritten' })
  }
  const interrupt = onInterrupt('nothing was left behind; give the same command again')
  const { signal } = interrupt
  const bar = new ProgressBar()
  const show: OnContent = (entries, bytes) =>
    bar.update('exporting', 0, undefined, `${formatCount(entries)} entries, ${formatBytes(bytes)}`)
  let store: LocalContent | undefined
  try {
    let source: ContentReader
    if (place.type === 'node') source = new RemoteContent(place.address, flags.family)
    else {
      store = await LocalContent.open(place.options, flags.family, { createIfMissing: false, signal })
      source = store
    }
    const done = await write(source, out, format, signal, show)
    bar.end()
    report(out, done, flags.json === true)
  } catch (error) {
    throw reasonOf(signal, error)
  } finally {
    bar.end()
    interrupt.end()
    await store?.close()
  }
}

async function write(
  source: ContentReader,
  out: string,
  format: Format,
  signal: AbortSignal,
  show: OnContent,
): Promise<ContentSummary> {
  if (out === '-') return toStream(source, signal, show)
  const path = resolve(out)
  const building = join(dirname(path), `.${basename(path)}.exporting`)
  await rm(building, { recursive: true, force: true })
  try {
    const done =
      format === 'level' ? await toLevel(source, building, signal, show) : await toFile(source, building, signal, show)
    signal.throwIfAborted()
    if (format === 'level') {
      await rmdir(path).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== 'ENOENT') throw error
      })
    }
    await rename(building, path)
    await nodeFileSystem.syncDirectory(dirname(path))
    return done
  } catch (error) {
    await rm(building, { recursive: true, force: true })
    throw error instanceof UnderstudyError || signal.aborted ? error : toUnderstudyError(error, `writing ${out}`)
  }
}

/** What was written is read back: the same entries in the same order. */
async function toLevel(source: ContentReader, directory: string, signal: AbortSignal, show: OnContent) {
  const target = await LevelContent.create(directory)
  try {
    const written = await copyContent(source, target, signal, show)
    const digest = new RunningDigest()
    let entries = 0
    for await (const piece of target.read(signal)) {
      digest.update(encodeChunk(piece))
      entries += piece.length
    }
    const found = digest.finish()
    if (entries !== written.entries || found !== written.digest) {
      const message = `${written.entries} entries with digest ${written.digest} were written, ${entries} with ${found} read back`
      throw new UnderstudyError('CORRUPTION', message)
    }
    return written
  } finally {
    await target.close()
  }
}

async function toFile(source: ContentReader, path: string, signal: AbortSignal, show: OnContent) {
  const file = await open(path, 'wx', 0o600)
  try {
    const done = await toLines(source, signal, show, (text) => append(file, text))
    await file.sync()
    return done
  } finally {
    await file.close()
  }
}

async function append(file: FileHandle, text: string): Promise<boolean> {
  await file.appendFile(text)
  return true
}

/** Ends without an error when nobody reads any more: `| head` is no failure. */
function toStream(source: ContentReader, signal: AbortSignal, show: OnContent) {
  return toLines(source, signal, show, async (text) => {
    const { stdout } = process
    if (stdout.destroyed || stdout.writableEnded) return false
    // Called back also when it failed: then nobody reads any more.
    await new Promise<void>((resolve) => stdout.write(text, () => resolve()))
    return !stdout.destroyed
  })
}

async function toLines(
  source: ContentReader,
  signal: AbortSignal,
  show: OnContent,
  take: (text: string) => Promise<boolean>,
): Promise<ContentSummary> {
  const digest = new RunningDigest()
  let entries = 0
  let bytes = 0
  for await (const piece of source.read(signal)) {
    digest.update(encodeChunk(piece))
    entries += piece.length
    for (const [key, value] of piece) bytes += key.length + value.length
    if (!(await take(piece.map(lineOf).join('')))) break
    show(entries, bytes)
  }
  return { entries, bytes, digest: digest.finish() }
}

function lineOf([key, value]: ContentEntry): string {
  return `${JSON.stringify({ ...field('key', key), ...field('value', value) })}\n`
}

function field(name: 'key' | 'value', bytes: Uint8Array): Record<string, string> {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return isUtf8(buffer) ? { [name]: buffer.toString() } : { [`${name}Base64`]: buffer.toString('base64') }
}

function report(out: string, { entries, bytes, digest }: ContentSummary, json: boolean): void {
  if (out === '-') return
  if (json) printJson({ target: out, entries, bytes, digest })
  else printLine(`${out}: ${plural(entries, 'entry', 'entries')}, ${formatBytes(bytes)}, digest ${digest}`)
}
