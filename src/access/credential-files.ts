import { readFileSync, statSync } from 'node:fs'
import { limits } from '../core/limits.js'
import { type AccessList, emptyAccess, parseAccessFile, parseAccessText, tokenText } from './access-list.js'

export interface SourceProblem {
  readonly option: 'accessFile' | 'tokens' | 'token' | 'tokenFile'
  readonly message: string
}

/** Who may do what, from the file and from the environment together. */
export function readAccess(sources: { readonly accessFile: string | undefined; readonly tokens: string | undefined }): {
  readonly list: AccessList
  readonly problems: readonly SourceProblem[]
} {
  const { accessFile, tokens } = sources
  const problems: SourceProblem[] = []
  let fromFile = emptyAccess
  if (accessFile !== undefined) {
    const read = readText(accessFile, limits.accessFileBytesMax)
    if ('reason' in read) problems.push({ option: 'accessFile', message: read.reason })
    else {
      const parsed = parseAccessFile(read.text)
      fromFile = parsed.list
      const { list } = parsed
      for (const message of parsed.problems)
        problems.push({ option: 'accessFile', message: `${accessFile}: ${message}` })
      // Emptied, it would open the node to everybody.
      if (parsed.problems.length === 0 && list.tokens.length + list.certificates.length === 0) {
        problems.push({ option: 'accessFile', message: `${accessFile} names no token and no certificate` })
      }
    }
  }
  const fromText = tokens === undefined ? { list: emptyAccess, problems: [] } : parseAccessText(tokens)
  for (const message of fromText.problems) problems.push({ option: 'tokens', message })
  const list = {
    tokens: [...fromFile.tokens, ...fromText.list.tokens],
    certificates: fromFile.certificates,
  }
  return { list, problems }
}

/** The token that this process shows to others. */
export function readToken(sources: { readonly token: string | undefined; readonly tokenFile: string | undefined }): {
  readonly token: string | undefined
  readonly problems: readonly SourceProblem[]
} {
  const { tokenFile } = sources
  const option = tokenFile === undefined ? 'token' : 'tokenFile'
  let text = sources.token
  if (tokenFile !== undefined) {
    const read = readText(tokenFile, limits.secretBytesMax + 2)
    if ('reason' in read) return { token: undefined, problems: [{ option, message: read.reason }] }
    text = read.text.replace(/\r?\n$/, '')
  }
  if (text === undefined) return { token: undefined, problems: [] }
  const parsed = tokenText.safeParse(text)
  if (parsed.success) return { token: parsed.data, problems: [] }
  const message = `the token ${tokenFile === undefined ? '' : `in ${tokenFile} `}${parsed.error.issues[0]!.message}`
  return { token: undefined, problems: [{ option, message }] }
}

/** What a process with these sources shows to others: its own token, else the first of its list that lets a node in. */
export function tokenToShow(sources: {
  readonly accessFile: string | undefined
  readonly tokens: string | undefined
  readonly token: string | undefined
  readonly tokenFile: string | undefined
}): string | undefined {
  return readToken(sources).token ?? firstOfNodes(readAccess(sources).list, Date.now())
}

/** Valid now, with the scope of nodes, and known as text. */
export function firstOfNodes(list: AccessList, nowMs: number): string | undefined {
  return list.tokens.find(
    ({ text, scopes, expiresMs }) =>
      text !== undefined && scopes.has('replicate') && (expiresMs === undefined || expiresMs > nowMs),
  )?.text
}

function readText(path: string, bytesMax: number): { readonly text: string } | { readonly reason: string } {
  try {
    const { size } = statSync(path)
    if (size > bytesMax) return { reason: `${path} has ${size} bytes; at most ${bytesMax}` }
    return { text: readFileSync(path, 'utf8') }
  } catch (error) {
    return { reason: `cannot be read: ${(error as Error).message}` }
  }
}
