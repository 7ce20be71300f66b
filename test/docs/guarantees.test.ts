/** Figures that docs/GUARANTEES.md promises are those of the code. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { limits } from '#src/core/limits.js'
import { timingsOf } from '#src/core/timings.js'

const page = readFileSync(new URL('../../../docs/GUARANTEES.md', import.meta.url), 'utf8')
const prose = page.replaceAll(/\s+/g, ' ')
const number = (value: number) => value.toLocaleString('en-US')
const KiB = 1024
const MiB = 1024 * KiB

test('figures in docs/GUARANTEES.md are those of the code', () => {
  const { leaseMs, failoverMs } = timingsOf({ failoverMs: 1000, inSyncTimeoutMs: 1000 })
  for (const text of [
    `${limits.keyBytesMax / KiB} KiB, ${limits.valueBytesMax / MiB} MiB, ${limits.batchBytesMax / MiB} MiB and ${number(limits.batchOperationsMax)} operations`,
    `${number(limits.familiesMax)}, names of ${limits.familyNameBytesMax} bytes`,
    `| nodes | ${limits.membersMax} |`,
    `${number(limits.writesQueuedMax)} and ${limits.writeBytesQueuedMax / MiB} MiB, then \`BACKPRESSURE\``,
    `${limits.writeTimeoutMs / 1000} s by default, ${limits.writeTimeoutMsMax / 60_000} min at most`,
    `| journal blocks in flight | ${limits.blocksInFlightMax} |`,
    `more than ${number(limits.forwardsInFlightMax)} writes or ${limits.writeBytesQueuedMax / MiB} MiB wait`,
    `(${leaseMs / failoverMs} \`failoverMs\`)`,
    `At most ${limits.divergentFilesMax} side files and ${limits.divergentBytesMax / (1024 * MiB)} GiB are kept`,
    `at most ${number(limits.clearPieceKeysMax)} keys`,
    `within ${limits.idleMarkMs} ms of idleness`,
    `\`slotRetainBytes\` (${limits.slotRetainBytesMax / (1024 * MiB)} GiB) and a day`,
    `\`peerSilenceMs\` (${limits.peerSilenceMs / 1000} s)`,
  ]) {
    assert.ok(prose.includes(text), text)
  }
  assert.equal(limits.slotTtlMs, 24 * 3600_000)
  assert.equal(limits.checkpointIntervalMs, 60_000, '"what was written in a minute"')
})
