import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Block } from '#src/core/entry.js'
import type { Position } from '#src/core/position.js'
import { JournalWatch, readAll, SampleBlocks, sampleBase, sampleIdentity } from '#src/journal/sample-blocks.js'
import type { Journal, JournalFactory } from '#src/ports/journal.js'
import { type PowerLoss, SimulatedDisk, type UnsyncedChange } from '#src/sim/disk.js'
import { ManualClock, SeededRandom, settle, simulatedFactory } from './support.js'

const start = { base: sampleBase, epochs: [] }
const segmentPath = '/journal/00000000000000000001.journal'

describe('power loss', () => {
  test('of several blocks in flight the later ones are kept and an earlier one is lost: all are cut', async () => {
    const disk = new SimulatedDisk()
    const factory = simulatedFactory(disk.process())
    const journal = await factory.create('/journal', sampleIdentity, start, new JournalWatch())
    const blocks = new SampleBlocks()
    journal.append([blocks.next()])
    await journal.mark()
    const durable = journal.durable
    disk.fault = (operation) => (operation === 'datasync' ? new Error('never returns') : undefined)
    journal.append(blocks.many(4, { valueBytes: 600 }))
    await settle()
    const writes = disk.unsynced(true).filter((change) => change.path === segmentPath)
    assert.ok(writes.length >= 4)
    for (const lost of writes.slice(0, -1)) {
      const copy = disk.clone()
      copy.crash({ sectors: true, keep: (change) => change.path !== segmentPath || change.offset !== lost.offset })
      const opened = await simulatedFactory(copy.process()).open('/journal', sampleIdentity, new JournalWatch())
      assert.ok(opened.cutBytes > 0)
      const found = await readAll(opened.journal)
      assert.ok(opened.journal.durable.sequence >= durable.sequence && opened.journal.durable.sequence < 5)
      assert.equal(found.at(-1)?.end.chain, opened.journal.durable.chain)
      await opened.journal.close()
    }
  })

  test('recovery gives the same answer however often it runs', async () => {
    const { disk } = await workload(11, 40)
    disk.crash({ keep: (change) => change.index % 3 !== 0, sectors: true })
    let first: Position | undefined
    for (let round = 0; round < 4; round++) {
      const opened = await simulatedFactory(disk.process()).open('/journal', sampleIdentity, new JournalWatch())
      first ??= opened.journal.durable
      assert.deepEqual(opened.journal.durable, first)
      if (round > 0) assert.equal(opened.cutBytes, 0)
      // Power is lost right after: what was reported durable must not rest in the cache.
      disk.crash({ keep: 'none' })
    }
  })

  test('J3: what a killed process left unsynced is on the disk before recovery reports it', async () => {
    const disk = new SimulatedDisk()
    const process = disk.process()
    const journal = await simulatedFactory(process).create('/journal', sampleIdentity, start, new JournalWatch())
    disk.latency = (operation) => (operation === 'datasync' ? new Promise(() => undefined) : undefined)
    journal.append(new SampleBlocks().many(4, { valueBytes: 600 }))
    await settle()
    process.kill()
    disk.latency = undefined
    const recovered = await simulatedFactory(disk.process()).open('/journal', sampleIdentity, new JournalWatch())
    const { durable } = recovered.journal
    assert.equal(durable.sequence, 4, 'the page cache lives on')
    disk.crash({ keep: 'none' })
    const opened = await simulatedFactory(disk.process()).open('/journal', sampleIdentity, new JournalWatch())
    assert.deepEqual(opened.journal.durable, durable)
    await opened.journal.close()
  })

  test('J3: durable positions reported before any loss of power are there after it, on every seed', async () => {
    const seeds = Number(process.env.UNDERSTUDY_SEEDS ?? 60)
    const first = Number(process.env.UNDERSTUDY_SEED ?? 1)
    for (let seed = first; seed < first + seeds; seed++) {
      try {
        await new Ordeal(seed).run()
      } catch (error) {
        throw new Error(`seed ${seed}: ${error instanceof Error ? error.stack : error}`)
      }
    }
  })
})

