import { hasRocksdb } from '#src/engine/rocksdb.js'

/**
 * Options of a test that needs the engine "rocksdb": skipped where its addon was not built, except where
 * UNDERSTUDY_TEST_ROCKSDB=required says that it must be there.
 */
export const needsRocksdb: { readonly skip: string | false } = {
  skip:
    hasRocksdb() || process.env.UNDERSTUDY_TEST_ROCKSDB === 'required'
      ? false
      : 'the addon is not built: install librocksdb-dev, then npm rebuild',
}
