import { type AddHelpTextContext, type AddHelpTextPosition, Command, type Option } from 'commander'
import { formatMs } from './format.js'
import { wrap } from './wrap.js'

const widthMax = 100
const widthDefault = 80

/** A command whose help fits the terminal, whatever the lines of its texts are in the program. */
export class TidyCommand extends Command {
  override createCommand(name?: string): Command {
    return new TidyCommand(name)
  }

  /** 10 s, not 10000. */
  override addOption(option: Option): this {
    if (option.flags.includes('<DURATION>') && typeof option.defaultValue === 'number') {
      option.defaultValueDescription ??= formatMs(option.defaultValue)
    }
    return super.addOption(option)
  }

  override addHelpText(
    position: AddHelpTextPosition,
    text: string | ((context: AddHelpTextContext) => string | undefined),
  ): this {
    if (typeof text !== 'string') return super.addHelpText(position, text as (context: AddHelpTextContext) => string)
    return super.addHelpText(position, () => reflow(text, Math.min(process.stdout.columns ?? widthDefault, widthMax)))
  }
}

/** Lines that are not indented flow together up to a blank one; examples, which are, stay as they stand. */
export function reflow(text: string, width: number): string {
  const lines: string[] = []
  let flowing: string[] = []
  const flush = (): void => {
    if (flowing.length > 0) lines.push(...wrap(flowing.join(' '), width, 0))
    flowing = []
  }
  for (const line of text.split('\n')) {
    if (line !== '' && !/^\s/.test(line)) {
      flowing.push(line)
      if (line.endsWith(':')) flush()
      continue
    }
    flush()
    lines.push(line)
  }
  flush()
  return lines.join('\n')
}
