import { type CredentialSources, Credentials, noCredentials } from '#src/access/credentials.js'
import { silentLogger } from '#src/ports/logger.js'

/** Of a node that asks for none, unless the sources say otherwise. */
export function testCredentials(sources: Partial<CredentialSources> = {}): Credentials {
  return new Credentials({ ...noCredentials, ...sources }, silentLogger)
}
