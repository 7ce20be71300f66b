/** Runs seeds that `main` hands it, one after another. */
import { parentPort } from 'node:worker_threads'
import { type SimulationOptions, simulate } from './simulation.js'

export interface WorkerTask {
  readonly seed: number
  readonly options: Omit<SimulationOptions, 'tell'>
}

// A run that fails is repeated alone, and then its stacks are there; here most errors are part of the play.
Error.stackTraceLimit = 0

// Many small messages and blocks: fewer and larger pieces of memory to cut them from.
Buffer.poolSize = 128 * 1024

const port = parentPort
port?.on('message', ({ seed, options }: WorkerTask) => {
  simulate(seed, options).then(
    (result) => port.postMessage(result),
    (error: Error) => {
      throw error
    },
  )
})
