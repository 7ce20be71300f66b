import { describeCoordinatorConformance } from '#src/coordinator/conformance.js'
import { testClock } from '../support/clock.js'
import { httpWiring, inMemoryWiring, registrationMs, VoterHost } from './builtin-support.js'

for (const [name, wiring] of [
  ['builtin in memory', inMemoryWiring],
  ['builtin over HTTP', httpWiring],
] as const) {
  describeCoordinatorConformance(name, {
    async store() {
      const host = new VoterHost(wiring())
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
}
