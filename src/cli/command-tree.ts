import type { Command, Option } from 'commander'

/** What may follow a flag or stand as an argument, as far as a shell can help with it. */
export type ValueKind =
  | { readonly type: 'file' }
  | { readonly type: 'directory' }
  | { readonly type: 'choices'; readonly choices: readonly string[] }
  | { readonly type: 'text' }

export interface FlagNode {
  readonly long: string
  readonly short: string | undefined
  readonly description: string
  /** Undefined: it takes no value. */
  readonly value: ValueKind | undefined
}

export interface CommandNode {
  /** `config check`; empty for the program itself. */
  readonly path: string
  readonly description: string
  readonly commands: readonly CommandNode[]
  readonly flags: readonly FlagNode[]
  readonly argument: ValueKind | undefined
}

/** The commands and flags as they are registered: whatever is added there is completed and checked. */
export function describeCommands(command: Command, parents: readonly string[] = []): CommandNode {
  const path = parents.join(' ')
  const [argument] = command.registeredArguments
  const help: FlagNode = { long: '--help', short: '-h', description: 'what it does, with examples', value: undefined }
  return {
    path,
    description: firstSentence(command.description()),
    commands: command.commands.map((one) => describeCommands(one, [...parents, one.name()])),
    flags: [...command.options.filter((option) => !option.hidden).map(describeFlag), help],
    argument:
      argument === undefined
        ? undefined
        : valueKindOf(argument.name(), argument.argChoices ?? [], argument.description),
  }
}

/** Of all commands, the program first. */
export function flatten(node: CommandNode): CommandNode[] {
  return [node, ...node.commands.flatMap(flatten)]
}

function describeFlag(option: Option): FlagNode {
  const placeholder = /<([^>]+)>/.exec(option.flags)?.[1]
  return {
    long: option.long ?? option.flags,
    short: option.short,
    description: firstSentence(option.description),
    value:
      placeholder === undefined ? undefined : valueKindOf(placeholder, option.argChoices ?? [], option.description),
  }
}

function valueKindOf(placeholder: string, choices: readonly string[], description: string): ValueKind {
  if (choices.length > 0) return { type: 'choices', choices }
  // "level | rocksdb | memory; fixed for a directory"
  const listed = /^[\w-]+(?: \| [\w-]+)+/.exec(description)?.[0]
  if (listed !== undefined) return { type: 'choices', choices: listed.split(' | ') }
  if (placeholder === 'DIR') return { type: 'directory' }
  return placeholder === 'FILE' || placeholder === 'OUT' ? { type: 'file' } : { type: 'text' }
}

function firstSentence(text: string): string {
  return text.split(/[;\n]/)[0]!.trim()
}
