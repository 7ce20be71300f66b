import { describeCoordinatorConformance } from '#src/coordinator/conformance.js'
import { InMemoryCoordinatorStore } from '#src/coordinator/in-memory.js'
import { nodeRandom } from '#src/platform/node-random.js'
import { testClock } from '../support/clock.js'

const registrationMs = 400

describeCoordinatorConformance('in memory', {
  async store() {
    const store = new InMemoryCoordinatorStore(testClock, nodeRandom.hex(16))
    return {
      registrationMs,
      clock: testClock,
      async client() {
        const coordinator = store.client({ clock: testClock, registrationMs })
        return {
          coordinator,
          cut: async () => coordinator.setWeather({ reachable: false }),
          loseReplies: async () => coordinator.setWeather({ loseReplies: Number.POSITIVE_INFINITY }),
          delay: async (delayMs) => coordinator.setWeather({ delayMs }),
          heal: async () => coordinator.setWeather({}),
        }
      },
      close: async () => undefined,
    }
  },
})
