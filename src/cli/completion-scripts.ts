/** Completion scripts of shells, from the commands as they are registered. */
import { type CommandNode, type FlagNode, flatten, type ValueKind } from './command-tree.js'

export const shells = ['bash', 'zsh', 'fish'] as const
export type Shell = (typeof shells)[number]

export function completionScript(shell: Shell, program: CommandNode): string {
  return { bash: bashScript, zsh: zshScript, fish: fishScript }[shell](program)
}

/** In single quotes nothing has a meaning, in any of the three. */
function quoted(text: string, apostrophe = "'\\''"): string {
  return `'${text.replaceAll("'", apostrophe)}'`
}

const isAFlag = ({ flags }: CommandNode): readonly FlagNode[] => flags.filter(({ value }) => value !== undefined)

function namesOf({ long, short }: FlagNode): string[] {
  return short === undefined ? [long] : [short, long]
}

const nameOf = (node: CommandNode): string => node.path.split(' ').at(-1)!

// bash

function bashScript(program: CommandNode): string {
  const all = flatten(program)
  const descents = all.flatMap((node) =>
    node.commands.map((one) => `      ${quoted(`${node.path}/${nameOf(one)}`)}) path=${quoted(one.path)} ;;`),
  )
  const values = all.flatMap((node) =>
    isAFlag(node).map(
      (flag) =>
        `      ${namesOf(flag)
          .map((name) => quoted(`${node.path}/${name}`))
          .join('|')}) ${bashValue(flag.value!)} return ;;`,
    ),
  )
  const takers = [...new Set(all.flatMap((node) => isAFlag(node).flatMap(namesOf)))]
  const words = all.map((node) => {
    const flags = node.flags.map(({ long }) => long).join(' ')
    const commands = node.commands.map(nameOf).join(' ')
    const argument = node.argument === undefined ? '' : ` ${bashValue(node.argument)}`
    return `    ${quoted(node.path)})
      if [[ $cur == -* ]]; then COMPREPLY=($(compgen -W ${quoted(flags)} -- "$cur"))
      else COMPREPLY=($(compgen -W ${quoted(commands)} -- "$cur"));${argument} fi ;;`
  })
  return `# bash completion of understudy; in ~/.bashrc: source <(understudy completion bash)
_understudy() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD-1]} path='' word i skip=''
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=\${COMP_WORDS[i]}
    if [[ -n $skip ]]; then skip=''; continue; fi
    case $word in
      ${takers.join('|')}) skip=1; continue ;;
    esac
    case "$path/$word" in
${descents.join('\n')}
    esac
  done
  if [[ -n $skip ]]; then
    case "$path/$prev" in
${values.join('\n')}
    esac
    return
  fi
  case "$path" in
${words.join('\n')}
  esac
}
complete -F _understudy understudy
`
}

function bashValue(value: ValueKind): string {
  switch (value.type) {
    case 'file':
      return 'compopt -o filenames 2>/dev/null; COMPREPLY+=($(compgen -f -- "$cur"));'
    case 'directory':
      return 'compopt -o filenames 2>/dev/null; COMPREPLY+=($(compgen -d -- "$cur"));'
    case 'choices':
      return `COMPREPLY+=($(compgen -W ${quoted(value.choices.join(' '))} -- "$cur"));`
    case 'text':
      return ':;'
  }
}

// zsh

function zshScript(program: CommandNode): string {
  const functions = flatten(program).map((node) => {
    const flags = node.flags.map((flag) => `    ${quoted(zshFlag(flag))}`)
    if (node.commands.length === 0) {
      const argument = node.argument === undefined ? [] : [`    ${quoted(`*:argument:${zshValue(node.argument)}`)}`]
      return `${functionName(node)}() {
  _arguments -s \\
${[...flags, ...argument].join(' \\\n')}
}`
    }
    const commands = node.commands.map((one) => `      ${quoted(`${nameOf(one)}:${one.description}`)}`)
    const cases = node.commands.map((one) => `      ${nameOf(one)}) ${functionName(one)} ;;`)
    return `${functionName(node)}() {
  local line state
  _arguments -C \\
${flags.join(' \\\n')} \\
    '1: :->command' '*:: :->rest'
  case $state in
    command)
      local -a commands=(
${commands.join('\n')}
      )
      _describe command commands ;;
    rest)
      case $line[1] in
${cases.map((line) => `  ${line}`).join('\n')}
      esac ;;
  esac
}`
  })
  return `#compdef understudy
# zsh completion of understudy; in a directory of $fpath: understudy completion zsh > _understudy
${functions.join('\n\n')}

if [[ $funcstack[1] == _understudy ]]; then _understudy "$@"; else compdef _understudy understudy; fi
`
}

function functionName({ path }: CommandNode): string {
  return path === '' ? '_understudy' : `_understudy_${path.replaceAll(/[^a-z]/g, '_')}`
}

function zshFlag({ long, description, value }: FlagNode): string {
  const text = description.replaceAll(/[[\]]/g, '\\$&').replaceAll(':', '\\:')
  return `${long}[${text}]${value === undefined ? '' : `:value:${zshValue(value)}`}`
}

function zshValue(value: ValueKind): string {
  switch (value.type) {
    case 'file':
      return '_files'
    case 'directory':
      return '_files -/'
    case 'choices':
      return `(${value.choices.join(' ')})`
    case 'text':
      return ' '
  }
}

// fish

function fishScript(program: CommandNode): string {
  const lines = flatten(program).flatMap((node) => {
    const names = node.path === '' ? [] : node.path.split(' ')
    const seen = names.map((name) => `__fish_seen_subcommand_from ${name}`)
    const none = node.commands.map(nameOf)
    const here = [...seen, ...(none.length === 0 ? [] : [`not __fish_seen_subcommand_from ${none.join(' ')}`])].join(
      '; and ',
    )
    const start = `complete -c understudy${here === '' ? '' : ` -n ${quoted(here, "\\'")}`}`
    const commands = node.commands.map((one) => `${start} -f -a ${nameOf(one)} -d ${quoted(one.description, "\\'")}`)
    const flags = node.flags.map(({ long, short, description, value }) => {
      const name = `-l ${long.slice(2)}${short === undefined ? '' : ` -s ${short.slice(1)}`}`
      return `${start} ${name} -d ${quoted(description, "\\'")}${value === undefined ? '' : fishValue(value)}`
    })
    const argument =
      node.argument?.type === 'choices' ? [`${start}${fishValue(node.argument).replace(' -x', ' -f')}`] : []
    const files = node.argument?.type === 'file' || node.argument?.type === 'directory' ? [`${start} -F`] : []
    return [...commands, ...flags, ...argument, ...files]
  })
  return `# fish completion of understudy: understudy completion fish > ~/.config/fish/completions/understudy.fish
complete -c understudy -f
${lines.join('\n')}
`
}

function fishValue(value: ValueKind): string {
  switch (value.type) {
    case 'file':
      return ' -r -F'
    case 'directory':
      return " -x -a '(__fish_complete_directories)'"
    case 'choices':
      return ` -x -a ${quoted(value.choices.join(' '), "\\'")}`
    case 'text':
      return ' -x'
  }
}
