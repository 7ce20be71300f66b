import type { VNode } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import type { ClusterView, NodeView } from '../model/cluster-view.js'
import { type Result, switchover, verify } from '../operate.js'
import type { Tokens } from '../tokens.js'
import { Icon } from './icon.js'
import { TokenFields } from './token-fields.js'

export type Operation = 'switchover' | 'verify'

export interface OperateDialogProps {
  readonly operation: Operation
  readonly view: ClusterView
  readonly tokens: Tokens
  readonly onClose: () => void
}

/** Asks, does, and says what became of it. Modal: the browser keeps the focus inside and gives it back. */
export function OperateDialog({ operation, view, tokens, onClose }: OperateDialogProps): VNode {
  const dialog = useRef<HTMLDialogElement>(null)
  const abort = useRef(new AbortController())
  const targets = view.nodes.filter(({ node }) => node !== view.primary)
  const [target, setTarget] = useState(() => bestTarget(targets)?.node)
  const [token, setToken] = useState(tokens.admin ?? '')
  const [keep, setKeep] = useState(tokens.isKept)
  const [isUnderWay, setUnderWay] = useState(false)
  const [progress, setProgress] = useState('')
  const [result, setResult] = useState<Result | undefined>(undefined)
  useEffect(() => {
    dialog.current!.showModal()
    // The browser takes the first choice, which need not be the one that is made.
    dialog.current!.querySelector<HTMLElement>('input[type=radio]:checked')?.focus()
    const { current } = abort
    return () => current.abort()
  }, [])

  const isSwitchover = operation === 'switchover'
  const canStart = !isUnderWay && (!isSwitchover || target !== undefined)
  const start = async (): Promise<void> => {
    if (!canStart) return
    tokens.set('admin', token, keep)
    setUnderWay(true)
    setResult(undefined)
    const { signal } = abort.current
    const done = isSwitchover ? await switchover(target!, tokens, signal) : await verify(tokens, signal, setProgress)
    if (signal.aborted) return
    setUnderWay(false)
    setResult(done)
  }
  const isDone = result?.tone === 'good'
  return (
    <dialog ref={dialog} class="operate" aria-labelledby="operate-title" onClose={onClose}>
      <form
        method="dialog"
        onSubmit={(event) => {
          event.preventDefault()
          start().catch(() => setUnderWay(false))
        }}
      >
        <h2 id="operate-title">{isSwitchover ? 'Switch over to another node' : 'Verify the data of all nodes'}</h2>
        {isSwitchover ? (
          <Targets
            view={view}
            targets={targets}
            target={target}
            isDisabled={isUnderWay || isDone}
            onTarget={setTarget}
          />
        ) : (
          <p>
            The nodes compare what they hold at one position, range by range, while they go on serving. It reads all
            data once on every node, which takes disk and processor time.
          </p>
        )}
        {isDone ? undefined : (
          <TokenFields
            id="admin-token"
            label="Admin token"
            help="Leave it empty if this cluster has none. It is sent to this node alone, in a header."
            value={token}
            keep={keep}
            onValue={setToken}
            onKeep={setKeep}
          />
        )}
        <div class="result" role="status" aria-live="polite">
          {isUnderWay ? <p class="busy">{isSwitchover ? `Switching over to ${target}…` : 'Comparing…'}</p> : undefined}
          {result === undefined ? undefined : <ResultText result={result} />}
        </div>
        {/* Too often for being read aloud. */}
        {isUnderWay && progress !== '' ? <p class="help">{progress}</p> : undefined}
        <div class="buttons">
          <button type="button" onClick={() => dialog.current!.close()}>
            {isDone ? 'Close' : isUnderWay ? 'Leave' : 'Cancel'}
          </button>
          {isDone ? undefined : (
            <button type="submit" class="main" disabled={!canStart}>
              {isSwitchover
                ? target === undefined
                  ? 'No node can take over'
                  : `Switch over to ${target}`
                : 'Verify now'}
            </button>
          )}
        </div>
      </form>
    </dialog>
  )
}

function Targets(props: {
  readonly view: ClusterView
  readonly targets: readonly NodeView[]
  readonly target: string | undefined
  readonly isDisabled: boolean
  readonly onTarget: (node: string) => void
}): VNode {
  const { view, targets, target, isDisabled, onTarget } = props
  return (
    <>
      <p>
        {view.primary === undefined
          ? 'There is no primary that could hand over now.'
          : `${view.primary} hands over as soon as the new primary holds everything.`}{' '}
        Writes pause for a moment (usually under 100 ms) and none is lost; if it takes longer than 10 s, all stays as it
        is.
      </p>
      <fieldset class="targets" disabled={isDisabled}>
        <legend>New primary</legend>
        {targets.map((node) => {
          const obstacle = obstacleOf(node)
          return (
            <label key={node.node} class={obstacle === undefined ? '' : 'unfit'}>
              <input
                type="radio"
                name="target"
                value={node.node}
                checked={target === node.node}
                disabled={obstacle !== undefined}
                onChange={() => onTarget(node.node)}
              />
              <b>{node.node}</b>
              <span>{obstacle ?? `${node.state}, ${node.lagText}`}</span>
            </label>
          )
        })}
      </fieldset>
    </>
  )
}

function ResultText({ result }: { readonly result: Result }): VNode {
  const { tone, title, text, code, hint } = result
  return (
    <div class={`outcome ${tone}`}>
      <p class="title">
        <Icon tone={tone} />
        {title}
      </p>
      <p>{text}</p>
      {hint === undefined ? undefined : <p class="hint">What to do: {hint}</p>}
      {code === undefined ? undefined : <p class="code">{code}</p>}
    </div>
  )
}

/** The same for whoever may not see it: why a node cannot be chosen. */
function obstacleOf({ reachable, state, inSync }: NodeView): string | undefined {
  if (!reachable) return 'does not answer'
  if (state !== undefined && state !== 'streaming') return `is ${state}`
  return inSync ? undefined : 'is not in the in-sync set'
}

function bestTarget(targets: readonly NodeView[]): NodeView | undefined {
  const fit = targets.filter((node) => obstacleOf(node) === undefined)
  return fit.sort((a, b) => (b.sequence.durable ?? 0) - (a.sequence.durable ?? 0))[0]
}
