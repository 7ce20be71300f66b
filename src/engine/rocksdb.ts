import { mkdir, readdir } from 'node:fs/promises'
import { defaultFamily } from '../core/entry.js'
import { limits } from '../core/limits.js'
import type { Position } from '../core/position.js'
import { UnderstudyError } from '../errors.js'
import type { Engine, EngineFactory, EngineState } from '../ports/engine.js'
import { createDatabase, type Database, type RocksdbSettings } from './rocksdb-addon.js'
import { rocksdbFiles } from './rocksdb-checkpoint.js'
import { RocksdbEngine } from './rocksdb-engine.js'
import { damageHint, refuseDamaged, rocksdbError } from './rocksdb-errors.js'
import { Bookkeeping, bookkeeping } from './rocksdb-keys.js'
import { checkFormat, decodePosition, encodeFormat } from './store-meta.js'

export { hasRocksdb, type RocksdbSettings } from './rocksdb-addon.js'

const defaults: RocksdbSettings = Object.freeze({
  cacheBytes: limits.rocksdbCacheBytes,
  writeBufferBytes: limits.rocksdbWriteBufferBytes,
  compression: undefined,
  bloomBitsPerKey: limits.rocksdbBloomBitsPerKey,
})

/**
 * RocksDB by way of the addon in native/rocksdb, built on the system's library: column families, the journal's blocks
 * decoded beside JavaScript's thread, no log besides the journal.
 */
export function createRocksdbEngine(settings: Partial<RocksdbSettings> = {}): EngineFactory {
  const all = { ...defaults, ...settings }
  return Object.freeze<EngineFactory>({
    kind: 'rocksdb',
    open: (directory, empty, onDamaged = nobody) => openRocksdb(all, directory, empty, onDamaged),
    files: rocksdbFiles,
  })
}

export const rocksdbEngine: EngineFactory = createRocksdbEngine()

function nobody(): void {}

async function openRocksdb(
  settings: RocksdbSettings,
  directory: string,
  empty: Position,
  onDamaged: (error: Error) => void,
): Promise<Engine> {
  const database = createDatabase(settings)
  try {
    refuseDamaged(directory)
    await refuseHollow(directory)
    const { foreign, meta } = await database.open(directory)
    if (foreign) throw foreignError(directory)
    return await loadEngine(database, meta, directory, empty, onDamaged)
  } catch (error) {
    await database.close()
    throw rocksdbError(error, 'opening the engine', directory)
  }
}

/**
 * RocksDB makes a new store wherever the file CURRENT is missing, and then deletes the table files that it does not
 * know: a damaged directory would become an empty one without a word (F21).
 */
async function refuseHollow(directory: string): Promise<void> {
  await mkdir(directory, { recursive: true })
  const names = await readdir(directory)
  if (names.includes('CURRENT')) return
  const table = names.find((name) => name.endsWith('.sst') || name.endsWith('.ldb'))
  if (table === undefined) return
  throw new UnderstudyError('CORRUPTION', `engine in ${directory}: the file CURRENT is missing, but ${table} exists`, {
    hint: damageHint,
  })
}

async function loadEngine(
  database: Database,
  meta: readonly Buffer[],
  directory: string,
  empty: Position,
  onDamaged: (error: Error) => void,
): Promise<Engine> {
  let found = new Bookkeeping(meta, directory)
  const format = found.get(bookkeeping.format)
  if (format === undefined) {
    if (!found.isEmpty) throw foreignError(directory)
    const { id, name } = defaultFamily
    await database.finishIngest([id, name], 1, [bookkeeping.format, encodeFormat()])
    const created = database.createView()
    database.releaseView(created.handle)
    found = new Bookkeeping(created.meta, directory)
  } else checkFormat(format, directory)
  if (!found.isWhole) {
    throw new UnderstudyError('CORRUPTION', `engine in ${directory}: the family table is missing`)
  }
  await database.adopt(
    found.table.families.map(({ id }) => id),
    found.table.idNext,
  )
  const applied = found.get(bookkeeping.applied)
  const reached = found.get(bookkeeping.reached) ?? applied
  // What a table file holds was flushed together with the position: it is the proof by itself.
  const opened: EngineState = {
    checkpoint: applied === undefined ? undefined : decodePosition(applied, 'applied', directory),
    applied: reached === undefined ? undefined : decodePosition(reached, 'applied', directory),
  }
  return new RocksdbEngine({
    database,
    directory,
    empty,
    onDamaged,
    opened,
    table: found.table,
    ingesting: found.get(bookkeeping.ingestProgress) !== undefined,
  })
}

function foreignError(directory: string): UnderstudyError {
  return new UnderstudyError('FOREIGN_DIRECTORY', `${directory} holds a RocksDB store that Understudy did not make`, {
    hint: 'choose another directory; to take the data over, read it with RocksDB and write it with batch()',
  })
}
