import { formatSeconds } from './format.js'

export type Connection =
  | { readonly kind: 'connecting' }
  | { readonly kind: 'live' }
  /** The node asks for a token, or refuses the one it got. */
  | { readonly kind: 'token'; readonly message: string }
  /** It answers, and says why it has nothing to show. */
  | { readonly kind: 'refused'; readonly message: string }
  | { readonly kind: 'lost'; readonly message: string }

export interface Freshness {
  readonly isFresh: boolean
  readonly label: string
  /** Undefined while all is well. */
  readonly notice: string | undefined
}

/** Without a picture for so long the node is not there, whatever the connection says. */
export const staleMs = 3_500

/** How old what is shown is, in words. Ages are of this browser's clock alone. */
export function freshnessOf(connection: Connection, node: string | undefined, ageMs: number | undefined): Freshness {
  const name = node ?? 'the node'
  if (ageMs === undefined) {
    if (connection.kind === 'lost') {
      return { isFresh: false, label: 'no answer', notice: `${connection.message}. Trying again.` }
    }
    if (connection.kind === 'refused') return { isFresh: false, label: 'waiting', notice: connection.message }
    return { isFresh: false, label: 'connecting', notice: undefined }
  }
  const seen = `last seen ${formatSeconds(ageMs / 1000)} ago`
  if (connection.kind === 'refused') {
    return {
      isFresh: false,
      label: seen,
      notice: `${name} says: ${connection.message} What you see is the last picture.`,
    }
  }
  if (ageMs < staleMs && connection.kind !== 'lost') return { isFresh: true, label: 'live', notice: undefined }
  return {
    isFresh: false,
    label: seen,
    notice: `Node ${name}, which serves this page, does not answer: ${seen}. What you see is the last picture; trying to connect again.`,
  }
}
