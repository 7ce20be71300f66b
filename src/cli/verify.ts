import { type Command, Option } from 'commander'
import { limits } from '../core/limits.js'
import { UnderstudyError } from '../errors.js'
import type { VerifyProgress } from '../runtime/verify-report.js'
import { addClientFlags, type ClientFlags, nodeAddress, parseDuration } from './client-flags.js'
import { formatBytes, formatCount, formatMs, plural } from './format.js'
import { onInterrupt, reasonOf } from './interrupt.js'
import { askVerify } from './node-client.js'
import { countParser, sizeParser } from './parse-flags.js'
import { ProgressBar } from './progress-bar.js'
import { renderTable } from './table.js'
import { createPaint, type Paint, printJson, printLine } from './terminal.js'
import { wrap } from './wrap.js'

interface VerifyFlags extends ClientFlags {
  readonly shard?: string
  readonly rate: number
  readonly differences: number
  readonly timeout: number
}

/** What `POST /v1/verify` answers. */
export interface VerifyAnswer {
  readonly verdict: 'equal' | 'different' | 'incomplete'
  readonly node: string
  readonly position: string | null
  readonly nodes: ReadonlyArray<{
    readonly node: string
    readonly state: 'equal' | 'different' | 'not-compared'
    readonly failure?: { readonly code: string; readonly message: string }
    readonly differences: number
    readonly more: boolean
  }>
  readonly differences: ReadonlyArray<{
    readonly node: string
    readonly family: string
    readonly key?: string
    readonly keyBase64?: string
    readonly kind: string
  }>
  readonly families: number
  readonly entries: number
  readonly bytes: number
  readonly durationMs: number
}

export function registerVerify(program: Command): void {
  const command = program
    .command('verify')
    .description('compare the content of all nodes at one position, while they serve; names every key that differs')
  addClientFlags(command)
    .option('--shard <NAME>', 'shard, if the node hosts several')
    .addOption(
      new Option('--rate <SIZE>', 'bytes of content that each node reads per second at most')
        .argParser(sizeParser(limits.verifyBytesPerSecondMin))
        .default(limits.verifyBytesPerSecond, formatBytes(limits.verifyBytesPerSecond)),
    )
    .addOption(
      new Option('--differences <N>', 'differences to name for each node; what is beyond is not looked for')
        .argParser(countParser(1, limits.verifyDifferencesMax))
        .default(limits.verifyDifferences),
    )
    .addOption(
      new Option('--timeout <DURATION>', 'how long a node that is behind is waited for')
        .argParser(parseDuration)
        .default(limits.verifyTimeoutMs, formatMs(limits.verifyTimeoutMs)),
    )
    .option('--json', 'the result as one JSON object')
    .addHelpText(
      'after',
      `
The node that is asked is compared with all others. It writes one empty entry; every
node takes a snapshot right after that entry, so that all of them are looked at in the
same state, and goes on serving. Digests of ranges of keys are compared, and where they
differ, smaller ones, down to single keys. Only digests and keys travel, no values.

Where two nodes differ, this cannot say which one is wrong. Ask a second node: the one
that differs from all others is. It is rebuilt with
  understudy bootstrap --data DIR --node NAME --from URL --replace

Examples:
  understudy verify --url http://10.0.0.1:7400
  understudy verify --url http://10.0.0.1:7400 --rate 8MiB
  understudy verify --json | jq -c '.differences[]'

Exit codes: 0 all nodes are equal; 5 a node differs, or cannot read its own data;
4 a node could not be compared (away, behind), or nothing can be compared now.`,
    )
    .action((flags: VerifyFlags) => run(flags))
}

async function run(flags: VerifyFlags): Promise<void> {
  const interrupt = onInterrupt()
  const bar = new ProgressBar()
  let answer: VerifyAnswer | undefined
  const { rate: maxBytesPerSecond, differences: differencesMax, timeout: timeoutMs } = flags
  try {
    const body = { maxBytesPerSecond, differencesMax, timeoutMs }
    bar.update('waiting  ', 0, undefined, 'all nodes come to one position')
    await askVerify(nodeAddress(flags), { shard: flags.shard, body, signal: interrupt.signal }, (line) => {
      if (line.type === 'result') answer = line as unknown as VerifyAnswer
      if (line.type === 'progress') show(bar, line as unknown as VerifyProgress)
    })
  } catch (error) {
    throw reasonOf(interrupt.signal, error)
  } finally {
    bar.end()
    interrupt.end()
  }
  if (answer === undefined) {
    throw new UnderstudyError('UNAVAILABLE', 'the node ended the comparison without a result', {
      hint: 'it may have been stopped meanwhile; compare again',
    })
  }
  if (flags.json === true) {
    const { type, ...result } = answer as VerifyAnswer & { readonly type?: string }
    printJson(result)
  } else for (const line of render(answer)) printLine(line)
  const failure = failureOf(answer)
  if (failure !== undefined) throw failure
}

