/** One cell of the matrix: rounds of one kind of fault on one cluster with one coordinator and one durability. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ClusterProcesses, type NodePlace } from '#src/cli/cluster-processes.js'
import { FaultyDisk } from '../fs-shim/faulty-disk.js'
import { Clients } from './clients.js'
import {
  type CoordinatorKind,
  type CoordinatorProcesses,
  coordinatorNames,
  EtcdProcesses,
  noCoordinator,
  witness,
  witnessOf,
} from './coordinators.js'
import type { FaultKind, FaultTimes } from './kinds.js'
import { Monitor } from './monitor.js'
import type { Network } from './network.js'
import { RoundBook } from './round-book.js'
import { RoundChecks, type RoundFindings } from './round-checks.js'
import { pass } from './times.js'

export interface CellOptions {
  readonly kind: FaultKind
  readonly coordinator: CoordinatorKind
  readonly durability: 'standby' | 'local'
  /** Numbers of the rounds, from 0. */
  readonly first: number
  readonly rounds: number
  readonly seed: number
  readonly network: Network | undefined
  readonly writers: number
  readonly readers: number
  readonly writesPerSecond: number
  readonly failoverMs: number
}

export interface RoundResult extends RoundFindings {
  readonly kind: string
  readonly coordinator: CoordinatorKind
  readonly durability: 'standby' | 'local'
  readonly round: number
  readonly primary: string
  readonly nextPrimary: string
  readonly times: FaultTimes
  readonly notes: readonly string[]
  readonly seconds: number
  /** Where logs and data of a round with problems are. */
  readonly kept: string | undefined
  readonly failures: string
}

const names = ['a', 'b', 'c'] as const
const registers = 64
const settleTimeoutMs = 60_000
/** A cell that goes wrong again and again teaches nothing more. */
const badRoundsMax = 3

