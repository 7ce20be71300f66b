export interface RetainedSegment {
  readonly firstSequence: number
  /** Below `firstSequence` while the segment is empty. */
  readonly lastSequence: number
  readonly bytes: number
}

/** A claim on the journal: whoever it belongs to has everything up to `sequence` and will ask for what follows. */
export interface RetentionSlot {
  readonly name: string
  readonly sequence: number
  /** Bytes that this slot alone may hold back. */
  readonly retainBytesMax: number
}

export interface SlotRetention {
  readonly name: string
  readonly sequence: number
  /** Bytes of the segments that hold what follows `sequence`. */
  readonly retainedBytes: number
  /** Of these, what only slots hold back: the checkpoint needs it no more. */
  readonly heldBytes: number
}

export interface RetentionDecision {
  /** Segments that end at or below it may go. */
  readonly trimSequence: number
  /** Bytes that go when they do. */
  readonly trimBytes: number
  readonly slots: readonly SlotRetention[]
  /** Slots over their cap: they no longer hold anything back, and whoever they belong to must be told (F42). */
  readonly lost: readonly SlotRetention[]
}

/**
 * How much journal may go. The checkpoint always holds: a restart replays from it (F2). A slot holds up to its cap.
 * The newest segment stays whatever is decided here, so nothing counts it.
 */
export function decideRetention(facts: {
  /** Oldest first. */
  readonly segments: readonly RetainedSegment[]
  readonly checkpointSequence: number
  readonly slots: readonly RetentionSlot[]
}): RetentionDecision {
  const older = facts.segments.slice(0, -1)
  const slots: SlotRetention[] = []
  const lost: SlotRetention[] = []
  let trimSequence = facts.checkpointSequence
  for (const slot of facts.slots) {
    const needed = facts.segments.filter((segment) => segment.lastSequence > slot.sequence)
    const held = older.filter(
      (segment) => segment.lastSequence > slot.sequence && segment.lastSequence <= facts.checkpointSequence,
    )
    const retention = {
      name: slot.name,
      sequence: slot.sequence,
      retainedBytes: totalBytes(needed),
      heldBytes: totalBytes(held),
    }
    slots.push(retention)
    if (retention.heldBytes > slot.retainBytesMax) lost.push(retention)
    else trimSequence = Math.min(trimSequence, slot.sequence)
  }
  const trimBytes = totalBytes(older.filter((segment) => segment.lastSequence <= trimSequence))
  return { trimSequence, trimBytes, slots, lost }
}

function totalBytes(segments: readonly RetainedSegment[]): number {
  let total = 0
  for (const segment of segments) total += segment.bytes
  return total
}
