/** Percent-decoding into bytes: keys need not be UTF-8, so that `decodeURIComponent` will not do. */

function hexDigit(code: number): number {
  if (code >= 0x30 && code <= 0x39) return code - 0x30
  const lower = code | 0x20
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x61 + 10 : -1
}

/** Undefined where a percent sign is not followed by two hexadecimal digits. */
export function percentDecode(text: string, plusIsSpace: boolean): Buffer | undefined {
  const source = Buffer.from(text)
  if (!source.includes(0x25) && !(plusIsSpace && source.includes(0x2b))) return source
  let length = 0
  for (let at = 0; at < source.length; at++) {
    const byte = source[at]!
    if (byte === 0x25) {
      const high = at + 2 < source.length ? hexDigit(source[at + 1]!) : -1
      const low = at + 2 < source.length ? hexDigit(source[at + 2]!) : -1
      if (high < 0 || low < 0) return undefined
      source[length++] = high * 16 + low
      at += 2
    } else source[length++] = plusIsSpace && byte === 0x2b ? 0x20 : byte
  }
  return source.subarray(0, length)
}

/** Every byte that is not unreserved is escaped: what `percentDecode` gives back unchanged. */
export function percentEncode(bytes: Uint8Array): string {
  let text = ''
  for (const byte of bytes) {
    const char = String.fromCharCode(byte)
    text += /[A-Za-z0-9_~-]/.test(char) ? char : `%${byte.toString(16).padStart(2, '0').toUpperCase()}`
  }
  return text
}
