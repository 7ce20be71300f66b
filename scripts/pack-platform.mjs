// `npm run pack:platform -- [DIRECTORY]`: packs what was built in native/rocksdb, and the libraries that it needs beside it,
// as the package of this platform, into DIRECTORY (default: build). It runs where neither RocksDB nor a compiler is; the C
// and C++ libraries are the system's, at least as new as here.
import { execFileSync } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const target = resolve(process.argv[2] ?? join(root, 'build'))
const addon = join(root, 'native/rocksdb/build/Release/understudy_rocksdb.node')
/** Of every system on which Node.js itself runs. */
const systems = /^(ld-linux.*|linux-vdso|libc|libm|libdl|libpthread|librt|libstdc\+\+|libgcc_s)\.so/

function leave(why) {
  console.error(`pack-platform: ${why}`)
  process.exit(1)
}

function output(command, ...args) {
  return execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
}

/** Name and place of every library that the addon brings into a process, directly or not. */
function libraries() {
  const found = []
  for (const line of output('ldd', addon).split('\n')) {
    const [, name, path] = /^\s*(\S+) => (\S+)/.exec(line) ?? []
    if (name === undefined || systems.test(name)) continue
    if (!path.startsWith('/')) leave(`${name} was not found`)
    found.push({ name, path: realpathSync(path) })
  }
  return found
}

/** The system's package of a file, and its terms. */
function licenceOf(path) {
  for (const form of [path, path.replace(/^\/usr/, '')]) {
    try {
      const owner = output('dpkg-query', '-S', form).split(':')[0]
      const terms = `/usr/share/doc/${owner}/copyright`
      if (existsSync(terms)) return { owner, terms }
    } catch {
      // Known under its other name, or not at all.
    }
  }
  return leave(`the licence of ${path} was not found: nothing is packed without it`)
}

if (process.platform !== 'linux') leave(`not made for ${process.platform} yet`)
if (!existsSync(addon)) leave('the addon is not built: `npm run install` first')

const own = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
const name = `understudy-db-rocksdb-${process.platform}-${process.arch}`
const place = join(target, name)
rmSync(place, { recursive: true, force: true })
mkdirSync(join(place, 'licenses'), { recursive: true })
copyFileSync(addon, join(place, basename(addon)))
copyFileSync(join(root, 'LICENSE'), join(place, 'LICENSE'))
const packed = libraries()
for (const { name: file, path } of packed) {
  copyFileSync(path, join(place, file))
  const { owner, terms } = licenceOf(path)
  copyFileSync(terms, join(place, 'licenses', owner))
}
const { glibcVersionRuntime } = process.report.getReport().header
const list = packed.map(({ name: file, path }) => `- \`${file}\` (${basename(path)})`).join('\n')
writeFileSync(
  join(place, 'README.md'),
  `# ${name}\n\nThe engine \`rocksdb\` of \`${own.name}\` ${own.version}, built for ${process.platform} on ${process.arch} with glibc ${glibcVersionRuntime}, with the
libraries that it needs:\n\n${list}\n\nTheir terms are in \`licenses\`. It is used by \`${own.name}\` of the same version, and by nothing else.\n`,
)
writeFileSync(
  join(place, 'package.json'),
  `${JSON.stringify(
    {
      name,
      version: own.version,
      description: `The engine "rocksdb" of ${own.name}, built for ${process.platform} on ${process.arch}`,
      license: own.license,
      engines: own.engines,
      os: [process.platform],
      cpu: [process.arch],
      libc: ['glibc'],
      main: basename(addon),
      files: ['*.node', '*.so*', 'licenses', 'README.md', 'LICENSE'],
      preferUnplugged: true,
    },
    null,
    2,
  )}\n`,
)
const npm = process.env.npm_execpath === undefined ? ['npm'] : [process.execPath, process.env.npm_execpath]
const [{ filename, size }] = JSON.parse(
  execFileSync(npm[0], [...npm.slice(1), 'pack', place, '--json', '--pack-destination', target], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  }),
)
rmSync(place, { recursive: true })
console.log(join(target, filename), `${(size / 1024 / 1024).toFixed(1)} MiB`)
