import { ClusterProcesses, clusterName } from '#src/cli/cluster-processes.js'
import { open, type Understudy, type UnderstudyOptions } from '#src/index.js'
import type { EngineKind } from '#src/ports/engine.js'

export type Database = Understudy<string, Uint8Array>

/** A primary in this process, as a program that uses the library has it, and a standby in another. */
export interface Pair {
  readonly db: Database
  readonly cluster: ClusterProcesses
  close(): Promise<void>
}

export async function openPair(durability: 'local' | 'standby', engine: EngineKind = 'level'): Promise<Pair> {
  const inSyncMin = durability === 'local' ? 1 : 2
  const cluster = await ClusterProcesses.create({
    names: ['a', 'b'],
    durability,
    inSyncMin,
    args: ['--engine', engine],
  })
  try {
    cluster.start('b')
    const db = await openDatabase(cluster.data('a'), {
      cluster: clusterName,
      node: 'a',
      listen: cluster.address('a'),
      coordinator: cluster.coordinator,
      durability,
      inSyncMin,
      engine,
    })
    await cluster.until('b', 'in sync', (shard) => shard.state === 'streaming' && shard.inSync.length === 2)
    const close = async () => {
      await db.close()
      await cluster.close()
    }
    return { db, cluster, close }
  } catch (error) {
    await cluster.close()
    throw error
  }
}

export async function openDatabase(
  directory: string,
  options: UnderstudyOptions<string, Uint8Array> = {},
): Promise<Database> {
  return open<string, Uint8Array>(directory, { ...options, keyEncoding: 'utf8', valueEncoding: 'buffer' })
}
