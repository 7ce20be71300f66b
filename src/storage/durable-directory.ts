import type { FileSystem } from '../ports/file-system.js'

/**
 * Makes a directory that a power loss does not take away again, with all that is put into it later: every name that
 * is new on the way is synced in the directory that holds it (J3).
 */
export async function makeDurableDirectory(files: FileSystem, path: string): Promise<void> {
  const created: string[] = []
  for (let at = path; (await files.stat(at)) === undefined; at = files.join(at, '..')) created.push(at)
  if (created.length === 0) return
  await files.makeDirectory(path)
  for (const one of created) await files.syncDirectory(files.join(one, '..'))
}
