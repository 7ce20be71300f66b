// Copies a classic-level directory into an understudy-db directory, or out again, byte by byte:
//   node move-from-level.mjs OLD NEW          node move-from-level.mjs --out DATA COPY
// May be repeated after a crash: it writes the same again, and compares all of it at the end.
import { existsSync } from 'node:fs'
import { ClassicLevel } from 'classic-level'
import { Understudy } from 'understudy-db'

const bytes = { keyEncoding: 'view', valueEncoding: 'view' }
/** Of one batch: atomic, and well below the limit of 64 MiB. */
const batchBytes = 1024 * 1024

async function copy(source, target) {
  let entries = 0
  let batch = []
  let size = 0
  for await (const [key, value] of source.iterator(bytes)) {
    batch.push({ type: 'put', key, value })
    size += key.length + value.length
    entries += 1
    if (size < batchBytes) continue
    await target.batch(batch, bytes)
    batch = []
    size = 0
  }
  if (batch.length > 0) await target.batch(batch, bytes)
  return entries
}

/** Both at once, in order: the same keys with the same values, and nothing else. */
async function compare(source, target) {
  const copied = target.iterator(bytes)
  try {
    for await (const [key, value] of source.iterator(bytes)) {
      const found = await copied.next()
      const same = found !== undefined && Buffer.compare(found[0], key) === 0 && Buffer.compare(found[1], value) === 0
      if (!same) throw new Error(`key ${Buffer.from(key).toString('hex')} differs`)
    }
    const more = await copied.next()
    if (more !== undefined) throw new Error(`key ${Buffer.from(more[0]).toString('hex')} is in the copy only`)
  } finally {
    await copied.close()
  }
}

const isOut = process.argv[2] === '--out'
const [from, to] = process.argv.slice(isOut ? 3 : 2)
if (from === undefined || to === undefined || !existsSync(from)) {
  console.error('usage: node move-from-level.mjs [--out] EXISTING-DIRECTORY NEW-DIRECTORY')
  process.exit(2)
}
const source = isOut
  ? new Understudy(from, { createIfMissing: false })
  : new ClassicLevel(from, { createIfMissing: false })
const target = isOut ? new ClassicLevel(to) : new Understudy(to)
try {
  await source.open()
  await target.open()
  const entries = await copy(source, target)
  await compare(source, target)
  console.log(`${entries} entries moved from ${from} to ${to}, and compared`)
} finally {
  await target.close()
  await source.close()
}
