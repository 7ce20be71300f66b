// tsc does not carry the executable bit; `npx understudy` from a checkout needs it.
import { chmodSync, existsSync } from 'node:fs'

const binary = new URL('../dist/cli/main.js', import.meta.url)
if (existsSync(binary)) chmodSync(binary, 0o755)