function show(bar: ProgressBar, { entries, bytes, bytesExpected, family, differences }: VerifyProgress): void {
  const found = differences === 0 ? '' : ` · ${plural(differences, 'difference')}`
  const where = family === undefined || family === 'default' ? '' : ` · ${family}`
  const text = `${formatCount(entries)} entries, ${formatBytes(bytes)}${where}${found}`
  bar.update('comparing', bytes, bytesExpected, text)
}

function render(answer: VerifyAnswer): string[] {
  const paint = createPaint(process.stdout)
  const width = process.stdout.columns ?? Number.POSITIVE_INFINITY
  const inOrder = [...answer.nodes].sort((a, b) => (a.node < b.node ? -1 : 1))
  const nodes = inOrder.map(({ node, state, differences, more }) => ({
    node,
    [`compared with ${answer.node}`]: paintState(state, paint),
    differences: state === 'not-compared' ? '-' : `${formatCount(differences)}${more ? ' or more' : ''}`,
  }))
  const columns = ['node', `compared with ${answer.node}`, 'differences']
  const lines = renderTable(columns, nodes as ReadonlyArray<Record<string, string>>, {
    width: Number.POSITIVE_INFINITY,
    paint,
    numbers: ['differences'],
  })
  for (const { node, failure } of inOrder) {
    if (failure !== undefined) lines.push(...wrap(`${node}: ${failure.code}: ${failure.message}`, width))
  }
  if (answer.differences.length > 0) {
    const rows = answer.differences.map(({ node, family, key, keyBase64, kind }) => ({
      node,
      family,
      key: key === undefined ? (keyBase64 === undefined ? '(whole family)' : `base64:${keyBase64}`) : quoted(key),
      difference: kindText(kind, node, answer.node),
    }))
    lines.push('', ...renderTable(['node', 'difference', 'family', 'key'], rows, { width, paint }))
  }
  const size = `${formatCount(answer.entries)} entries, ${formatBytes(answer.bytes)} in ${plural(answer.families, 'family', 'families')}`
  const where = answer.position === null ? 'nothing was compared' : `${size}, compared at ${answer.position}`
  const verdict = {
    equal: paint('green', 'all nodes hold the same content'),
    different: paint('red', 'the nodes do not hold the same content'),
    incomplete: paint('yellow', 'what was compared is equal, but not all nodes were compared'),
  }[answer.verdict]
  if (answer.position === null) return [...lines, '', paint('yellow', where)]
  return [...lines, '', verdict, `${where}, ${formatMs(answer.durationMs)}`]
}

function paintState(state: string, paint: Paint): string {
  if (state === 'equal') return paint('green', state)
  return state === 'different' ? paint('red', state) : paint('yellow', 'not compared')
}

/** What a terminal would not show as it is, is escaped as in JSON. */
function quoted(key: string): string {
  return /^[\x21-\x7e]+$/.test(key) && !key.startsWith('"') ? key : JSON.stringify(key)
}

function kindText(kind: string, node: string, asked: string): string {
  switch (kind) {
    case 'missing-there':
      return `missing on ${node}`
    case 'missing-here':
      return `missing on ${asked}`
    case 'value':
      return 'other value'
    case 'family-missing-there':
      return `family missing on ${node}`
    case 'family-missing-here':
      return `family missing on ${asked}`
    case 'family-id':
      return 'family has another id'
    default:
      return kind
  }
}

/** What a node cannot read, or has in another history, is as bad as what differs. */
function failureOf({ verdict, node, nodes }: VerifyAnswer): UnderstudyError | undefined {
  const different = nodes.filter(({ state }) => state === 'different')
  if (verdict === 'different') {
    const names = different.map((one) => one.node).join(', ')
    return new UnderstudyError('CORRUPTION', `${names} and ${node} hold different content at the same position`, {
      hint: `find out which of them is wrong: ask a third node with --url; then rebuild it with understudy bootstrap --replace`,
    })
  }
  const unreadable = nodes.find(({ failure }) => /CORRUPTION|DIVERGED/.test(failure?.code ?? ''))
  if (unreadable !== undefined) {
    return new UnderstudyError('CORRUPTION', `${unreadable.node}: ${unreadable.failure?.message}`)
  }
  if (verdict === 'equal') return undefined
  const missing = nodes.filter(({ state }) => state === 'not-compared').map((one) => one.node)
  return new UnderstudyError('UNAVAILABLE', `not all nodes were compared: ${missing.join(', ')}`, {
    hint: 'see why with understudy status, then compare again',
  })
}