/** Numbers from 0 to 1 that follow from the seed (mulberry32). */
export function createRandom(seed: number): () => number {
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** Yields each round when it is over. After a round with problems a new cluster is made for the next one. */
export async function* runCell(options: CellOptions): AsyncGenerator<RoundResult> {
  let bed: TestBed | undefined
  let bad = 0
  try {
    for (let round = options.first; round < options.first + options.rounds && bad < badRoundsMax; round++) {
      bed ??= await TestBed.create(options)
      const result = await bed.round(round)
      if (result.problems.count > 0) {
        bad += 1
        await bed.close(true)
        bed = undefined
      }
      yield result
    }
  } finally {
    await bed?.close(false)
  }
}

/** A cluster with everything around it. */
class TestBed {
  private readonly options: CellOptions
  private readonly cluster: ClusterProcesses
  private readonly coordinators: CoordinatorProcesses
  private readonly coordinatorDirectory: string
  private readonly disks: ReadonlyMap<string, FaultyDisk>
  private readonly monitor: Monitor
  private readonly clients: Clients
  private readonly checks: RoundChecks
  private random: () => number = Math.random

  private constructor(
    options: CellOptions,
    cluster: ClusterProcesses,
    coordinators: CoordinatorProcesses,
    coordinatorDirectory: string,
    disks: ReadonlyMap<string, FaultyDisk>,
  ) {
    this.disks = disks
    this.options = options
    this.cluster = cluster
    this.coordinators = coordinators
    this.coordinatorDirectory = coordinatorDirectory
    const urlOf = (node: string) => cluster.url(node)
    this.monitor = new Monitor(names, urlOf)
    this.clients = new Clients({
      nodes: names,
      urlOf,
      monitor: this.monitor,
      random: () => this.random(),
      writers: options.writers,
      readers: options.readers,
      writesPerSecond: options.writesPerSecond,
      readsPerSecond: options.writesPerSecond / 2,
      // At `local`, keys that a loss has touched are not judged: with more of them enough are left.
      registers: options.durability === 'local' ? 4 * registers : registers,
      timeoutMs: 1_500,
      reads: options.coordinator === 'static' ? 'watched' : 'linearizable',
    })
    this.checks = new RoundChecks(cluster, names, this.monitor, options.durability)
  }

  static async create(options: CellOptions): Promise<TestBed> {
    const { coordinator, durability, network, failoverMs, kind } = options
    const directory = mkdtempSync(join(tmpdir(), 'understudy-coordinator-'))
    const disks = kind.needs.includes('disks') ? disksIn(directory, coordinator, kind.losesPower === true) : new Map()
    const places = disks.size === 0 ? network?.places : onDisks(disks, network)
    const etcd = coordinator === 'etcd' ? await EtcdProcesses.create(directory, network?.places) : undefined
    const cluster = await ClusterProcesses.create({
      names,
      durability,
      inSyncMin: durability === 'local' ? 1 : 2,
      coordinator: etcd?.url ?? coordinator,
      witnesses: coordinator === 'builtin' ? [witness] : [],
      args: ['--failover-ms', String(failoverMs), ...(kind.args ?? [])],
      ...(places === undefined ? {} : { places }),
    })
    const coordinators = etcd ?? (coordinator === 'builtin' ? witnessOf(cluster) : noCoordinator)
    const bed = new TestBed(options, cluster, coordinators, directory, disks)
    try {
      if (coordinator === 'builtin') cluster.start(witness)
      for (const name of names) cluster.start(name)
      await cluster.untilSettled(names, settleTimeoutMs)
      return bed
    } catch (error) {
      await bed.close(true)
      throw error
    }
  }

  async round(round: number): Promise<RoundResult> {
    const { kind, coordinator, durability, seed, network, failoverMs } = this.options
    // Each round can be repeated alone.
    this.random = createRandom(seed + 7919 * round + hashOf(`${kind.name} ${coordinator} ${durability}`))
    const startedMs = performance.now()
    const book = new RoundBook(round)
    const notes: string[] = []
    let primary = 'unknown'
    let nextPrimary = 'unknown'
    let times: FaultTimes = {}
    let failed: Error | undefined
    try {
      primary = await this.cluster.untilSettled(names, settleTimeoutMs)
      await this.checks.begin()
      this.clients.start(book)
      await book.untilAcknowledged('writes before the fault', () => true, settleTimeoutMs, 100)
      await pass(200 + this.random() * 800)
      times = await kind.run({
        cluster: this.cluster,
        coordinator,
        coordinators: this.coordinators,
        network,
        disks: this.disks,
        names,
        primary,
        book,
        index: round,
        random: () => this.random(),
        failoverMs,
        note: (text) => notes.push(text),
      })
      await this.cluster.untilSettled(names, settleTimeoutMs)
      const healedMs = performance.now()
      await book.untilAcknowledged('writes after the fault', (one) => one.calledMs >= healedMs, settleTimeoutMs, 100)
    } catch (error) {
      failed = error as Error
    }
    for (const disk of this.disks.values()) disk.heal()
    await this.clients.stop()
    try {
      if (failed === undefined) {
        nextPrimary = await this.cluster.untilSettled(names, settleTimeoutMs)
        await this.clients.readAll(book, nextPrimary)
      }
    } catch (error) {
      failed = error as Error
    }
    const findings = await this.checks.end(book, nextPrimary, failed)
    const isBad = findings.problems.count > 0
    return {
      ...findings,
      kind: kind.name,
      coordinator,
      durability,
      round,
      primary,
      nextPrimary,
      times,
      notes,
      seconds: (performance.now() - startedMs) / 1000,
      kept: isBad ? `${this.cluster.directory} ${this.coordinatorDirectory}` : undefined,
      failures: book.describeFailures(),
    }
  }

  async close(keep: boolean): Promise<void> {
    await this.monitor.close()
    this.clients.close()
    await this.options.network?.healAll()
    // Nothing hangs while it is ended.
    for (const disk of this.disks.values()) disk.heal()
    if (keep) this.cluster.keepFiles()
    await this.cluster.close()
    await this.coordinators.close()
    for (const disk of this.disks.values()) disk.close()
    if (!keep) rmSync(this.coordinatorDirectory, { recursive: true, force: true, maxRetries: 5 })
  }
}

export { coordinatorNames, names as nodeNames }

function disksIn(directory: string, coordinator: CoordinatorKind, undo: boolean): ReadonlyMap<string, FaultyDisk> {
  // The members of an etcd are not our processes.
  const all = [...names, ...(coordinator === 'builtin' ? [witness] : [])]
  return new Map(all.map((name) => [name, new FaultyDisk(directory, name, { undo })]))
}

function onDisks(disks: ReadonlyMap<string, FaultyDisk>, network: Network | undefined): ReadonlyMap<string, NodePlace> {
  return new Map(
    [...disks].map(([name, { launcher }]) => {
      const place = network?.places.get(name)
      return [name, { host: place?.host ?? '127.0.0.1', launcher: [...(place?.launcher ?? []), ...launcher] }]
    }),
  )
}

function hashOf(text: string): number {
  let hash = 0
  for (const character of text) hash = (Math.imul(hash, 31) + character.charCodeAt(0)) | 0
  return hash
}
