import type { ShardRecord } from '../../core/record.js'
import { UnderstudyError } from '../../errors.js'
import type { CoordinatorEvent, RecordState, Registration } from '../../ports/coordinator.js'
import type { Logger } from '../../ports/logger.js'
import type { Keys } from './keys.js'
import type { KeyValue, WatchEvent } from './protocol.js'
import { decodeCoordinatorId, decodeRecord, decodeRegistration } from './values.js'

interface HeldRecord {
  readonly record: ShardRecord | undefined
  readonly revision: number
}

/** What is known of the store's content, and what to tell of a change. */
export class View {
  private coordinatorId = ''
  /** A shard whose record is gone stays here, so that this is told too. */
  private records = new Map<string, HeldRecord>()
  private registrations = new Map<string, Registration>()
  private readonly keys: Keys
  private readonly logger: Logger

  constructor(keys: Keys, logger: Logger) {
    this.keys = keys
    this.logger = logger
  }

  get members(): readonly Registration[] {
    return [...this.registrations.values()].sort((a, b) => (a.node < b.node ? -1 : 1))
  }

  /** All that is known, as a listener hears it that comes now. */
  present(): CoordinatorEvent[] {
    return [
      { type: 'members', members: this.members },
      ...[...this.records.keys()].map((shard) => ({ type: 'record', shard, state: this.state(shard) }) as const),
    ]
  }

  /** Takes the whole content. Throws, and changes nothing, where a record is damaged. */
  replace(kvs: readonly KeyValue[]): void {
    let coordinatorId: string | undefined
    const records = new Map<string, HeldRecord>()
    for (const shard of this.records.keys()) records.set(shard, { record: undefined, revision: 0 })
    const registrations = new Map<string, Registration>()
    for (const kv of kvs) {
      const parsed = this.keys.parse(kv.key)
      if (parsed?.kind === 'coordinator-id') coordinatorId = decodeCoordinatorId(kv.key.toString(), kv.value)
      if (parsed?.kind === 'shards') {
        records.set(parsed.name, {
          record: decodeRecord(kv.key.toString(), kv.value),
          revision: revisionOf(kv.modRevision),
        })
      }
      if (parsed?.kind === 'members') this.addMember(registrations, parsed.name, kv)
    }
    if (coordinatorId === undefined) throw new UnderstudyError('UNAVAILABLE', 'the id of the store is gone again')
    this.coordinatorId = coordinatorId
    this.records = records
    this.registrations = registrations
  }

  /** Takes changes in their order. Undefined: the store's id was changed; all must be read again. */
  apply(events: readonly WatchEvent[]): CoordinatorEvent[] | undefined {
    const told: CoordinatorEvent[] = []
    let membersChanged = false
    for (const { type, kv } of events) {
      const parsed = kv === null ? undefined : this.keys.parse(kv.key)
      if (kv === null || parsed === undefined) continue
      if (parsed.kind === 'coordinator-id') return undefined
      if (parsed.kind === 'shards') {
        const record = type === 'DELETE' ? undefined : decodeRecord(kv.key.toString(), kv.value)
        const revision = type === 'DELETE' ? 0 : revisionOf(kv.modRevision)
        this.records.set(parsed.name, { record, revision })
        told.push({ type: 'record', shard: parsed.name, state: this.state(parsed.name) })
      } else {
        membersChanged = true
        if (type === 'DELETE') this.registrations.delete(parsed.name)
        else this.addMember(this.registrations, parsed.name, kv)
      }
    }
    if (membersChanged) told.push({ type: 'members', members: this.members })
    return told
  }

  private state(shard: string): RecordState {
    const { record, revision } = this.records.get(shard)!
    return { coordinatorId: this.coordinatorId, record, revision }
  }

  /** A registration that cannot be read is left out: it takes part in no decision that is not checked elsewhere. */
  private addMember(registrations: Map<string, Registration>, node: string, kv: KeyValue): void {
    const key = kv.key.toString()
    try {
      const member = decodeRegistration(key, kv.value)
      if (member.node !== node) throw new UnderstudyError('CORRUPTION', `${key} in etcd names node ${member.node}`)
      registrations.set(node, member)
    } catch (error) {
      registrations.delete(node)
      this.logger.warn({ error: String(error) }, 'a registration in etcd was left out')
    }
  }
}

/** etcd counts revisions from 1; a JavaScript number holds 285,000 years of a thousand changes a second. */
export function revisionOf(text: string): number {
  const revision = Number(text)
  if (Number.isSafeInteger(revision)) return revision
  throw new UnderstudyError('CORRUPTION', `etcd has revision ${text}`)
}