async function workload(seed: number, steps: number): Promise<{ disk: SimulatedDisk }> {
  const random = new SeededRandom(seed)
  const disk = new SimulatedDisk()
  const journal = await simulatedFactory(disk.process()).create('/journal', sampleIdentity, start, new JournalWatch())
  const blocks = new SampleBlocks()
  for (let step = 0; step < steps; step++) {
    journal.append(blocks.many(1 + random.below(4), { valueBytes: random.below(3000) }))
    await settle(random.below(12))
  }
  return { disk }
}

/** Random work on one directory, with the power lost at a random operation of the disk, again and again. */
class Ordeal {
  private readonly random: SeededRandom
  private readonly disk = new SimulatedDisk()
  private process = this.disk.process()
  private readonly clock = new ManualClock()
  private readonly crashed: Array<() => void> = []
  /** Everything ever appended, by chain, and the history that stands now. */
  private history: Block[] = []
  private epoch = 1
  private reported: Position = sampleBase
  private committed = 0
  private marked = 0
  private cuttingTo: Position | undefined
  private trimmedTo = 0
  private operations = 0
  private crashAt = 0
  private crashes = 0

  constructor(seed: number) {
    this.random = new SeededRandom(seed)
    this.disk.fault = () => {
      if (++this.operations === this.crashAt) this.crash()
      return undefined
    }
  }

  /** Mostly the power goes; sometimes only the process dies, and the page cache lives on. */
  private crash(): void {
    this.crashes += 1
    if (this.random.next() < 0.3) this.process.kill()
    else this.losePower()
    for (const resolve of this.crashed.splice(0)) resolve()
  }

  private losePower(): void {
    const share = this.random.next()
    const keep: PowerLoss['keep'] =
      share < 0.15 ? 'none' : share > 0.85 ? 'all' : (_: UnsyncedChange) => this.random.next() < share
    this.disk.crash({ keep, sectors: this.random.next() < 0.7 })
  }

  private newFactory(): JournalFactory {
    this.process = this.disk.process()
    return simulatedFactory(this.process, { clock: this.clock, random: this.random })
  }

  /** Undefined if the power went before it was done. */
  private async during<T>(work: () => Promise<T>): Promise<T | undefined> {
    // Before it begins: the first operation of the disk may be the last one.
    const crash = new Promise<undefined>((resolve) => this.crashed.push(() => resolve(undefined)))
    const { crashes } = this
    const result = await Promise.race([work(), crash])
    // It may have ended, and the power gone in what it left to be done, before this is heard of.
    return this.crashes === crashes ? result : undefined
  }

  private watch(): JournalWatch {
    const watch = new JournalWatch()
    watch.onDurable = (position) => {
      this.reported = position
    }
    return watch
  }

  async run(): Promise<void> {
    const factory = this.newFactory()
    let journal: Journal | undefined = await factory.create('/journal', sampleIdentity, start, this.watch())
    for (let round = 0; round < 4; round++) {
      this.crashAt = this.operations + 1 + this.random.below(120)
      if (journal !== undefined) await this.work(journal)
      this.crashAt = this.operations + 1 + this.random.below(60)
      journal = await this.recover()
    }
    this.crashAt = 0
    await journal?.close()
  }

