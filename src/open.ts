import { resolveOptions } from './config/check-options.js'
import { closest } from './config/closest.js'
import { optionTable } from './config/option-table.js'
import type { OptionsInput } from './config/schema.js'
import type { DatabaseOptions, OpenOptions } from './database/options.js'
import { UnderstudyLevel } from './database/understudy-level.js'
import { UnderstudyError } from './errors.js'
import type { NodeHandle } from './runtime/handle.js'
import { startNode } from './start-node.js'

/** Options of `open()` and `new Understudy()`: those of abstract-level and those of a node. */
export interface UnderstudyOptions<K = string, V = string>
  extends DatabaseOptions<K, V>,
    Omit<OptionsInput, 'data' | 'witness' | keyof DatabaseOptions<K, V>> {}

/** Options that the database itself takes; what is in neither list is a mistake that the node's check names. */
const databaseKeys: ReadonlySet<string> = new Set([
  'keyEncoding',
  'valueEncoding',
  'createIfMissing',
  'errorIfExists',
  'passive',
  'shard',
  'signal',
  'openTimeoutMs',
  'forwardWrites',
])
const nodeKeys: ReadonlySet<string> = new Set(optionTable.map((option) => option.key))

/**
 * Options that nobody here knows belong to the program: abstract-level hands them to its hooks. One that looks like
 * a misspelt option of ours is refused all the same, by the check that the configuration goes through.
 */
function isOurs(key: string): boolean {
  return nodeKeys.has(key) || (!databaseKeys.has(key) && closest(key, [...nodeKeys, ...databaseKeys]) !== undefined)
}

/** How a database starts its node: options of the library in, a node that serves its HTTP interface out. */
export async function startDatabaseNode(
  location: string,
  options: OpenOptions,
  signal: AbortSignal,
): Promise<NodeHandle> {
  const input: Record<string, unknown> = { data: location, logLevel: 'warn' }
  for (const [key, value] of Object.entries(options)) {
    if (value !== undefined && isOurs(key)) input[key] = value
  }
  const resolved = resolveOptions(input as OptionsInput)
  if (resolved.witness) {
    throw new UnderstudyError('CONFIG', 'witness: a witness holds no data and is no database', {
      hint: 'run it with `understudy serve --witness`',
    })
  }
  const running = await startNode(resolved, {
    signal,
    createIfMissing: options.createIfMissing !== false,
    errorIfExists: options.errorIfExists === true,
  })
  const { node } = running
  return {
    name: node.name,
    cluster: node.cluster,
    shard: (name) => node.shard(name),
    status: () => node.status(),
    metrics: () => node.metrics(),
    close: () => running.close(),
  }
}

/**
 * An embedded ordered key-value store with a hot standby, as an abstract-level database. Without `listen` it is a
 * durable single node: changing `new Level(path)` into `new Understudy(path)` is the whole migration.
 */
export class Understudy<K = string, V = string> extends UnderstudyLevel<K, V> {
  constructor(location: string, options?: UnderstudyOptions<K, V>) {
    super(location, options, startDatabaseNode)
  }
}

/** Opens a database: `new Understudy(location, options)` and its `open()`. Rejects with coded errors. */
export async function open<K = string, V = string>(
  location: string,
  options?: UnderstudyOptions<K, V>,
): Promise<Understudy<K, V>> {
  const db = new Understudy<K, V>(location, options)
  await db.open()
  return db
}
