/** How far the chunks are, as the engine keeps it in one batch with their content. */
export interface StoredProgress {
  readonly family: number
  readonly familyName: string
  readonly nextKey: Uint8Array | undefined
  readonly complete: boolean
  readonly bytes: number
  readonly entries: number
}

export const noProgress: StoredProgress = {
  family: 0,
  familyName: 'default',
  nextKey: new Uint8Array(0),
  complete: false,
  bytes: 0,
  entries: 0,
}

export function encodeProgress(progress: StoredProgress): Uint8Array {
  const nextKey = progress.nextKey === undefined ? null : Buffer.from(progress.nextKey).toString('hex')
  return Buffer.from(JSON.stringify({ ...progress, nextKey }))
}

export function decodeProgress(bytes: Uint8Array): StoredProgress {
  const stored = JSON.parse(Buffer.from(bytes).toString()) as Omit<StoredProgress, 'nextKey'> & {
    nextKey: string | null
  }
  return { ...stored, nextKey: stored.nextKey === null ? undefined : Buffer.from(stored.nextKey, 'hex') }
}

/** For people: where a bootstrap that resumes goes on. */
export function describeResume(stored: StoredProgress): string {
  if (stored.complete) return `all chunks present (${stored.entries} entries, ${stored.bytes} bytes)`
  const key =
    stored.nextKey === undefined ? 'its end' : `key 0x${Buffer.from(stored.nextKey.subarray(0, 16)).toString('hex')}`
  return `family ${stored.familyName} from ${key} on (${stored.entries} entries, ${stored.bytes} bytes present)`
}
