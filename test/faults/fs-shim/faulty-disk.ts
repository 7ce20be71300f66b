/** The disk of one process, of which single operations fail below the process; see fs-shim.c. */
import { closeSync, mkdirSync, openSync, readSync, writeSync } from 'node:fs'
import { constants } from 'node:os'
import { join } from 'node:path'
import { shimLibrary } from './shim-library.js'

/** As in fs-shim.c. `sync` is fsync and fdatasync, of files and of directories. */
const callBits = {
  open: 1,
  read: 2,
  write: 4,
  sync: 8,
  truncate: 16,
  rename: 32,
  unlink: 64,
  mkdir: 128,
  allocate: 256,
} as const
export type FileCall = keyof typeof callBits

const actions = { fail: 0, short: 1, delay: 2, drop: 3, hang: 4 } as const
/**
 * `fail`: nothing is done, and the error returned. `short`: half of the bytes, no error. `delay`: done later. `drop`: the sync
 * fails, and what was written since the last one is gone. `hang`: nothing returns until the rule is taken away.
 */
export type FaultAction = keyof typeof actions

export interface FaultRule {
  /** Of the whole path, as `fnmatch` compares: `*` is any text, `/` too. */
  readonly path: string
  readonly calls: readonly FileCall[]
  readonly action?: FaultAction
  readonly error?: 'EIO' | 'ENOSPC' | 'EMFILE'
  /** So many calls pass first. */
  readonly after?: number
  /** So many are hit at most; default: all. */
  readonly count?: number
  /** How likely each of them is hit; default 1. Which ones follows from the seed. */
  readonly probability?: number
  readonly seed?: number
  readonly delayMs?: number
}

const ruleBytes = 512
const rulesMax = 64
const matchedAt = 32
const injectedAt = 40
const patternAt = 64

export class FaultyDisk {
  /** Command before that of the process. */
  readonly launcher: readonly string[]
  /** What a loss of power would undo; written only if it was asked for. */
  readonly undoFile: string
  private readonly file: number
  private used = 0

  constructor(directory: string, name: string, options: { readonly undo?: boolean } = {}) {
    const library = shimLibrary()
    if (typeof library !== 'string') throw new Error(`file operations cannot be made to fail: ${library.unavailable}`)
    mkdirSync(directory, { recursive: true })
    const rules = join(directory, `${name}.rules`)
    this.undoFile = join(directory, `${name}.undo`)
    this.file = openSync(rules, 'w+')
    writeSync(this.file, new Uint8Array(ruleBytes * rulesMax), 0, ruleBytes * rulesMax, 0)
    this.launcher = [
      'env',
      // A sanitizer that is loaded already stays in front.
      `LD_PRELOAD=${process.env.LD_PRELOAD ?? ''} ${library}`,
      `FS_SHIM_RULES=${rules}`,
      ...(options.undo === true ? [`FS_SHIM_UNDO=${this.undoFile}`] : []),
    ]
  }

  /** From now on, also in a process that is started later. */
  fault(rule: FaultRule): Fault {
    if (this.used === rulesMax) throw new Error(`at most ${rulesMax} rules`)
    const offset = ruleBytes * this.used++
    const bytes = Buffer.alloc(ruleBytes)
    bytes.writeUInt32LE(
      rule.calls.reduce((bits, call) => bits | callBits[call], 0),
      4,
    )
    bytes.writeInt32LE(constants.errno[rule.error ?? 'EIO'], 8)
    bytes.writeUInt32LE(actions[rule.action ?? 'fail'], 12)
    bytes.writeUInt32LE(rule.after ?? 0, 16)
    bytes.writeUInt32LE(rule.count ?? 0, 20)
    bytes.writeUInt32LE(Math.round(1_000_000 * (rule.probability ?? 1)), 24)
    bytes.writeUInt32LE(rule.delayMs ?? 0, 28)
    bytes.writeUInt32LE(rule.seed ?? 1, 48)
    if (bytes.write(rule.path, patternAt, ruleBytes - patternAt - 1, 'utf8') !== Buffer.byteLength(rule.path)) {
      throw new Error(`a path of at most ${ruleBytes - patternAt - 1} bytes: ${rule.path}`)
    }
    writeSync(this.file, bytes, 0, ruleBytes, offset)
    // The process looks at the rest of a rule only when it is enabled.
    writeSync(this.file, Buffer.of(1), 0, 1, offset)
    return new Fault(this.file, offset, rule)
  }

  /** Nothing fails any more. */
  heal(): void {
    for (let index = 0; index < this.used; index++) writeSync(this.file, Buffer.alloc(4), 0, 4, ruleBytes * index)
  }

  close(): void {
    closeSync(this.file)
  }
}

export class Fault {
  readonly rule: FaultRule
  private readonly file: number
  private readonly offset: number

  constructor(file: number, offset: number, rule: FaultRule) {
    this.file = file
    this.offset = offset
    this.rule = rule
  }

  /** Calls that were made to fail. */
  get injected(): number {
    return this.counter(injectedAt)
  }

  /** Calls that the rule was about, whether they were hit or not. */
  get matched(): number {
    return this.counter(matchedAt)
  }

  remove(): void {
    writeSync(this.file, Buffer.alloc(4), 0, 4, this.offset)
  }

  /** Waits until the process has met it so often. */
  async until(injected = 1, timeoutMs = 30_000): Promise<void> {
    const endMs = performance.now() + timeoutMs
    while (this.injected < injected) {
      if (performance.now() > endMs) {
        const { path, calls } = this.rule
        throw new Error(
          `not within ${timeoutMs} ms: ${calls.join(' or ')} of ${path} to fail; ${this.matched} calls, ${this.injected} hit`,
        )
      }
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
  }

  private counter(at: number): number {
    const bytes = Buffer.alloc(8)
    readSync(this.file, bytes, 0, 8, this.offset + at)
    return Number(bytes.readBigUInt64LE())
  }
}
