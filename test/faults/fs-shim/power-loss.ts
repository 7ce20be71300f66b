/**
 * A kill leaves the page cache behind; a loss of power does not. What the library noted before each write (fs-shim.c) is
 * put back here, newest first, wherever no fsync of the file came after it. Contents only: names that were created,
 * renamed or removed without an fsync of their directory stay; the simulated disk loses those too.
 */
import { closeSync, existsSync, ftruncateSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs'

interface Note {
  readonly path: string
  readonly offset: number
  readonly sizeBefore: number
  readonly before: Buffer
}

/**
 * Undoes what `loses` chooses of the writes that were not synced. A disk may store a later write and lose an earlier one;
 * bytes that a later write, which is kept, has replaced stay as they are. Returns how many were undone. The process has
 * ended.
 */
export function undoUnsynced(undoFile: string, loses: () => boolean): number {
  if (!existsSync(undoFile)) return 0
  const unsynced = readNotes(undoFile)
  rmSync(undoFile)
  let undone = 0
  for (const [path, notes] of unsynced) {
    if (!existsSync(path)) continue
    const file = openSync(path, 'r+')
    // Later writes first. Once one is kept, everything older under it is kept as well: a simple and possible loss.
    for (const { offset, sizeBefore, before } of notes.reverse()) {
      if (!loses()) break
      writeSync(file, before, 0, before.length, offset)
      ftruncateSync(file, sizeBefore)
      undone += 1
    }
    closeSync(file)
  }
  return undone
}

/** The writes of each file after its last sync, in their order. */
function readNotes(undoFile: string): Map<string, Note[]> {
  const bytes = readFileSync(undoFile)
  const unsynced = new Map<string, Note[]>()
  for (let at = 0; at < bytes.length; ) {
    const end = bytes.indexOf(10, at)
    const [kind, pathLength, offset, sizeBefore, length] = bytes.toString('latin1', at, end).split(' ')
    const pathAt = end + 1
    const beforeAt = pathAt + Number(pathLength)
    at = beforeAt + Number(length)
    const path = bytes.toString('utf8', pathAt, beforeAt)
    if (kind === 'S') unsynced.delete(path)
    else {
      const notes = unsynced.get(path) ?? []
      notes.push({
        path,
        offset: Number(offset),
        sizeBefore: Number(sizeBefore),
        before: Buffer.from(bytes.subarray(beforeAt, at)),
      })
      unsynced.set(path, notes)
    }
  }
  return unsynced
}
