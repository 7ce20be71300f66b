/** Runs seeds that `main` hands it, one after another. */
import { parentPort } from 'node:worker_threads'
import { type SimulationOptions, simulate } from './simulation.js'

export interface WorkerTask {
  readonly seed: number
  readonly options: Omit<SimulationOptions, 'tell'>
}

const port = parentPort
port?.on('message', ({ seed, options }: WorkerTask) => {
  simulate(seed, options).then(
    (result) => port.postMessage(result),
    (error: Error) => {
      throw error
    },
  )
})
