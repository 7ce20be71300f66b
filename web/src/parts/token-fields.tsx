import type { VNode } from 'preact'

export function TokenFields(props: {
  readonly id: string
  readonly label: string
  readonly help: string
  readonly value: string
  readonly keep: boolean
  readonly onValue: (value: string) => void
  readonly onKeep: (keep: boolean) => void
}): VNode {
  const { id, label, help, value, keep, onValue, onKeep } = props
  return (
    <div class="token">
      <label for={id}>{label}</label>
      <input
        id={id}
        type="password"
        autocomplete="off"
        spellcheck={false}
        value={value}
        aria-describedby={`${id}-help`}
        onInput={(event) => onValue(event.currentTarget.value)}
      />
      <p id={`${id}-help`} class="help">
        {help}
      </p>
      <label class="check">
        <input type="checkbox" checked={keep} onChange={(event) => onKeep(event.currentTarget.checked)} />
        <span>Keep it until this tab is closed</span>
      </label>
    </div>
  )
}
