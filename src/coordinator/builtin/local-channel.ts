import { UnderstudyError } from '../../errors.js'
import type { OpenChannel } from './channel.js'
import type { Voter } from './voter.js'

/** The way to a voter in the same process: calls, without a network between. */
export function localChannel(voter: Voter): OpenChannel {
  return async () => {
    const { boot: voterBoot, coordinatorId } = voter
    let unwatch: (() => void) | undefined
    let end!: (error: UnderstudyError | undefined) => void
    const closed = new Promise<UnderstudyError | undefined>((resolve) => {
      end = resolve
    })
    return {
      description: `voter ${voter.name} of this node`,
      voterBoot,
      coordinatorId,
      closed,
      read: async (shard) => voter.read(shard),
      swap: (shard, expectedRevision, next) => voter.swap(shard, expectedRevision, next),
      register: async (member, options) => voter.register(member, options),
      unregister: async (node, boot) => voter.unregister(node, boot),
      watch: async (events) => {
        unwatch?.()
        unwatch = voter.watch({ ...events, onEnd: end })
      },
      close: () => {
        unwatch?.()
        end(new UnderstudyError('CLOSED', 'the coordinator was closed'))
      },
    }
  }
}
