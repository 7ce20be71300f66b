export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Of these bytes of a buffer, without a view of them where they are ASCII, as nearly all names are. See `decodeUtf8`. */
export function utf8At(buffer: Buffer, start: number, end: number): string | undefined {
  for (let at = start; at < end; at++) if (buffer[at]! > 0x7f) return decodeUtf8(buffer.subarray(start, end))
  return buffer.toString('latin1', start, end)
}

/** The text of the bytes, or undefined if they are not UTF-8: a name that was repaired on the way is another name. */
export function decodeUtf8(bytes: Uint8Array): string | undefined {
  try {
    return decoder.decode(bytes)
  } catch {
    return undefined
  }
}
