import assert from 'node:assert/strict'
import { encodeBlock } from '../../codec/block.js'
import { chainZero } from '../../codec/digest.js'
import type { Block, Operation } from '../../core/entry.js'
import type { FailureCode } from '../../core/failure.js'
import { type Epoch, epochZero, type Position } from '../../core/position.js'
import { isFailure } from '../../errors.js'
import type { Engine, EngineFactory, EngineIterator, ScanOptions } from '../../ports/engine.js'

/** One behaviour that every engine must show; `run` throws where it does not. */
export interface EngineCase {
  readonly name: string
  run(): Promise<void>
}

export interface EngineConformanceOptions {
  readonly factory: EngineFactory
  /** A new empty directory, and how to get rid of it. */
  readonly makeDirectory: () => Promise<string>
  readonly removeDirectory: (directory: string) => Promise<void>
  /** Seeds of the property cases; each is one case. */
  readonly seeds?: readonly number[]
}

/** A primary's journal in memory: blocks with the right chain, one after another. */
export class Journal {
  readonly blocks: Block[] = []
  readonly empty: Position
  private readonly epoch: Epoch = { number: 1, node: 'a' }

  constructor(historyId = '0123456789abcdef0123456789abcdef') {
    this.empty = { epoch: epochZero, sequence: 0, chain: chainZero(historyId, 'main') }
  }

  get end(): Position {
    return this.blocks.at(-1)?.end ?? this.empty
  }

  /** One block; each argument is one entry. */
  append(...entries: readonly (readonly Operation[])[]): Block {
    const origin = { node: 'a', boot: '00000000000000aa' }
    const { sequence, chain } = this.end
    const block = encodeBlock({
      epoch: this.epoch,
      firstSequence: sequence + 1,
      timestampMs: 1_700_000_000_000 + sequence,
      committed: sequence,
      flushedBefore: sequence,
      chainBefore: chain,
      epochStart: false,
      entries: entries.map((operations, index) => ({ origin, request: sequence + 1 + index, operations })),
    })
    this.blocks.push(block)
    return block
  }
}

/** What a case works with: an open engine in its own directory, and the journal that feeds it. */
export class Fixture {
  readonly journal = new Journal()
  readonly factory: EngineFactory
  readonly directory: string
  engine: Engine

  constructor(factory: EngineFactory, directory: string, engine: Engine) {
    this.factory = factory
    this.directory = directory
    this.engine = engine
  }

  /** Appends one block and applies it. */
  async apply(...entries: readonly (readonly Operation[])[]): Promise<void> {
    await this.engine.apply([this.journal.append(...entries)])
  }

  /** Opens the engine again, as a new process would after a clean end. */
  async reopen(): Promise<void> {
    await this.engine.close()
    this.engine = await this.factory.open(this.directory, this.journal.empty)
  }

  /** Replays the journal as the runtime does after a start: from the checkpoint on. */
  async replay(): Promise<void> {
    const from = this.engine.opened.checkpoint?.sequence ?? 0
    const blocks = this.journal.blocks.filter((block) => block.header.firstSequence > from)
    for (const block of blocks) await this.engine.apply([block])
  }
}

export type CaseBody = (fixture: Fixture) => Promise<void>

/** Turns a body into a case with its own engine, closed and removed in the end whatever happens. */
export function caseMaker(options: EngineConformanceOptions): (name: string, body: CaseBody) => EngineCase {
  const { factory } = options
  return (name, body) => ({
    name,
    async run() {
      const directory = await options.makeDirectory()
      try {
        const journal = new Journal()
        const fixture = new Fixture(factory, directory, await factory.open(directory, journal.empty))
        try {
          await body(fixture)
        } finally {
          await fixture.engine.close()
        }
      } finally {
        await options.removeDirectory(directory)
      }
    },
  })
}

export function bytesOf(text: string | readonly number[]): Uint8Array {
  return typeof text === 'string' ? Buffer.from(text) : Buffer.from(text)
}

export function put(key: string | readonly number[], value: string | readonly number[], family = 0): Operation {
  return { type: 'put', family, key: bytesOf(key), value: bytesOf(value) }
}

export function del(key: string | readonly number[], family = 0): Operation {
  return { type: 'del', family, key: bytesOf(key) }
}

export function delRange(start: string | readonly number[], end: string | readonly number[], family = 0): Operation {
  return { type: 'delRange', family, start: bytesOf(start), end: bytesOf(end) }
}

export function create(family: number, name: string): Operation {
  return { type: 'createFamily', family, name }
}

export function drop(family: number): Operation {
  return { type: 'dropFamily', family }
}

export async function readAll(
  iterator: EngineIterator,
  size = 1000,
): Promise<Array<readonly [key: string, value: string]>> {
  const found: Array<readonly [string, string]> = []
  try {
    for (;;) {
      const entries = await iterator.next(size)
      assert.ok(entries.length <= size, 'a step hands over no more than asked for')
      if (entries.length === 0) return found
      for (const [key, value] of entries) found.push([text(key), text(value)])
    }
  } finally {
    await iterator.close()
  }
}

/** Entries as text; bytes that are not UTF-8 do not occur in cases that use it. */
export async function scanned(engine: Engine, family = 0, options: ScanOptions = {}): Promise<string> {
  const entries = await readAll(engine.scan(family, options))
  return entries.map(([key, value]) => `${key}=${value}`).join(' ')
}

export function text(bytes: Uint8Array | undefined): string {
  assert.ok(bytes !== undefined, 'there is a value')
  return Buffer.from(bytes).toString()
}

export async function rejectsWith(code: FailureCode, work: () => Promise<unknown>): Promise<void> {
  await assert.rejects(work, (error) => {
    assert.ok(isFailure(error, code), `expected ${code}, found ${String(error)}`)
    return true
  })
}

/** A small generator of numbers in [0, 2^32), the same for a seed everywhere (mulberry32). */
export function generator(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return (mixed ^ (mixed >>> 14)) >>> 0
  }
}
