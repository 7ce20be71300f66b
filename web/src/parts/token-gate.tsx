import type { VNode } from 'preact'
import { useState } from 'preact/hooks'
import { TokenFields } from './token-fields.js'

/** Before the first picture: the node wants to know who asks. */
export function TokenGate(props: {
  readonly message: string
  readonly isWrong: boolean
  readonly onToken: (token: string, keep: boolean) => void
}): VNode {
  const [token, setToken] = useState('')
  const [keep, setKeep] = useState(false)
  return (
    <section class="gate" aria-labelledby="gate-title">
      <h2 id="gate-title">This node asks for a token</h2>
      <p role={props.isWrong ? 'alert' : undefined}>{props.message}.</p>
      <form
        onSubmit={(event) => {
          event.preventDefault()
          props.onToken(token, keep)
        }}
      >
        <TokenFields
          id="read-token"
          label="Token"
          help="A token that may read. It is sent to this node alone, in a header."
          value={token}
          keep={keep}
          onValue={setToken}
          onKeep={setKeep}
        />
        <div class="buttons">
          <button type="submit" class="main" disabled={token === ''}>
            Show the cluster
          </button>
        </div>
      </form>
    </section>
  )
}
