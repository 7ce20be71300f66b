import type { LifecycleState, Role } from '../core/lifecycle.js'
import { formatEpoch } from '../core/position.js'
import type { Logger } from '../ports/logger.js'
import type { BootstrapStatus, ShardEvent } from './handle.js'

/** States that somebody should look at. */
const alarming: ReadonlySet<LifecycleState> = new Set<LifecycleState>(['fenced', 'failed'])

/**
 * One line for each transition of a shard, told apart by the field `transition`. Names of fields and messages are a
 * contract with whoever searches logs: docs/OPERATING.md lists them.
 */
export class TransitionLog {
  private readonly logger: Logger
  private bootstrap: Pick<BootstrapStatus, 'phase' | 'source'> | undefined

  constructor(logger: Logger) {
    this.logger = logger
  }

  state(from: LifecycleState, to: LifecycleState, event: string, reason: string): void {
    const fields = { transition: 'state', from, to, event, reason }
    if (alarming.has(to)) this.logger.warn(fields, 'state changed')
    else this.logger.info(fields, 'state changed')
  }

  role(from: Role, to: Role, epoch: string | undefined, reason: string): void {
    this.logger.info({ transition: 'role', from, to, epoch, reason }, 'role changed')
  }

  note(event: ShardEvent): void {
    switch (event.type) {
      case 'in-sync': {
        const { added, removed, inSync, reason } = event
        const fields = { transition: 'in-sync', added, removed, inSync, reason }
        if (removed.length > 0) this.logger.warn(fields, 'in-sync set changed')
        else this.logger.info(fields, 'in-sync set changed')
        return
      }
      case 'failover': {
        const { kind, epoch, tookMs, mayLose } = event.failover
        const fields = { transition: 'primary', kind, epoch: formatEpoch(epoch), tookMs }
        if (mayLose === undefined) this.logger.info(fields, 'primary changed')
        else this.logger.warn({ ...fields, mayLose }, 'primary changed')
        return
      }
      case 'bootstrap':
        this.bootstrapStep(event.progress)
        return
      case 'transition':
      case 'record':
      case 'lag':
      case 'diverged':
      case 'failure':
        return
    }
  }

  /** Progress comes with every chunk; a line is worth another phase or another source. */
  private bootstrapStep(progress: BootstrapStatus): void {
    const { phase, source } = progress
    if (phase === this.bootstrap?.phase && source === this.bootstrap.source) return
    const from = this.bootstrap?.phase ?? 'none'
    this.bootstrap = { phase, source }
    const { position, bytesDone, bytesExpected, entriesDone, restarts, lastError } = progress
    this.logger.info(
      {
        transition: 'bootstrap',
        from,
        to: phase,
        source,
        position,
        bytesDone,
        bytesExpected,
        entriesDone,
        restarts,
        lastError,
      },
      'bootstrap step',
    )
  }
}
