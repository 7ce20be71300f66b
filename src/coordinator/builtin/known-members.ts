import type { Clock, Timer } from '../../ports/clock.js'
import type { Registration } from '../../ports/coordinator.js'

/**
 * Members as listeners hear them. A voter keeps registrations in memory: one that was restarted knows nobody until
 * all have registered again. Whoever was a member before is kept for the life of a registration, unless it says
 * otherwise: a restart of the voter looks like nobody left.
 */
export class KnownMembers {
  private readonly clock: Clock
  private readonly keptMs: number
  private readonly tell: (members: readonly Registration[]) => void
  private told: readonly Registration[] = []
  private registered: readonly Registration[] = []
  private kept: readonly Registration[] = []
  private voterBoot: string | undefined
  private timer: Timer | undefined

  constructor(clock: Clock, keptMs: number, tell: (members: readonly Registration[]) => void) {
    this.clock = clock
    this.keptMs = keptMs
    this.tell = tell
  }

  get present(): readonly Registration[] {
    return this.told
  }

  /** Another process under this name. */
  otherBoot(own: Registration): string | undefined {
    const found = this.told.find((member) => member.node === own.node)
    return found?.boot === own.boot ? undefined : found?.boot
  }

  /** First list of a channel; `voterBoot` is of the voter's process. */
  begin(voterBoot: string, members: readonly Registration[]): void {
    if (this.voterBoot !== undefined && this.voterBoot !== voterBoot) {
      this.kept = this.told
      this.timer?.cancel()
      this.timer = this.clock.setTimer(this.keptMs, () => {
        const before = this.kept.length
        this.kept = []
        if (before > 0 && this.told.length !== this.registered.length) this.publish()
      })
    }
    this.voterBoot = voterBoot
    this.set(members)
  }

  set(members: readonly Registration[]): void {
    this.registered = members
    // Who has registered again speaks for itself from now on.
    this.kept = this.kept.filter((one) => !members.some((member) => member.node === one.node))
    this.publish()
  }

  close(): void {
    this.timer?.cancel()
  }

  private publish(): void {
    this.told = [...this.registered, ...this.kept]
    this.tell(this.told)
  }
}
