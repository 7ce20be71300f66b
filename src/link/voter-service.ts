import type { Message } from '../codec/messages.js'
import type { VoterStatus } from '../ports/voter.js'
import type { Link } from './link.js'

/** A voter of the builtin coordinator, as the node that hosts it drives it. */
export interface VoterService {
  readonly status: VoterStatus
  /** Recovers its state, or creates it. Called when the node's directory is taken. Rejects with a coded error. */
  start(): Promise<void>
  /** Answers the session that began with this frame until it ends. */
  serve(link: Link, hello: Message<'coordinatorHello'>): Promise<void>
  /** Ends all sessions and closes the journal. Idempotent. */
  close(): Promise<void>
}
