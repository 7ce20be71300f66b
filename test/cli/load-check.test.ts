import assert from 'node:assert/strict'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, test } from 'node:test'
import { HttpClient, NoAnswer } from '#src/cli/http-client.js'
import { checkNode, isSound } from '#src/cli/load-check.js'
import { counterName, keyName, valueText } from '#src/cli/load-content.js'
import { LoadLedger, type WriteOutcome } from '#src/cli/load-ledger.js'

const valueBytes = 60
const client = new HttpClient({ connectionsMax: 2, timeoutMs: 5_000 })
let server: Server | undefined

/** A node that holds exactly these pairs; cut: its answer ends in the middle. */
async function serve(pairs: ReadonlyArray<readonly [string, string]>, cut = false): Promise<string> {
  const lines = pairs.map(([key, value]) => `${JSON.stringify({ key, value })}\n`).join('')
  server = createServer((_request, response) => {
    response.setHeader('Understudy-Position', '1@a.9')
    // Pieces that end anywhere, as on a network.
    for (let at = 0; at < lines.length; at += 37) response.write(lines.slice(at, at + 37))
    if (cut) response.destroy()
    else response.end()
  })
  await new Promise<void>((resolve) => server!.listen(0, '127.0.0.1', resolve))
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

afterEach(() => {
  server?.close()
  server?.closeAllConnections()
  server = undefined
})

const key = (number: number): readonly [string, string] => [keyName(number), valueText(number, 0, valueBytes)]
const counter = (number: number, version: number): readonly [string, string] => [
  counterName(number),
  valueText(number, version, valueBytes),
]

/** One write per outcome: keys, and the version of the only counter if any. */
function ledgerOf(writes: ReadonlyArray<{ keys: number; counted?: boolean; outcome: WriteOutcome }>): LoadLedger {
  const ledger = new LoadLedger(1)
  for (const { keys, counted, outcome } of writes) {
    ledger.end(ledger.begin(keys, counted === true ? 0 : undefined), outcome)
  }
  return ledger
}

describe('F46: the check of what was read back finds what is wrong', () => {
  test('nothing, where everything that was acknowledged is there', async () => {
    const ledger = ledgerOf([
      { keys: 2, counted: true, outcome: 'acknowledged' },
      { keys: 1, outcome: 'unknown' },
      { keys: 1, outcome: 'refused' },
    ])
    const result = await checkNode(client, await serve([counter(0, 1), key(0), key(1), key(2)]), ledger, valueBytes)
    assert.ok(isSound(result), JSON.stringify(result))
    assert.equal(result.keys, 4)
    assert.equal(result.unknownSeen, 1)
    assert.equal(result.position, '1@a.9')
  })

  test('a key that was acknowledged and is missing', async () => {
    const ledger = ledgerOf([{ keys: 2, outcome: 'acknowledged' }])
    const result = await checkNode(client, await serve([key(1)]), ledger, valueBytes)
    assert.equal(result.lost, 1)
    assert.match(result.problems[0]!, /0000000000 was acknowledged and is missing/)
  })

  test('a counter that is older than what was acknowledged', async () => {
    const ledger = ledgerOf([
      { keys: 0, counted: true, outcome: 'acknowledged' },
      { keys: 0, counted: true, outcome: 'acknowledged' },
    ])
    const result = await checkNode(client, await serve([counter(0, 1)]), ledger, valueBytes)
    assert.equal(result.lost, 1)
  })

  test('writes that were refused for certain and are there', async () => {
    const ledger = ledgerOf([
      { keys: 1, outcome: 'refused' },
      { keys: 0, counted: true, outcome: 'refused' },
    ])
    const result = await checkNode(client, await serve([counter(0, 1), key(0)]), ledger, valueBytes)
    assert.equal(result.refusedSeen, 2)
    assert.ok(!isSound(result))
  })

  test('a batch of unknown outcome of which a part is there', async () => {
    const ledger = ledgerOf([{ keys: 3, outcome: 'unknown' }])
    const result = await checkNode(client, await serve([key(0), key(2)]), ledger, valueBytes)
    assert.equal(result.torn, 1)
    assert.ok(!isSound(result))
  })

  test('a value that was never written', async () => {
    const ledger = ledgerOf([{ keys: 1, outcome: 'acknowledged' }])
    const [name, value] = key(0)
    const result = await checkNode(client, await serve([[name, `${value.slice(0, -1)}#`]]), ledger, valueBytes)
    assert.equal(result.damaged, 1)
    assert.equal(result.lost, 1)
  })

  test('an answer that ends early is no answer', async () => {
    const ledger = ledgerOf([{ keys: 40, outcome: 'acknowledged' }])
    const pairs = Array.from({ length: 40 }, (_, number) => key(number))
    const url = await serve(pairs, true)
    await assert.rejects(() => checkNode(client, url, ledger, valueBytes), NoAnswer)
  })

  test('contents that differ have different hashes', async () => {
    const ledger = new LoadLedger(0)
    const hashes: string[] = []
    for (const pairs of [[key(0), key(1)], [key(0)], [key(0), counter(0, 1)]]) {
      hashes.push((await checkNode(client, await serve(pairs), ledger, valueBytes)).contentHash)
      server?.close()
    }
    assert.equal(new Set(hashes).size, 3)
  })
})
