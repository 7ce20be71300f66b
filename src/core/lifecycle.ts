/**
 * Lifecycle of a node for one shard. The table is total: the compiler demands a cell for every event in every
 * state, and a test proves that no state lacks an exit for any failure. The diagram in docs/LIFECYCLE.md is
 * generated from it.
 */
export const lifecycleStates = [
  'stopped',
  'connecting',
  'bootstrapping',
  'catching-up',
  'streaming',
  'reconnecting',
  'promoting',
  'primary',
  'demoting',
  'fenced',
  'failed',
] as const

export type LifecycleState = (typeof lifecycleStates)[number]

export const lifecycleEvents = [
  /** The node starts working on the shard. */
  'start',
  /** A session with the primary stands and the histories match; older blocks are on their way. */
  'subscribed',
  /** Everything up to the primary's end at the time of the subscription is durable here. */
  'caught-up',
  /** The session broke, was silent for too long, or nobody could be reached. */
  'connection-lost',
  /** The journal here cannot be continued from any source: empty, or older than all retained. */
  'bootstrap-needed',
  /** A bootstrap was installed and its engine opened. */
  'bootstrapped',
  /** A source failed; another attempt follows after the back-off. */
  'bootstrap-retry',
  /** This node was asked (or decided at start) to become primary. */
  'promote',
  /** The epoch-start block is committed and applied. */
  'promoted',
  /** The promotion was refused, timed out or was overtaken. */
  'promotion-failed',
  /** A higher epoch exists. */
  'higher-epoch',
  /** The role was given up: neither lease nor commits, a stalled disk, or handed over. */
  'resign',
  /** Writers were answered and nothing is appended any more. The journal is matched at the next subscription. */
  'demoted',
  /** An operator or a rule must decide before this node may do anything (coded reason in status). */
  'fence',
  /** What fenced the node is gone. */
  'unfence',
  /** Disk, journal or engine failed, or an invariant: nothing may be trusted before a restart. */
  'failure',
  'stop',
] as const

export type LifecycleEvent = (typeof lifecycleEvents)[number]

/** The next state; `ignore` keeps the state (the event is late or says nothing new); `invalid` is our own bug. */
export type Transition = LifecycleState | 'ignore' | 'invalid'

type Table = Readonly<Record<LifecycleState, Readonly<Record<LifecycleEvent, Transition>>>>

/** Cells that most states share: world events that may arrive at any time. Each row spells out the rest. */
const anywhere = {
  failure: 'failed',
  stop: 'stopped',
  fence: 'fenced',
} as const

