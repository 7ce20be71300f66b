import { limits } from '../core/limits.js'
import { decideRetention, type SlotRetention } from '../core/retention.js'
import { UnderstudyError } from '../errors.js'
import type { Clock } from '../ports/clock.js'
import type { Journal } from '../ports/journal.js'
import type { Logger } from '../ports/logger.js'
import type { SlotStatus } from './handle.js'
import type { ShardStore, Slot } from './shard-store.js'

/** Held by the primary for a standby that follows it. */
export function standbySlot(node: string): string {
  return `standby:${node}`
}

/** Held by every node that may serve the bootstrap of `node`, until the primary holds its standby slot. */
export function bootstrapSlot(node: string): string {
  return `bootstrap:${node}`
}

/**
 * Who still needs the journal. A slot is durable from the moment it is made; its progress is written with the next
 * checkpoint, since an older floor only keeps more. Every slot has a cap and an expiry, and losing one is said aloud
 * (F42).
 */
export class Slots {
  private readonly store: ShardStore
  private readonly clock: Clock
  private readonly logger: Logger
  private readonly retainBytesMax: number
  private readonly slots = new Map<string, Slot>()
  private retention: readonly SlotRetention[] = []
  /** Slots that lost their claim and have not been taken up again: said in the status until they are (F42). */
  private readonly lost = new Map<string, string>()

  constructor(parts: {
    readonly store: ShardStore
    readonly clock: Clock
    readonly logger: Logger
    readonly retainBytesMax: number
  }) {
    this.store = parts.store
    this.clock = parts.clock
    this.logger = parts.logger
    this.retainBytesMax = parts.retainBytesMax
    for (const slot of parts.store.superblock?.slots ?? []) this.slots.set(slot.name, slot)
  }

  get status(): readonly SlotStatus[] {
    return [...this.slots.values()].map((slot) => ({
      name: slot.name,
      sequence: slot.sequence,
      retainedBytes: this.retention.find((one) => one.name === slot.name)?.retainedBytes ?? 0,
    }))
  }

  get names(): ReadonlySet<string> {
    return new Set(this.slots.keys())
  }

  get warnings(): readonly string[] {
    return [...this.lost.values()]
  }

  /** Moves a slot at once; a new one is durable when this resolves. */
  async hold(name: string, sequence: number): Promise<void> {
    const known = this.note(name, sequence)
    if (!known) await this.save()
  }

  /** Moves a slot without waiting for the disk; returns whether it existed. */
  note(name: string, sequence: number): boolean {
    const known = this.slots.has(name)
    if (!known && this.slots.size >= limits.slotsMax) {
      throw new UnderstudyError('LIMIT_EXCEEDED', `${this.slots.size} slots exist; that is the limit`, {
        hint: 'slots of nodes that never came back expire after a day',
      })
    }
    this.lost.delete(name)
    this.slots.set(name, { name, sequence, touchedAtMs: this.clock.wallMs() })
    return known
  }

  async release(name: string): Promise<void> {
    if (this.slots.delete(name)) await this.save()
  }

  /** Lets go of the journal that neither the checkpoint nor a slot within its cap needs. */
  async retain(journal: Journal, checkpointSequence: number): Promise<void> {
    const nowMs = this.clock.wallMs()
    for (const slot of this.slots.values()) {
      if (nowMs - slot.touchedAtMs <= limits.slotTtlMs) continue
      this.slots.delete(slot.name)
      this.logger.warn({ slot: slot.name, sequence: slot.sequence }, 'slot expired: its owner did not come back')
    }
    const decision = decideRetention({
      segments: journal.segments,
      checkpointSequence,
      slots: [...this.slots.values()].map((slot) => ({ ...slot, retainBytesMax: this.retainBytesMax })),
    })
    this.retention = decision.slots
    for (const lost of decision.lost) {
      this.slots.delete(lost.name)
      this.lost.set(
        lost.name,
        `slot ${lost.name} held back ${lost.heldBytes} bytes of journal, more than slotRetainBytes allows, and was given up: its owner must bootstrap`,
      )
      this.logger.warn(
        { slot: lost.name, sequence: lost.sequence, heldBytes: lost.heldBytes, retainBytesMax: this.retainBytesMax },
        'slot over its cap: it no longer holds the journal back, its owner must bootstrap',
      )
    }
    await this.save()
    await journal.trim(decision.trimSequence)
  }

  private async save(): Promise<void> {
    const slots = [...this.slots.values()]
    await this.store.update((now) => (sameSlots(now.slots, slots) ? now : { ...now, slots }))
  }
}

function sameSlots(a: readonly Slot[], b: readonly Slot[]): boolean {
  return (
    a.length === b.length &&
    a.every((slot, index) => slot.name === b[index]!.name && slot.sequence === b[index]!.sequence)
  )
}
