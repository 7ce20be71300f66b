import type { ShardStatus } from '../../../src/runtime/handle.js'
import { formatBytes, formatSeconds } from './format.js'

export interface BootstrapView {
  /** 0 to 1; undefined while it is not known how much there is. */
  readonly share: number | undefined
  readonly phase: string
  /** "12.3 of 30.1 MiB". */
  readonly amount: string
  readonly rate: string
  readonly left: string
  readonly source: string | undefined
  readonly note: string | undefined
}

const phases: Readonly<Record<NonNullable<ShardStatus['bootstrap']>['phase'], string>> = {
  waiting: 'waiting for a source',
  snapshot: 'asking for a snapshot',
  transferring: 'copying',
  'catching-up': 'catching up with what was written meanwhile',
  installing: 'putting the new data in place',
  done: 'done',
}

/** What a node says of its bootstrap; of one that others only know to be bootstrapping, that alone. */
export function bootstrapView(shard: ShardStatus | undefined, state: string | undefined): BootstrapView | undefined {
  if (state !== 'bootstrapping') return undefined
  const progress = shard?.bootstrap
  if (progress === undefined) {
    return { share: undefined, phase: 'under way', amount: '', rate: '', left: '', source: undefined, note: undefined }
  }
  const { phase, bytesDone, bytesExpected, bytesPerSecond, secondsLeft, source, restarts, lastError, resumedFrom } =
    progress
  // An estimate can be too low; then nobody knows how much is left.
  const isKnown = bytesExpected !== undefined && bytesExpected > 0 && bytesDone <= bytesExpected
  const notes = [
    ...(lastError === undefined ? [] : [lastError]),
    ...(resumedFrom === undefined ? [] : [`resumed from ${resumedFrom}`]),
    ...(restarts === 0 ? [] : [`began again ${restarts === 1 ? 'once' : `${restarts} times`}`]),
  ]
  return {
    share: phase === 'transferring' && isKnown ? bytesDone / bytesExpected : phase === 'done' ? 1 : undefined,
    phase: phases[phase],
    amount: isKnown ? amountOf(bytesDone, bytesExpected) : formatBytes(bytesDone),
    rate: phase === 'transferring' ? `${formatBytes(bytesPerSecond)}/s` : '',
    left: secondsLeft === undefined ? '' : secondsLeft < 1 ? 'nearly done' : `about ${formatSeconds(secondsLeft)} left`,
    source,
    note: notes.length === 0 ? undefined : notes.join('; '),
  }
}

/** The unit once, where it is the same. */
function amountOf(bytesDone: number, bytesExpected: number): string {
  const [done, all] = [formatBytes(bytesDone), formatBytes(bytesExpected)]
  const [figure, unit] = done.split(' ')
  return all.endsWith(` ${unit}`) ? `${figure} of ${all}` : `${done} of ${all}`
}
