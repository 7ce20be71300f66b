import { invariant } from '../core/invariant.js'
import { limits } from '../core/limits.js'
import { toUnderstudyError, UnderstudyError } from '../errors.js'
import type { Clock } from '../ports/clock.js'
import type { FileSystem } from '../ports/file-system.js'
import type {
  Journal,
  JournalEvents,
  JournalFactory,
  JournalIdentity,
  JournalStart,
  OpenedJournal,
  SavedTail,
} from '../ports/journal.js'
import { type Logger, silentLogger } from '../ports/logger.js'
import type { Random } from '../ports/random.js'
import { FileJournal } from './file-journal.js'
import { History } from './history.js'
import { recoverJournal } from './recovery.js'
import { SegmentMaker } from './segment-maker.js'
import { describeSideFile } from './side-file.js'

export interface JournalOptions {
  readonly clock: Clock
  readonly random: Random
  readonly logger?: Logger
  readonly segmentBytes?: number
  readonly tailCacheBytes?: number
  readonly idleMarkMs?: number
}

export function createJournalFactory(fs: FileSystem, options: JournalOptions): JournalFactory {
  const segmentBytes = options.segmentBytes ?? limits.segmentBytes
  const logger = options.logger ?? silentLogger
  invariant(segmentBytes >= limits.segmentBytesMin, `a segment has at least ${limits.segmentBytesMin} bytes`)

  function maker(directory: string, identity: JournalIdentity): SegmentMaker {
    return new SegmentMaker({ fs, directory, identity, segmentBytes, random: options.random, logger })
  }

  function journal(
    directory: string,
    identity: JournalIdentity,
    events: JournalEvents,
    found: { readonly history: History; readonly committed: number; readonly flushedBefore: number },
  ): Journal {
    return new FileJournal({
      ...found,
      fs,
      clock: options.clock,
      logger,
      directory,
      events,
      maker: maker(directory, identity),
      tailCacheBytes: options.tailCacheBytes ?? limits.tailCacheBytes,
      idleMarkMs: options.idleMarkMs ?? limits.idleMarkMs,
    })
  }

  return {
    async create(directory, identity, start: JournalStart, events): Promise<Journal> {
      try {
        await createDirectory(fs, directory)
        const { sequence } = start.base
        // Everything below a base was committed: it lies in a snapshot, or there is nothing.
        const segment = await maker(directory, identity).make({ ...start, committed: sequence }, 0)
        const history = new History([segment], start.epochs)
        return journal(directory, identity, events, { history, committed: sequence, flushedBefore: sequence })
      } catch (error) {
        throw toUnderstudyError(error, `journal ${directory}: create`)
      }
    },

    async open(directory, identity, events): Promise<OpenedJournal> {
      try {
        const recovered = await recoverJournal({ fs, directory, identity, logger })
        return { journal: journal(directory, identity, events, recovered), cutBytes: recovered.cutBytes }
      } catch (error) {
        throw toUnderstudyError(error, `journal ${directory}: open`)
      }
    },

    async describeTail(path): Promise<SavedTail | undefined> {
      try {
        return await describeSideFile(fs, path)
      } catch (error) {
        throw toUnderstudyError(error, `side file ${path}`)
      }
    },
  }
}

async function createDirectory(fs: FileSystem, directory: string): Promise<void> {
  if ((await fs.stat(directory)) === undefined) {
    await fs.makeDirectory(directory)
    await fs.syncDirectory(fs.join(directory, '..'))
    return
  }
  // A creation that a crash has interrupted leaves nothing but unfinished files.
  const names = await fs.list(directory)
  const other = names.find((name) => !name.endsWith('.tmp'))
  if (other !== undefined) {
    throw new UnderstudyError('FOREIGN_DIRECTORY', `${directory}: expected an empty directory, found ${other}`, {
      hint: 'open the journal that is there, or choose another directory',
    })
  }
  for (const name of names) await fs.remove(fs.join(directory, name))
}
