/** For authors of adapters: suites that show that an adapter does what the rest of the program relies on. */
export { type EngineCase, type EngineConformanceOptions, engineConformance } from './engine/conformance.js'
