/**
 * For authors of adapters: suites that show that an adapter does what the rest of the program relies on, and the
 * simulated disk and network that they run on; and whole simulated clusters. Uses node:test; nothing of it is needed at run time.
 */
export { describeCoordinatorConformance } from './coordinator/conformance.js'
export type { CoordinatorClient, CoordinatorHarness, CoordinatorStore, Cut } from './coordinator/conformance-kit.js'
export {
  InMemoryCoordinator,
  InMemoryCoordinatorStore,
  type InMemoryWeather,
} from './coordinator/in-memory.js'
export { type EngineCase, type EngineConformanceOptions, engineConformance } from './engine/conformance.js'
export { type JournalFixture, runJournalConformance } from './journal/conformance.js'
export {
  type DiskFault,
  type PowerLoss,
  SimulatedDisk,
  type SimulatedDiskOptions,
  type UnsyncedChange,
} from './sim/disk.js'
export { type FaultKind, faultKinds } from './sim/fault-kinds.js'
export {
  checkLinearizability,
  type LinearizabilityOptions,
  type LinearizabilityResult,
  type LinearizabilityViolation,
} from './sim/linearizability.js'
export type { CoordinatorKind, DiskPlan, Plan, PlanOptions } from './sim/plan.js'
export { describeHistory, type RegisterOperation, type RegisterOutcome } from './sim/register-history.js'
export { type SimulationOptions, type SimulationResult, simulate } from './sim/simulation.js'
export { testTransport } from './transport/conformance.js'
export type { TransportHarness, TransportNode, TransportNodeOptions } from './transport/conformance-kit.js'
export { createInMemoryNetwork, type InMemoryNetwork, type InMemoryTransportOptions } from './transport/in-memory.js'