export const lifecycle: Table = {
  stopped: {
    start: 'connecting',
    subscribed: 'ignore',
    'caught-up': 'ignore',
    'connection-lost': 'ignore',
    'bootstrap-needed': 'ignore',
    bootstrapped: 'ignore',
    'bootstrap-retry': 'ignore',
    promote: 'invalid',
    promoted: 'ignore',
    'promotion-failed': 'ignore',
    'higher-epoch': 'ignore',
    resign: 'ignore',
    demoted: 'ignore',
    fence: 'ignore',
    unfence: 'ignore',
    failure: 'ignore',
    stop: 'ignore',
  },
  connecting: {
    ...anywhere,
    start: 'invalid',
    subscribed: 'catching-up',
    'caught-up': 'invalid',
    'connection-lost': 'reconnecting',
    'bootstrap-needed': 'bootstrapping',
    bootstrapped: 'invalid',
    'bootstrap-retry': 'invalid',
    promote: 'promoting',
    promoted: 'invalid',
    'promotion-failed': 'ignore',
    'higher-epoch': 'ignore',
    resign: 'ignore',
    demoted: 'invalid',
    unfence: 'ignore',
  },
  bootstrapping: {
    ...anywhere,
    start: 'invalid',
    subscribed: 'invalid',
    'caught-up': 'invalid',
    'connection-lost': 'ignore',
    'bootstrap-needed': 'ignore',
    bootstrapped: 'connecting',
    'bootstrap-retry': 'bootstrapping',
    promote: 'invalid',
    promoted: 'invalid',
    'promotion-failed': 'ignore',
    'higher-epoch': 'ignore',
    resign: 'ignore',
    demoted: 'invalid',
    unfence: 'ignore',
  },
  'catching-up': {
    ...anywhere,
    start: 'invalid',
    subscribed: 'ignore',
    'caught-up': 'streaming',
    'connection-lost': 'reconnecting',
    'bootstrap-needed': 'bootstrapping',
    bootstrapped: 'invalid',
    'bootstrap-retry': 'invalid',
    promote: 'promoting',
    promoted: 'invalid',
    'promotion-failed': 'ignore',
    'higher-epoch': 'reconnecting',
    resign: 'ignore',
    demoted: 'invalid',
    unfence: 'ignore',
  },
  streaming: {
    ...anywhere,
    start: 'invalid',
    subscribed: 'ignore',
    'caught-up': 'ignore',
    'connection-lost': 'reconnecting',
    'bootstrap-needed': 'bootstrapping',
    bootstrapped: 'invalid',
    'bootstrap-retry': 'invalid',
    promote: 'promoting',
    promoted: 'invalid',
    'promotion-failed': 'ignore',
    'higher-epoch': 'reconnecting',
    resign: 'ignore',
    demoted: 'invalid',
    unfence: 'ignore',
  },
  reconnecting: {
    ...anywhere,
    start: 'invalid',
    subscribed: 'catching-up',
    'caught-up': 'ignore',
    'connection-lost': 'ignore',
    'bootstrap-needed': 'bootstrapping',
    bootstrapped: 'invalid',
    'bootstrap-retry': 'invalid',
    promote: 'promoting',
    promoted: 'invalid',
    'promotion-failed': 'ignore',
    'higher-epoch': 'ignore',
    resign: 'ignore',
    demoted: 'invalid',
    unfence: 'ignore',
  },
  promoting: {
    ...anywhere,
    start: 'invalid',
    subscribed: 'ignore',
    'caught-up': 'ignore',
    'connection-lost': 'ignore',
    'bootstrap-needed': 'ignore',
    bootstrapped: 'invalid',
    'bootstrap-retry': 'invalid',
    promote: 'ignore',
    promoted: 'primary',
    'promotion-failed': 'reconnecting',
    'higher-epoch': 'demoting',
    resign: 'demoting',
    demoted: 'invalid',
    unfence: 'ignore',
  },
  primary: {
    ...anywhere,
    start: 'invalid',
    subscribed: 'ignore',
    'caught-up': 'ignore',
    'connection-lost': 'ignore',
    'bootstrap-needed': 'ignore',
    bootstrapped: 'invalid',
    'bootstrap-retry': 'invalid',
    promote: 'ignore',
    promoted: 'ignore',
    'promotion-failed': 'ignore',
    'higher-epoch': 'demoting',
    resign: 'demoting',
    demoted: 'invalid',
    unfence: 'ignore',
  },
  demoting: {
    ...anywhere,
    start: 'invalid',
    subscribed: 'ignore',
    'caught-up': 'ignore',
    'connection-lost': 'ignore',
    'bootstrap-needed': 'bootstrapping',
    bootstrapped: 'invalid',
    'bootstrap-retry': 'invalid',
    promote: 'ignore',
    promoted: 'ignore',
    'promotion-failed': 'ignore',
    'higher-epoch': 'ignore',
    resign: 'ignore',
    demoted: 'reconnecting',
    unfence: 'ignore',
  },
  fenced: {
    failure: 'failed',
    stop: 'stopped',
    fence: 'ignore',
    start: 'invalid',
    subscribed: 'catching-up',
    'caught-up': 'ignore',
    'connection-lost': 'ignore',
    'bootstrap-needed': 'bootstrapping',
    bootstrapped: 'ignore',
    'bootstrap-retry': 'ignore',
    promote: 'promoting',
    promoted: 'ignore',
    'promotion-failed': 'ignore',
    'higher-epoch': 'reconnecting',
    resign: 'ignore',
    demoted: 'ignore',
    unfence: 'reconnecting',
  },
  failed: {
    start: 'invalid',
    subscribed: 'ignore',
    'caught-up': 'ignore',
    'connection-lost': 'ignore',
    'bootstrap-needed': 'ignore',
    bootstrapped: 'ignore',
    'bootstrap-retry': 'ignore',
    promote: 'ignore',
    promoted: 'ignore',
    'promotion-failed': 'ignore',
    'higher-epoch': 'ignore',
    resign: 'ignore',
    demoted: 'ignore',
    fence: 'ignore',
    unfence: 'ignore',
    failure: 'ignore',
    stop: 'stopped',
  },
}

export type Role = 'primary' | 'standby' | 'joining' | 'fenced' | 'failed'

/** What a node is for its shard, as others see it. */
export const roleOf: Readonly<Record<LifecycleState, Role>> = {
  stopped: 'standby',
  connecting: 'standby',
  bootstrapping: 'joining',
  'catching-up': 'standby',
  streaming: 'standby',
  reconnecting: 'standby',
  promoting: 'standby',
  primary: 'primary',
  demoting: 'standby',
  fenced: 'fenced',
  failed: 'failed',
}
