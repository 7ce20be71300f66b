import { mkdir, readdir } from 'node:fs/promises'
import { ClassicLevel } from 'classic-level'
import { limits } from '../core/limits.js'
import type { Position } from '../core/position.js'
import { UnderstudyError } from '../errors.js'
import type { Engine, EngineFactory, EngineState } from '../ports/engine.js'
import { FamilyTable } from './family-table.js'
import { LevelEngine } from './level-engine.js'
import { levelError } from './level-errors.js'
import { familyOfPurgeKey, metaKeys, purgeKeysEnd, purgeKeysStart } from './level-keys.js'
import type { LevelStore } from './level-reader.js'
import { checkFormat, decodeFamilyTable, decodePosition, encodeFamilyTable, encodeFormat } from './store-meta.js'

/** LevelDB by way of classic-level, which comes with binaries: no build step. */
export const levelEngine: EngineFactory = Object.freeze({ kind: 'level' as const, open: openLevel })

async function openLevel(directory: string, empty: Position): Promise<Engine> {
  await refuseHollow(directory)
  const level: LevelStore = new ClassicLevel<Uint8Array, Uint8Array>(directory, {
    keyEncoding: 'buffer',
    valueEncoding: 'buffer',
    writeBufferSize: limits.engineWriteBufferBytes,
    cacheSize: limits.engineCacheBytes,
  })
  try {
    await level.open()
  } catch (error) {
    throw levelError(error, 'opening the engine', directory)
  }
  try {
    return await loadEngine(level, directory, empty)
  } catch (error) {
    await level.close()
    throw levelError(error, 'opening the engine', directory)
  }
}

/**
 * LevelDB makes a new store wherever the file CURRENT is missing, and then deletes the table files that it does not
 * know: a damaged directory would become an empty one without a word (F21).
 */
async function refuseHollow(directory: string): Promise<void> {
  let names: string[]
  try {
    await mkdir(directory, { recursive: true })
    names = await readdir(directory)
  } catch (error) {
    throw levelError(error, 'opening the engine', directory)
  }
  if (names.includes('CURRENT')) return
  const table = names.find((name) => name.endsWith('.ldb') || name.endsWith('.sst'))
  if (table === undefined) return
  throw new UnderstudyError('CORRUPTION', `engine in ${directory}: the file CURRENT is missing, but ${table} exists`, {
    hint: 'bootstrap this node from another one; the damaged directory is best kept for inspection',
  })
}

async function loadEngine(level: LevelStore, directory: string, empty: Position): Promise<Engine> {
  const [format, families, applied, checkpoint, reached, progress] = await level.getMany([
    metaKeys.format,
    metaKeys.families,
    metaKeys.applied,
    metaKeys.checkpoint,
    metaKeys.reached,
    metaKeys.ingestProgress,
  ])
  let table = new FamilyTable()
  if (format !== undefined) {
    checkFormat(format, directory)
    if (families === undefined) {
      throw new UnderstudyError('CORRUPTION', `engine in ${directory}: the family table is missing`)
    }
    table = decodeFamilyTable(families, directory)
  } else {
    await refuseForeign(level, directory)
    await level.batch(
      [
        { type: 'put', key: metaKeys.format, value: encodeFormat() },
        { type: 'put', key: metaKeys.families, value: encodeFamilyTable(table) },
      ],
      { sync: true },
    )
  }
  const last = reached ?? applied
  const opened: EngineState = {
    checkpoint: checkpoint === undefined ? undefined : decodePosition(checkpoint, 'checkpoint', directory),
    applied: last === undefined ? undefined : decodePosition(last, 'applied', directory),
  }
  const purges = await level.keys({ gte: purgeKeysStart, lt: purgeKeysEnd }).all()
  return new LevelEngine({
    level,
    directory,
    empty,
    opened,
    table,
    ingesting: progress !== undefined,
    purges: purges.map(familyOfPurgeKey),
  })
}

async function refuseForeign(level: LevelStore, directory: string): Promise<void> {
  const found = await level.keys({ limit: 1 }).all()
  if (found.length === 0) return
  throw new UnderstudyError('FOREIGN_DIRECTORY', `${directory} holds a LevelDB store that Understudy did not make`, {
    hint: 'choose another directory; to take the data over, read it with classic-level and write it with batch()',
  })
}
