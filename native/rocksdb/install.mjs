// Run by `npm install` and `npm rebuild`: builds the addon of the engine "rocksdb" where RocksDB's headers are, and
// says in one line when it does not. The package works without it; the engine then says what is missing. Where the
// prebuilt package of this platform is installed nothing is built.
// UNDERSTUDY_ROCKSDB=required makes a missing addon an error, UNDERSTUDY_ROCKSDB=off leaves it out.
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const here = dirname(fileURLToPath(import.meta.url))
const wish = process.env.UNDERSTUDY_ROCKSDB
const command = process.platform === 'darwin' ? 'brew install rocksdb' : 'apt-get install librocksdb-dev'

function leave(why) {
  console.log(`understudy-db: engine "rocksdb" is not built: ${why}`)
  process.exit(wish === 'required' ? 1 : 0)
}

if (wish === 'off') leave('UNDERSTUDY_ROCKSDB=off')

const prebuilt = `understudy-db-rocksdb-${process.platform}-${process.arch}`
try {
  createRequire(import.meta.url).resolve(`${prebuilt}/package.json`)
  console.log(`understudy-db: engine "rocksdb" comes with ${prebuilt}`)
  process.exit(0)
} catch {
  // The usual case: it is built here.
}

const prefixes = [process.env.ROCKSDB_PREFIX, '/usr', '/usr/local', '/opt/homebrew'].filter(Boolean)
const prefix = prefixes.find((one) => existsSync(join(one, 'include/rocksdb/db.h')))
if (prefix === undefined) leave(`there are no RocksDB headers; \`${command}\`, then \`npm rebuild understudy-db\``)

const gyp = process.env.npm_config_node_gyp
if (gyp === undefined) leave('start it with npm, which brings node-gyp: `npm rebuild understudy-db`')

const args = [gyp, 'rebuild', '--loglevel=error', '--directory', here]
if (prefix !== '/usr') args.push(`--rocksdb_prefix=${prefix}`)
// Node.js's own headers, if they were installed with it: nothing is downloaded then.
const nodePrefix = dirname(dirname(process.execPath))
if (existsSync(join(nodePrefix, 'include/node/node_api.h'))) args.push(`--nodedir=${nodePrefix}`)
const build = spawnSync(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'], encoding: 'utf8' })
if (build.status === 0) {
  console.log(`understudy-db: engine "rocksdb" is built with the headers in ${prefix}/include/rocksdb`)
} else {
  if (wish === 'required') console.error(`${build.stdout}\n${build.stderr}`)
  const lines = `${build.stdout}\n${build.stderr}`.split('\n')
  const reason =
    lines.find((line) => /\berror\b/i.test(line)) ?? build.error?.message ?? `node-gyp ended with ${build.status}`
  leave(`${reason.trim()} (all of it: UNDERSTUDY_ROCKSDB=required npm rebuild understudy-db)`)
}
