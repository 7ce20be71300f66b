import { readStored, writeStored } from './storage.js'

const keys = { read: 'understudy-read-token', admin: 'understudy-admin-token' } as const

/**
 * Tokens of this tab: in memory, and in the tab's own session storage if its user wants that. Never in an address, in
 * a cookie or in what outlives the tab.
 */
export class Tokens {
  private readonly held = new Map<keyof typeof keys, string>()

  constructor() {
    for (const name of ['read', 'admin'] as const) {
      const stored = readStored(() => sessionStorage, keys[name])
      if (stored !== undefined) this.held.set(name, stored)
    }
  }

  get read(): string | undefined {
    return this.held.get('read')
  }

  /** Whoever may administrate may read, and where there is one secret it does both. */
  get admin(): string | undefined {
    return this.held.get('admin') ?? this.held.get('read')
  }

  get isKept(): boolean {
    return Object.values(keys).some((key) => readStored(() => sessionStorage, key) !== undefined)
  }

  set(name: keyof typeof keys, token: string, keep: boolean): void {
    if (token === '') this.held.delete(name)
    else this.held.set(name, token)
    writeStored(() => sessionStorage, keys[name], keep && token !== '' ? token : undefined)
  }
}
