import { existsSync, readdirSync, statSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { parseDivergentName } from '../core/divergent.js'
import { UnderstudyError } from '../errors.js'
import { segmentSuffix } from '../journal/segment-format.js'

/**
 * The journal behind what people have at hand: a data directory, a shard's directory, the journal's own, or one of
 * its files. Nothing is guessed where a data directory hosts several shards.
 */
export function findJournal(path: string): string {
  const stat = statSync(path, { throwIfNoEntry: false })
  if (stat === undefined) {
    throw new UnderstudyError('CONFIG', `${path}: there is no such file or directory`)
  }
  if (stat.isFile() || holdsSegments(path)) return path
  const inside = [join(path, 'journal'), join(path, 'current', 'journal')].find(holdsSegments)
  if (inside !== undefined) return inside
  const shards = join(path, 'shards')
  const found = (existsSync(shards) ? readdirSync(shards).sort() : [])
    .map((name) => join(shards, name, 'current', 'journal'))
    .filter(holdsSegments)
  if (found.length === 1) return found[0]!
  if (found.length > 1) {
    throw new UnderstudyError('CONFIG', `${path} hosts ${found.length} shards`, {
      hint: `name one: ${found.join(', ')}`,
    })
  }
  throw new UnderstudyError('CONFIG', `${path}: there is no journal`, {
    hint: `give a data directory, or the directory that holds the *${segmentSuffix} files`,
  })
}

function holdsSegments(path: string): boolean {
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory() !== true) return false
  return readdirSync(path).some((name) => name.endsWith(segmentSuffix) && parseDivergentName(name) === undefined)
}

/** Side files beside the data that `path`, as `findJournal` gives it, is the journal of. */
export function findSideFiles(path: string): string[] {
  if (statSync(path).isFile()) return []
  const shard = resolve(path, '..', '..')
  if (basename(resolve(path, '..')) !== 'current') return []
  return readdirSync(shard)
    .filter((name) => parseDivergentName(name) !== undefined)
    .map((name) => join(shard, name))
}
