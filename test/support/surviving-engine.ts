import type { Block } from '#src/core/entry.js'
import { invariant } from '#src/core/invariant.js'
import type { Position } from '#src/core/position.js'
import { memoryEngine } from '#src/engine/memory.js'
import type { Engine, EngineFactory, EngineState, RewoundKey } from '#src/ports/engine.js'

type Change =
  | { readonly type: 'apply'; readonly blocks: readonly Block[] }
  | { readonly type: 'rewind'; readonly keys: readonly RewoundKey[]; readonly to: Position }

/**
 * An engine whose content outlives its process, for one directory: as on a disk, the end of a process keeps
 * everything, and a loss of power what the last checkpoint or rewind has proven and any number of changes after it.
 */
export class SurvivingStore {
  private changes: Change[] = []
  private proven = 0
  private checkpointed: Position | undefined
  /** Asked before and after each change: the moment to end the process. Resolves never once it has ended. */
  step: (() => Promise<void>) | undefined

  clone(): SurvivingStore {
    const copy = new SurvivingStore()
    copy.changes = [...this.changes]
    copy.proven = this.proven
    copy.checkpointed = this.checkpointed
    return copy
  }

  /** Of the changes that were not proven the first `keep` are there afterwards. */
  losePower(keep: number): void {
    this.changes.length = Math.min(this.changes.length, this.proven + keep)
  }

  /** A process that opens the store; what an earlier one still does has no effect any more. */
  factory(): EngineFactory {
    return { kind: 'memory', open: (_directory, empty) => this.open(empty) }
  }

  private async open(empty: Position): Promise<Engine> {
    const inner = await memoryEngine.open('', empty)
    for (const change of this.changes) {
      if (change.type === 'apply') await inner.apply(change.blocks)
      else await inner.rewind(change.keys, change.to)
    }
    const { checkpointed, step } = this
    const opened: EngineState = {
      checkpoint: checkpointed,
      applied: this.changes.length === 0 ? undefined : inner.applied,
    }
    const change = async (one: Change, work: () => Promise<void>): Promise<void> => {
      await step?.()
      await work()
      this.changes.push(one)
      if (one.type === 'rewind') this.prove(one.to)
      await step?.()
    }
    return new Proxy(inner, {
      get: (target, property) => {
        switch (property) {
          case 'volatile':
            return false
          case 'opened':
            return opened
          case 'apply':
            return (blocks: readonly Block[]) => change({ type: 'apply', blocks }, () => target.apply(blocks))
          case 'rewind':
            return (keys: readonly RewoundKey[], to: Position) =>
              change({ type: 'rewind', keys, to }, () => target.rewind(keys, to))
          case 'checkpoint':
            return async () => {
              await step?.()
              this.prove(target.applied)
              return target.applied
            }
          case 'ingest':
          case 'finishIngest':
            invariant(false, 'this store is for nodes that are not bootstrapped')
            return undefined
          default: {
            const value: unknown = Reflect.get(target, property, target)
            return typeof value === 'function' ? value.bind(target) : value
          }
        }
      },
    })
  }

  private prove(position: Position): void {
    this.proven = this.changes.length
    this.checkpointed = position
  }
}
