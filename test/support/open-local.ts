import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import type { FailureCode } from '#src/core/failure.js'
import type { DatabaseOptions } from '#src/database/options.js'
import { UnderstudyLevel } from '#src/database/understudy-level.js'
import { memoryEngine } from '#src/engine/memory.js'
import { isFailure } from '#src/errors.js'
import { makeDirectory, removeDirectory } from './directory.js'
import { type LocalNode, localStarter } from './local-node.js'

export interface Opened<K, V> {
  readonly db: UnderstudyLevel<K, V>
  readonly node: LocalNode
}

export async function openLocal<K = string, V = string>(
  context: TestContext,
  options: DatabaseOptions<K, V> = {},
): Promise<Opened<K, V>> {
  const directory = await makeDirectory()
  const nodes: LocalNode[] = []
  const db = new UnderstudyLevel<K, V>(
    directory,
    options,
    localStarter(memoryEngine, (node) => nodes.push(node)),
  )
  context.after(async () => {
    await db.close()
    await removeDirectory(directory)
  })
  await db.open()
  const node = nodes[0]
  assert.ok(node !== undefined)
  return { db, node }
}

export function failsWith(code: FailureCode, pattern = /./) {
  return (error: unknown) => {
    assert.ok(isFailure(error, code), `expected ${code}, found ${String(error)}`)
    assert.match(error.message, pattern)
    return true
  }
}
