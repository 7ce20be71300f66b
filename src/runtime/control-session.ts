import { decodeMessage, type Message } from '../codec/messages.js'
import type { Epoch } from '../core/position.js'
import { toUnderstudyError, UnderstudyError } from '../errors.js'
import type { Link } from '../link/link.js'
import type { SwitchoverOptions, SwitchoverResult } from './handle.js'

/** Answers questions of another node: what this one is, which epoch it promises, which journal it shall keep. */
export async function serveControl(
  link: Link,
  shard: {
    readonly state: () => Message<'state'>
    /** Durable when it resolves. */
    readonly promise: (epoch: Epoch) => Promise<void>
    readonly switchover: (options: SwitchoverOptions) => Promise<SwitchoverResult>
    readonly pin: (slot: string, sequence: number) => Promise<void>
  },
): Promise<void> {
  let turn: Promise<void> = Promise.resolve()
  const inTurn = (work: () => Promise<void>) => {
    turn = turn.then(work).catch((error) => link.fail(toUnderstudyError(error, 'answering a question')))
  }
  link.handle((name, payload) => {
    switch (name) {
      case 'query':
        inTurn(async () => link.send('state', shard.state()))
        return
      case 'fence': {
        const { epoch } = decodeMessage('fence', payload)
        inTurn(async () => {
          await shard.promise(epoch)
          link.send('state', shard.state())
        })
        return
      }
      case 'pin': {
        const { slot, sequence } = decodeMessage('pin', payload)
        inTurn(() => shard.pin(slot, sequence))
        return
      }
      case 'switchover': {
        const { to, timeoutMs } = decodeMessage('switchover', payload)
        const answer = (result: Partial<SwitchoverResult>, failure?: Message<'switchedOver'>['failure']) =>
          link.send('switchedOver', {
            epoch: result.epoch,
            primary: result.primary ?? '',
            pauseMs: result.pauseMs ?? 0,
            failure,
          })
        // Not in turn: other questions are answered meanwhile.
        shard.switchover({ timeoutMs, ...(to === '' ? {} : { to }) }).then(answer, (error) => {
          const { failure: code, message, hint, outcome } = toUnderstudyError(error, 'switchover')
          answer({}, { code, message: message.slice(0, 1000), hint: hint?.slice(0, 1000), outcome })
        })
        return
      }
      default:
        throw new UnderstudyError('PROTOCOL', `${name} is not expected on a control session`)
    }
  })
  await link.closed
}
