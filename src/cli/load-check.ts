/** Reads a whole node back over HTTP and holds it against the books of a load. */
import { createHash } from 'node:crypto'
import { type HttpClient, NoAnswer, refusalOf } from './http-client.js'
import { counterName, keyName, parseKeyName, valueText, versionOf } from './load-content.js'
import { keyStates, type LoadLedger } from './load-ledger.js'

export interface CheckResult {
  /** Position of the snapshot that was read. */
  readonly position: string
  readonly keys: number
  /** SHA-256 over all keys and values, in order. */
  readonly contentHash: string
  /** Acknowledged writes that are missing or older than what was acknowledged. */
  readonly lost: number
  /** Writes that were said not to have happened, and are there. */
  readonly refusedSeen: number
  readonly unknownSeen: number
  readonly unknownMissing: number
  /** Batches of unknown outcome of which a part is there. */
  readonly torn: number
  /** Values that are not what was written under their key. */
  readonly damaged: number
  /** The first few of whatever is wrong, in words. */
  readonly problems: readonly string[]
}

const problemsMax = 10

/** True if nothing that was acknowledged is missing and nothing is there that must not be. */
export function isSound(result: CheckResult): boolean {
  return result.lost + result.refusedSeen + result.torn + result.damaged === 0
}

/** The load must have stopped. Memory: one byte per key of the ledger, and one line of the answer at a time. */
export async function checkNode(
  client: HttpClient,
  url: string,
  ledger: LoadLedger,
  valueBytes: number,
): Promise<CheckResult> {
  const check = new Check(ledger, valueBytes)
  const answer = await client.open(url, { method: 'GET', path: '/v1/kv' })
  try {
    if (answer.statusCode !== 200) {
      const pieces: Buffer[] = []
      for await (const piece of answer) pieces.push(piece as Buffer)
      const said = refusalOf({ status: answer.statusCode ?? 0, headers: answer.headers, body: Buffer.concat(pieces) })
      throw new NoAnswer('UNAVAILABLE', `reading ${url} back: ${said.code}: ${said.message}`)
    }
    let rest: Buffer = Buffer.alloc(0)
    for await (const piece of answer) {
      rest = check.lines(rest.length === 0 ? (piece as Buffer) : Buffer.concat([rest, piece as Buffer]))
    }
    if (rest.length > 0) throw new NoAnswer('PROTOCOL', `the range of ${url} ended in the middle of a line`)
  } catch (error) {
    if (error instanceof NoAnswer) throw error
    throw new NoAnswer('UNAVAILABLE', `reading ${url} back: ${(error as Error).message}`, { cause: error })
  } finally {
    answer.destroy()
  }
  return check.finish(String(answer.headers['understudy-position']))
}

class Check {
  private readonly ledger: LoadLedger
  private readonly valueBytes: number
  private readonly hash = createHash('sha256')
  private readonly seen: Uint8Array
  private readonly versions: number[]
  private readonly problems: string[] = []
  private keys = 0
  private damaged = 0

  constructor(ledger: LoadLedger, valueBytes: number) {
    this.ledger = ledger
    this.valueBytes = valueBytes
    this.seen = new Uint8Array(ledger.keys)
    this.versions = ledger.counters.map(() => 0)
  }

  /** Takes the complete lines and returns what is left over. */
  lines(bytes: Buffer): Buffer {
    let start = 0
    for (;;) {
      const end = bytes.indexOf(0x0a, start)
      if (end === -1) break
      this.hash.update(bytes.subarray(start, end + 1))
      this.line(bytes.toString('utf8', start, end))
      start = end + 1
    }
    return bytes.subarray(start)
  }

  finish(position: string): CheckResult {
    let lost = 0
    let refusedSeen = 0
    let unknownSeen = 0
    let unknownMissing = 0
    for (let key = 0; key < this.seen.length; key++) {
      const isHere = this.seen[key] === 1
      const state = this.ledger.stateOf(key)
      if (state === keyStates.acknowledged && !isHere) {
        lost += 1
        this.problem(`${keyName(key)} was acknowledged and is missing`)
      } else if (state === keyStates.refused && isHere) {
        refusedSeen += 1
        this.problem(`${keyName(key)} was refused for certain and is there`)
      } else if (state === keyStates.unknown) {
        if (isHere) unknownSeen += 1
        else unknownMissing += 1
      }
    }
    for (const [counter, { acknowledged, sent, refused }] of this.ledger.counters.entries()) {
      const version = this.versions[counter]!
      const name = counterName(counter)
      if (version < acknowledged) {
        lost += 1
        this.problem(`${name} is at version ${version}; ${acknowledged} was acknowledged`)
      } else if (refused.has(version) || version > sent) {
        refusedSeen += 1
        this.problem(`${name} is at version ${version}, which was ${version > sent ? 'never sent' : 'refused'}`)
      }
    }
    return {
      position,
      keys: this.keys,
      contentHash: this.hash.digest('hex'),
      lost,
      refusedSeen,
      unknownSeen,
      unknownMissing,
      torn: this.tornBatches(),
      damaged: this.damaged,
      problems: this.problems,
    }
  }

  private tornBatches(): number {
    let torn = 0
    for (const { from, to, counter, version } of this.ledger.unknownBatches) {
      let present = 0
      for (let key = from; key < to; key++) present += this.seen[key]!
      const counterVersion = counter === undefined ? undefined : this.versions[counter]!
      // A counter that went on afterwards says nothing about this batch.
      const contradicts =
        counterVersion !== undefined &&
        ((present === to - from && counterVersion < version) || (present === 0 && counterVersion === version))
      if ((present !== 0 && present !== to - from) || contradicts) {
        torn += 1
        this.problem(`${present} of ${to - from} keys of the batch from ${keyName(from)} on are there`)
      }
    }
    return torn
  }

  private line(text: string): void {
    const { key, value } = JSON.parse(text) as { readonly key?: string; readonly value?: string }
    this.keys += 1
    const parsed = key === undefined ? undefined : parseKeyName(key)
    if (key === undefined || value === undefined || parsed === undefined) return
    const version = versionOf(value)
    if (value !== valueText(parsed.number, version, this.valueBytes)) {
      this.damaged += 1
      this.problem(`${key} holds ${JSON.stringify(value.slice(0, 40))}, which was never written to it`)
      return
    }
    if (parsed.type === 'key') this.seen[parsed.number] = 1
    else this.versions[parsed.number] = version
  }

  private problem(text: string): void {
    if (this.problems.length < problemsMax) this.problems.push(text)
  }
}
