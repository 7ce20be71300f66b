import type { Clock, Timer } from '../ports/clock.js'

const renewMs = 10_000

/** Keeps the process alive while somebody outside awaits `work`, whose own timers do not. */
export async function awake<T>(clock: Clock, work: () => Promise<T>): Promise<T> {
  let timer: Timer
  const renew = () => {
    timer = clock.setTimer(renewMs, renew, { keepsAlive: true })
  }
  renew()
  try {
    return await work()
  } finally {
    timer!.cancel()
  }
}