  private async work(journal: Journal): Promise<void> {
    const blocks = new SampleBlocks(journal.durable, { number: ++this.epoch, node: 'a' })
    for (let step = 0; step < 200; step++) {
      const dice = this.random.next()
      let done: unknown = true
      if (dice < 0.65) {
        const made = blocks.many(1 + this.random.below(3), { valueBytes: this.random.below(6000) })
        this.history.push(...made)
        journal.append(made)
        await settle(this.random.below(20))
      } else if (dice < 0.72) {
        const { sequence } = journal.appended
        const committed = Math.min(this.committed, sequence)
        done = await this.during(() => journal.mark().then(() => true))
        if (done === true) this.marked = Math.max(this.marked, committed)
      } else if (dice < 0.8) {
        this.committed = Math.max(this.committed, this.random.below(journal.appended.sequence + 1))
        journal.noteCommitted(this.committed)
        this.clock.advance(25)
        await settle(this.random.below(20))
      } else if (dice < 0.85) {
        const most =
          this.random.next() < 0.5 ? journal.durable.sequence : this.random.below(journal.durable.sequence + 1)
        this.trimmedTo = Math.max(this.trimmedTo, most)
        done = await this.during(() => journal.trim(this.trimmedTo).then(() => true))
      } else if (dice < 0.94) {
        done = await this.cut(journal, blocks)
      } else {
        done = await this.during(() => journal.close().then(() => true))
        if (done === true) {
          this.crash()
          return
        }
      }
      if (done === undefined || this.operations >= this.crashAt) return
    }
    this.crash()
  }

  private async cut(journal: Journal, blocks: SampleBlocks): Promise<unknown> {
    const candidates = this.history.filter((block) => block.end.sequence >= journal.base.sequence)
    const to = candidates[this.random.below(candidates.length)]?.end ?? journal.base
    this.cuttingTo = to
    const done = await this.during(() => journal.truncate(to).then(() => true))
    if (done === undefined) return undefined
    this.cutTo(to)
    blocks.end = to
    return true
  }

  private cutTo(to: Position): void {
    this.cuttingTo = undefined
    this.history = this.history.filter((block) => block.end.sequence <= to.sequence)
    if (this.reported.sequence > to.sequence) this.reported = to
    this.committed = Math.min(this.committed, to.sequence)
    this.marked = Math.min(this.marked, to.sequence)
  }

  /** Opens as often as it takes: the power may go during recovery too. */
  private async recover(): Promise<Journal> {
    for (let attempt = 0; ; attempt++) {
      if (attempt === 4) this.crashAt = 0
      const opened = await this.during(() => this.newFactory().open('/journal', sampleIdentity, this.watch()))
      if (opened === undefined) continue
      this.crashAt = 0
      await this.verify(opened.journal)
      return opened.journal
    }
  }

  private async verify(journal: Journal): Promise<void> {
    const { durable, base } = journal
    if (this.cuttingTo !== undefined && durable.chain === this.cuttingTo.chain) this.cutTo(this.cuttingTo)
    this.cuttingTo = undefined
    assert.ok(durable.sequence >= this.reported.sequence, `${durable.sequence} is not below ${this.reported.sequence}`)
    assert.ok(base.sequence <= this.trimmedTo, 'nothing is trimmed that was not to be')
    const expected = this.history.filter(
      (block) => block.end.sequence > base.sequence && block.end.sequence <= durable.sequence,
    )
    const found = await readAll(journal)
    assert.deepEqual(
      found.map((block) => block.end),
      expected.map((block) => block.end),
    )
    assert.ok(
      found.every((block, index) => Buffer.from(block.bytes).equals(expected[index]?.bytes ?? new Uint8Array(0))),
    )
    assert.ok(journal.committedMark >= this.marked, `committed ${journal.committedMark} is not below ${this.marked}`)
    assert.ok(journal.committedMark <= Math.max(this.committed, base.sequence), 'only what was committed is')
    const epochs = journal.epochs.filter((epoch) => epoch.firstSequence > base.sequence)
    assert.deepEqual(
      epochs.map((epoch) => epoch.firstSequence),
      expected.filter((block) => block.header.epochStart).map((block) => block.header.firstSequence),
    )
    this.history = this.history.filter((block) => block.end.sequence <= durable.sequence)
    this.reported = durable
    this.committed = journal.committedMark
  }
}
