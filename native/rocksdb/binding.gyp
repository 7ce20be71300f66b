{
  'variables': {
    # Homebrew's prefix, or where a RocksDB of one's own was installed; empty where the compiler finds it by itself.
    'rocksdb_prefix%': '',
    # 1: build with AddressSanitizer, see README.md.
    'sanitize%': 0,
  },
  'targets': [
    {
      'target_name': 'understudy_rocksdb',
      'sources': [
        'src/addon.cc',
        'src/checkpoint.cc',
        'src/crc32c.cc',
        'src/entries.cc',
        'src/failure.cc',
        'src/file_system.cc',
        'src/ingestion.cc',
        'src/iterators.cc',
        'src/options.cc',
        'src/store.cc',
        'src/work.cc',
      ],
      'include_dirs': ['<!(node -p "require(\'node-addon-api\').include_dir")'],
      'defines': ['NAPI_VERSION=8', 'NODE_ADDON_API_CPP_EXCEPTIONS_ALL', 'NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS'],
      'libraries': ['-lrocksdb'],
      'cflags': ['-Wall', '-Wextra', '-Wno-unused-parameter', '-fvisibility=hidden'],
      'cflags_cc!': ['-fno-exceptions', '-std=gnu++14', '-std=gnu++17', '-std=gnu++20'],
      'cflags_cc': ['-std=c++17', '-fexceptions'],
      # Libraries that lie beside the addon, as in a prebuilt package, are found first: also those that RocksDB needs, which
      # takes a path of the old kind.
      'ldflags': ["-Wl,-rpath,'$$ORIGIN'", '-Wl,--disable-new-dtags'],
      'xcode_settings': {
        'GCC_ENABLE_CPP_EXCEPTIONS': 'YES',
        'CLANG_CXX_LANGUAGE_STANDARD': 'c++17',
        'CLANG_CXX_LIBRARY': 'libc++',
        'MACOSX_DEPLOYMENT_TARGET': '11.0',
        'OTHER_LDFLAGS': ['-Wl,-rpath,@loader_path'],
      },
      'conditions': [
        ['rocksdb_prefix!=""', {
          'include_dirs': ['<(rocksdb_prefix)/include'],
          'libraries': ['-L<(rocksdb_prefix)/lib'],
        }],
        ['sanitize==1', {
          'cflags': ['-fsanitize=address', '-fno-omit-frame-pointer', '-g', '-O1'],
          'ldflags': ['-fsanitize=address'],
        }],
      ],
    },
  ],
}
