/** What happened in a run: a fingerprint of all of it, and, where somebody listens, a story for people. */
export class Trace {
  private a = 0x243f6a88
  private b = 0x85a308d3
  private readonly tell: ((line: string) => void) | undefined
  private readonly nowMs: () => number

  constructor(nowMs: () => number, tell: ((line: string) => void) | undefined) {
    this.nowMs = nowMs
    this.tell = tell
  }

  number(value: number): void {
    // Times have fractions, and numbers may pass 32 bits: both halves count.
    const whole = Math.floor(value)
    this.word(whole | 0)
    this.word(Math.floor((value - whole) * 2 ** 32) | 0)
    if (whole > 0xffffffff) this.word(Math.floor(whole / 2 ** 32) | 0)
  }

  text(value: string): void {
    for (let at = 0; at < value.length; at++) {
      this.a = Math.imul(this.a ^ value.charCodeAt(at), 0x9e3779b1)
    }
    this.word(value.length)
  }

  /** One line of the story; `who` is a node or a part of the world. */
  story(who: string, what: string): void {
    this.text(who)
    this.text(what)
    this.detail(who, what)
  }

  /** For people alone: the fingerprint does not know whether anybody listens. */
  detail(who: string, what: string): void {
    this.tell?.(`${(this.nowMs() / 1000).toFixed(4).padStart(10)}  ${who.padEnd(8)} ${what}`)
  }

  get isTold(): boolean {
    return this.tell !== undefined
  }

  private word(value: number): void {
    this.a = Math.imul(this.a ^ value, 0x9e3779b1)
    this.a ^= this.a >>> 15
    this.b = Math.imul(this.b + (this.a ^ value), 0x85ebca77)
    this.b ^= this.b >>> 13
  }

  get fingerprint(): string {
    const half = (value: number) => (value >>> 0).toString(16).padStart(8, '0')
    return half(this.a) + half(this.b)
  }
}
