import { limits } from '../core/limits.js'
import type { ShardEvent } from './handle.js'

export interface LeftNote {
  readonly at: string
  readonly reason: string
}

/** Remembers why nodes left the in-sync set, until they are in it again: the status says it. */
export class InSyncNotes {
  /** Oldest first. */
  private readonly notes = new Map<string, LeftNote>()

  note(event: ShardEvent, wallMs: number): void {
    if (event.type !== 'in-sync') return
    for (const node of event.added) this.notes.delete(node)
    for (const node of event.removed) {
      this.notes.delete(node)
      this.notes.set(node, { at: new Date(wallMs).toISOString(), reason: event.reason })
    }
    while (this.notes.size > limits.membersMax) this.notes.delete(this.notes.keys().next().value!)
  }

  of(node: string): LeftNote | undefined {
    return this.notes.get(node)
  }
}
