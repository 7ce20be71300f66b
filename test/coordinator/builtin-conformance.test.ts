import { describeCoordinatorConformance } from '#src/coordinator/conformance.js'
import { testClock } from '../support/clock.js'
import { registrationMs, VoterHost } from './builtin-support.js'

describeCoordinatorConformance('builtin', {
  async store() {
    const host = new VoterHost()
    await host.start()
    return {
      registrationMs,
      clock: testClock,
      client: async () => host.client(),
      restart: () => host.restart(),
      close: () => host.close(),
    }
  },
})
