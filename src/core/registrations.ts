import type { Failure } from './failure.js'
import { limits } from './limits.js'

/** A node that says that it takes part; `boot` is that of its process. */
export interface RegisteredMember {
  readonly node: string
  readonly address: string
  readonly boot: string
}

interface Held {
  readonly member: RegisteredMember
  readonly expiresMs: number
}

/** Who takes part, each until its time to live is over. All times are of one monotonic clock. */
export class Registrations {
  private readonly held = new Map<string, Held>()

  get members(): readonly RegisteredMember[] {
    return [...this.held.values()].map(({ member }) => member)
  }

  /** When the next registration ends; undefined if there is none. */
  get nextExpiryMs(): number | undefined {
    let next: number | undefined
    for (const { expiresMs } of this.held.values()) next = Math.min(next ?? expiresMs, expiresMs)
    return next
  }

  expiresMs(node: string): number | undefined {
    return this.held.get(node)?.expiresMs
  }

  /**
   * A process takes its name over when it registers for the first time, and only renews afterwards: so the newest one
   * under a name stays, and an older one does not take it back (S2). `changed`: watchers have something to hear.
   */
  register(
    member: RegisteredMember,
    options: { readonly ttlMs: number; readonly takesOver: boolean },
    nowMs: number,
  ): { readonly changed: boolean; readonly failure?: Failure } {
    const { ttlMs, takesOver } = options
    if (ttlMs < 1 || ttlMs > limits.registrationMsMax) {
      const message = `a registration lives 1 to ${limits.registrationMsMax} ms, not ${ttlMs}`
      return { changed: false, failure: { code: 'BAD_REQUEST', message } }
    }
    const before = this.held.get(member.node)?.member
    if (!takesOver && before !== undefined && before.boot !== member.boot) {
      const message = `another process is registered as ${member.node}, at ${before.address}`
      return { changed: false, failure: { code: 'STALE_INCARNATION', message } }
    }
    if (before === undefined && this.held.size >= limits.membersMax) {
      const message = `${this.held.size} members are registered; that is the limit`
      return { changed: false, failure: { code: 'LIMIT_EXCEEDED', message } }
    }
    this.held.set(member.node, { member, expiresMs: nowMs + ttlMs })
    return { changed: before?.boot !== member.boot || before.address !== member.address }
  }

  /** Only of the process that is registered: an older one gives nothing back. */
  unregister(node: string, boot: string): boolean {
    return this.held.get(node)?.member.boot === boot && this.held.delete(node)
  }

  /** Forgets whose time is over; true if there were any. */
  expire(nowMs: number): boolean {
    let expired = false
    for (const [node, { expiresMs }] of this.held) {
      if (expiresMs <= nowMs) expired = this.held.delete(node)
    }
    return expired
  }
}
