/** The part of a file handle that writing needs. */
export interface VectorWriter {
  writev(parts: readonly NodeJS.ArrayBufferView[], offset: number): Promise<{ bytesWritten: number }>
}

/**
 * Writes all parts one after another. The operating system may write fewer bytes than asked (a signal, a quota, a
 * nearly full disk): what is missing is written by further calls, of which the last one tells the error, if any.
 */
export async function writeAll(writer: VectorWriter, parts: readonly Uint8Array[], offset: number): Promise<void> {
  let rest = parts
  let at = offset
  let missing = 0
  for (const part of parts) missing += part.length
  while (missing > 0) {
    const { bytesWritten } = await writer.writev(rest, at)
    if (bytesWritten === missing) return
    if (bytesWritten <= 0) {
      throw Object.assign(new Error(`EIO: wrote none of ${missing} bytes at offset ${at}`), { code: 'EIO' })
    }
    missing -= bytesWritten
    at += bytesWritten
    rest = without(rest, bytesWritten)
  }
}

function without(parts: readonly Uint8Array[], count: number): Uint8Array[] {
  const rest: Uint8Array[] = []
  let left = count
  for (const part of parts) {
    if (left >= part.length) {
      left -= part.length
      continue
    }
    rest.push(left === 0 ? part : part.subarray(left))
    left = 0
  }
  return rest
}
