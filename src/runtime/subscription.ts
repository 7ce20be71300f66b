import type { Message } from '../codec/messages.js'
import { answerSubscription } from '../core/history.js'
import { invariant } from '../core/invariant.js'
import type { Epoch } from '../core/position.js'
import type { Link } from '../link/link.js'
import type { Journal } from '../ports/journal.js'
import { Feeder } from './feeder.js'

/**
 * Answers a subscription from this node's journal: with a feeder that begins exactly at the subscriber's position,
 * or by saying why not. Nothing is ever skipped to make it fit (F3, F5).
 */
export async function answerSubscribe(
  link: Link,
  journal: Journal,
  request: Message<'subscribe'>,
  sender: {
    readonly epoch: Epoch
    readonly epochStart: number
    readonly committed: number
    readonly limit: () => number
  },
): Promise<Feeder | undefined> {
  const here = await journal.positionAt(request.position.sequence)
  const answer = answerSubscription(
    { base: journal.base, end: journal.appended, epochs: journal.epochs },
    request,
    here,
  )
  if (answer.type === 'too-old') {
    link.send('tooOld', { base: journal.base })
    return undefined
  }
  if (answer.type === 'diverged') {
    const common = await journal.positionAt(answer.commonSequence)
    if (common === undefined) link.send('tooOld', { base: journal.base })
    else link.send('diverged', { common })
    return undefined
  }
  invariant(here !== undefined, 'a stream begins at the end of a block')
  link.send('stream', {
    from: here,
    epoch: sender.epoch,
    epochStart: sender.epochStart,
    committed: sender.committed,
    end: Math.min(sender.limit(), journal.appended.sequence),
  })
  return new Feeder({ journal, link, from: here, creditBytes: request.creditBytes, limit: sender.limit })
}
