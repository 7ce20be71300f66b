/** Takes out of a report what must not leave the machine: secrets that are known, and fields that hold one by name. */

export const redacted = '(removed)'

const secretNames = /secret|token|password|passphrase|authorization|cookie|credential|privatekey/i
/** `secretFile: /etc/…` is a path, `secret: set` is none: these say something and hide nothing. */
const harmlessNames = /(file|path)$/i
const harmlessValues: ReadonlySet<unknown> = new Set(['none', 'set', redacted])
/** A single character taken for a secret would turn every report into holes. */
const secretLengthMin = 4

export class Redactor {
  private readonly secrets: readonly string[]

  constructor(secrets: ReadonlyArray<string | undefined>) {
    const known = secrets.flatMap((secret) =>
      secret === undefined ? [] : [secret, encodeURIComponent(secret), Buffer.from(secret).toString('base64')],
    )
    // A longer one may hold a shorter one.
    this.secrets = [...new Set(known)]
      .filter((secret) => secret.length >= secretLengthMin)
      .sort((a, b) => b.length - a.length)
  }

  text(text: string): string {
    let clean = text
    for (const secret of this.secrets) clean = clean.replaceAll(secret, redacted)
    return clean
      .replace(/\b([a-z][a-z0-9+.-]*:\/\/)[^\s/@"']*@/gi, `$1${redacted}@`)
      .replace(/\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{4,}/gi, `$1 ${redacted}`)
      .replace(/-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)/g, redacted)
      .replace(/([?&](?:[a-z]*(?:token|password|secret)[a-z]*)=)[^&\s"']+/gi, `$1${redacted}`)
  }

  value(value: unknown): unknown {
    if (typeof value === 'string') return this.text(value)
    if (Array.isArray(value)) return value.map((one) => this.value(one))
    if (value === null || typeof value !== 'object') return value
    const clean: Record<string, unknown> = {}
    for (const [name, one] of Object.entries(value)) {
      clean[this.text(name)] = isSecret(name, one) ? redacted : this.value(one)
    }
    return clean
  }
}

function isSecret(name: string, value: unknown): boolean {
  if (!secretNames.test(name) || harmlessNames.test(name)) return false
  return value !== undefined && value !== null && typeof value !== 'boolean' && !harmlessValues.has(value)
}
