import { readdir, rm, rmdir } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import type { Command } from 'commander'
import type { OptionsInput } from '../config/schema.js'
import { UnderstudyError } from '../errors.js'
import { nodeFileSystem } from '../platform/node-file-system.js'
import { type ContentSummary, type ContentWriter, checkContent, copyContent } from './content.js'
import { addPlaceFlags, type PlaceFlags, placeOf } from './content-place.js'
import { formatBytes, formatCount, plural } from './format.js'
import { onInterrupt, reasonOf } from './interrupt.js'
import { LevelContent, sizeOf } from './level-content.js'
import { LocalContent, RemoteContent } from './node-content.js'
import { ProgressBar } from './progress-bar.js'
import { printJson, printLine } from './terminal.js'

interface ImportFlags extends PlaceFlags {
  readonly force?: boolean
}

const family = 'default'

export function registerImport(program: Command): void {
  const command = program
    .command('import')
    .description('move a classic-level directory in: into a new data directory, or into a running node')
    .argument('<DIR>', 'directory of classic-level (LevelDB); no other program may have it open')
  addPlaceFlags(command)
    .option('--force', 'add to what is there already; keys that exist get the imported value')
    .option('--json', 'the result as one JSON object')
    .addHelpText(
      'after',
      `
Every key and value is taken as bytes, into the default column family, and read back at
the end: their count and digest are compared. Nothing in DIR is deleted.

--data makes a new directory of a node that runs alone. It is built beside and appears
under its name only when it is whole; interrupted, nothing is left under that name. For a
cluster, start its nodes empty and give --url: the standbys get everything as it comes.
Interrupted there, a part has been written: the same command with --force completes it.

Sublevels keep their prefixes, so that db.sublevel(name) finds them again.

Examples:
  understudy import ./old-level --data ./data
  understudy import ./old-level --data ./data --engine rocksdb
  understudy import ./old-level --url http://10.0.0.1:7400 --json

Exit codes: 0 imported and checked; 1 failed; 2 the target is not empty, or no LevelDB is
there; 4 the directory is in use, or the node does not answer; 5 what was read back is not
what was written, or DIR is damaged.`,
    )
    .action((directory: string, flags: ImportFlags) => run(directory, flags))
}

async function run(directory: string, flags: ImportFlags): Promise<void> {
  const place = placeOf(flags)
  const interrupt = onInterrupt(
    place.type === 'node'
      ? 'a part may have been written: the same command with --force completes it'
      : 'nothing was left behind; give the same command again',
  )
  const bar = new ProgressBar()
  try {
    const bytesExpected = await sizeOf(directory)
    const source = await LevelContent.open(directory)
    try {
      const job = { source, force: flags.force === true, signal: interrupt.signal, bar, bytesExpected }
      const done =
        place.type === 'node'
          ? await intoStore(new RemoteContent(place.address, family), { ...job, target: place.address.url })
          : await intoDirectory(place.directory, place.options, job)
      bar.end()
      const target = place.type === 'node' ? place.address.url : place.directory
      report(directory, target, done, flags.json === true)
    } finally {
      await source.close()
    }
  } catch (error) {
    throw reasonOf(interrupt.signal, error)
  } finally {
    bar.end()
    interrupt.end()
  }
}

interface Job {
  readonly source: LevelContent
  readonly force: boolean
  readonly signal: AbortSignal
  readonly bar: ProgressBar
  readonly bytesExpected: number
}

type Done = ContentSummary & { readonly others: number }

/** A new directory is built under another name: half of it is never taken for the whole (F9). */
async function intoDirectory(directory: string, options: OptionsInput, job: Job): Promise<Done> {
  const { signal } = job
  if (job.force) {
    const store = await LocalContent.open(options, family, { createIfMissing: true, signal })
    return closing(store, () => intoStore(store, { ...job, target: directory }))
  }
  if (!(await isFree(directory))) {
    throw new UnderstudyError('CONFIG', `${directory} is not empty`, {
      hint: 'name a new directory, or add --force to import into the one that is there',
    })
  }
  const path = resolve(directory)
  const building = join(dirname(path), `.${basename(path)}.importing`)
  // Whatever an interrupted import has left.
  await rm(building, { recursive: true, force: true })
  try {
    const store = await LocalContent.open({ ...options, data: building }, family, { createIfMissing: true, signal })
    const done = await closing(store, () => intoStore(store, { ...job, target: directory }))
    signal.throwIfAborted()
    await rmdir(path).catch(ignoreMissing)
    await nodeFileSystem.rename(building, path)
    await nodeFileSystem.syncDirectory(dirname(path))
    return done
  } catch (error) {
    await rm(building, { recursive: true, force: true })
    throw error
  }
}

async function intoStore(store: ContentWriter, job: Job & { readonly target: string }): Promise<Done> {
  const { source, signal, bar, bytesExpected } = job
  if (!job.force && !(await store.isEmpty(signal))) {
    throw new UnderstudyError('CONFIG', `${job.target} holds entries already`, {
      hint: 'add --force: keys that exist there get the imported value, others stay',
    })
  }
  const show = (phase: string) => (entries: number, bytes: number) =>
    bar.update(phase, bytes, bytesExpected, `${formatCount(entries)} entries, ${formatBytes(bytes)}`)
  show('importing')(0, 0)
  const written = await copyContent(source, store, signal, show('importing'))
  const found = await checkContent(source, store, signal, show('checking '))
  if (found.entries !== written.entries || found.digest !== written.digest) {
    const message = `${written.entries} entries with digest ${written.digest} were written, ${found.entries} with ${found.digest} read back`
    throw new UnderstudyError('CORRUPTION', message)
  }
  return found
}

async function closing<T>(store: LocalContent, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } finally {
    await store.close()
  }
}

export async function isFree(directory: string): Promise<boolean> {
  try {
    return (await readdir(directory)).length === 0
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT') return true
    if (code === 'ENOTDIR') return false
    throw error
  }
}

function ignoreMissing(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ENOENT') throw error
}

function report(source: string, target: string, done: Done, json: boolean): void {
  const { entries, bytes, digest, others } = done
  if (json) {
    printJson({ source, target, entries, bytes, digest, others })
    return
  }
  printLine(`${source} -> ${target}: ${plural(entries, 'entry', 'entries')}, ${formatBytes(bytes)}`)
  printLine(`read back and equal: digest ${digest}`)
  if (others > 0) printLine(`${plural(others, 'other entry', 'other entries')} were there before`)
}
