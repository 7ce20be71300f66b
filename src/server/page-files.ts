import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { extname } from 'node:path'
import { UnderstudyError } from '../errors.js'

const types: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
}

/** Where a build puts it. */
export const builtPage = new URL('../page/', import.meta.url)
export const assetPrefix = '/assets/'

export interface PageFile {
  readonly type: string
  /** Its name holds a hash of its content: it never changes. */
  readonly immutable: boolean
  readonly etag: string
  readonly bodies: Readonly<Record<Encoding, Buffer>>
}

export type Encoding = 'br' | 'gzip' | 'identity'

/** All files of the page by their path, each as it is and compressed; a hundred kilobytes together. */
export async function readPage(directory: URL = builtPage): Promise<ReadonlyMap<string, PageFile>> {
  const files = new Map<string, PageFile>()
  try {
    files.set('/', await readPageFile(new URL('index.html', directory), false))
    const assets = new URL('assets/', directory)
    for (const name of await readdir(assets)) {
      if (types[extname(name)] === undefined) continue
      files.set(`${assetPrefix}${name}`, await readPageFile(new URL(name, assets), true))
    }
  } catch (error) {
    throw new UnderstudyError('NOT_FOUND', 'this installation has no status page', {
      hint: 'npm run build makes it; everything else is served as always',
      cause: error,
    })
  }
  return files
}

async function readPageFile(file: URL, immutable: boolean): Promise<PageFile> {
  const [identity, br, gzip] = await Promise.all(['', '.br', '.gz'].map((end) => readFile(new URL(file.href + end))))
  const digest = createHash('sha256').update(identity!).digest('base64url').slice(0, 22)
  return {
    type: types[extname(file.pathname)]!,
    immutable,
    etag: digest,
    bodies: { identity: identity!, br: br!, gzip: gzip! },
  }
}

/** The best of what the client takes. */
export function chooseEncoding(accept: string | undefined): Encoding {
  const taken = new Set<string>()
  for (const part of (accept ?? '').toLowerCase().split(',')) {
    const [name = '', ...parameters] = part.split(';').map((text) => text.trim())
    if (!parameters.some((parameter) => /^q=0(?:\.0*)?$/.test(parameter))) taken.add(name)
  }
  if (taken.has('br')) return 'br'
  return taken.has('gzip') ? 'gzip' : 'identity'
}
