import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { File, FileSystem } from '#src/ports/file-system.js'
import type { ShardContext } from '#src/runtime/shard-context.js'
import { failureOf, put, TestCluster, until, untilInSync } from '../support/cluster.js'

const beatsMin = 4

/** Files whose journal waits for its disk while `gate` is there; small files are synced as ever. */
function gatedJournal(files: FileSystem, gate: () => Promise<void> | undefined): FileSystem {
  const wrap = (file: File): File =>
    new Proxy(file, {
      get(target, name) {
        const value = Reflect.get(target, name, target)
        if (name === 'datasync') return () => Promise.resolve(gate()).then(() => target.datasync())
        return typeof value === 'function' ? value.bind(target) : value
      },
    })
  return new Proxy(files, {
    get(target, name) {
      const value = Reflect.get(target, name, target)
      if (name === 'open') return async (...args: Parameters<FileSystem['open']>) => wrap(await target.open(...args))
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}

function contextOf(cluster: TestCluster, name: string): ShardContext {
  return (cluster.shard(name) as unknown as { readonly context: ShardContext }).context
}

test('L6: before the first block of its epoch is committed a primary tells nobody how fresh the data is', {
  timeout: 60_000,
}, async () => {
  const settings = { failoverMs: 4_000, inSyncTimeoutMs: 4_000 }
  const cluster = new TestCluster({ storage: 'simulated', coordinator: 'memory', settings })
  const filesOf = cluster.files.bind(cluster)
  let gate: Promise<void> | undefined
  let release = () => {}
  let slow: string | undefined
  cluster.files = (name) => gatedJournal(filesOf(name), () => (name === slow ? gate : undefined))
  try {
    await cluster.startAll()
    await untilInSync(cluster, 'a', cluster.names)
    await cluster.shard('a').write([put('k', 'v')])
    // Whoever follows the next primary stores nothing of what that sends.
    for (const name of ['b', 'c']) {
      cluster.shard(name).subscribe((event) => {
        if (event.type !== 'transition' || event.to !== 'catching-up' || slow !== undefined) return
        slow = name
        gate = new Promise((resolve) => {
          release = resolve
        })
      })
    }
    cluster.kill('a')
    await until(() => slow !== undefined, 'one of the others follows the next primary')
    const next = slow === 'b' ? 'c' : 'b'
    const lease = () => contextOf(cluster, next).primary?.lease
    await until(() => lease()?.isHeld === true, 'the next primary has its lease')
    let validUntilMs = lease()?.validUntilMs
    // Each renewal comes with a heartbeat, and freshness is told with each of them.
    for (let beats = 0; beats < beatsMin; beats++) {
      await until(() => lease()?.validUntilMs !== validUntilMs, 'the lease is renewed')
      validUntilMs = lease()?.validUntilMs
    }
    assert.equal(cluster.shard(next).state, 'promoting')
    const error = await failureOf(cluster.shard(slow!).fresh({ maxLagMs: 60_000 }))
    assert.equal(error.code, 'UNDERSTUDY_LAG_EXCEEDED')
    release()
    await until(() => cluster.shard(next).state === 'primary', 'its first block is committed')
    await until(() => cluster.shard(slow!).status().lagMs !== undefined, 'now it is told')
  } finally {
    release()
    await cluster.close()
  }
})
