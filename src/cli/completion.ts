import { Argument, type Command } from 'commander'
import { describeCommands } from './command-tree.js'
import { completionScript, type Shell, shells } from './completion-scripts.js'
import { printJson } from './terminal.js'

export function registerCompletion(program: Command): void {
  program
    .command('completion')
    .description('print the script with which a shell completes commands and flags')
    .addArgument(new Argument('<SHELL>', 'the shell').choices(shells))
    .option('--json', 'the script as one JSON object')
    .addHelpText(
      'after',
      `
Examples:
  echo 'source <(understudy completion bash)' >> ~/.bashrc
  understudy completion zsh > "\${fpath[1]}/_understudy"
  understudy completion fish > ~/.config/fish/completions/understudy.fish

Exit codes: 0 printed; 2 no such shell.`,
    )
    .action((shell: Shell, flags: { readonly json?: boolean }) => {
      const script = completionScript(shell, describeCommands(program))
      if (flags.json === true) printJson({ shell, script })
      else process.stdout.write(script)
    })
}
