/*
 * Makes file operations of one process fail as a kernel reports it, by rules that can be changed while it runs. Loaded with
 * LD_PRELOAD before the C library; FS_SHIM_RULES names a file that is mapped into memory and shared with the test, which
 * writes the rules and reads how often each of them was met. FS_SHIM_UNDO names a file to which the bytes that a write
 * replaces are noted before it, and what an fsync has made durable after it: from it the test makes a loss of power of what
 * a kill leaves behind, since the page cache outlives the process.
 *
 * What is not seen here: bytes read through a memory mapping, and what the C library does inside of other calls than these.
 * LevelDB writes its files with fwrite: here without the buffer of the C library, so that each of these writes is seen.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#undef fwrite_unlocked

enum { OPEN = 1, READ = 2, WRITE = 4, SYNC = 8, TRUNCATE = 16, RENAME = 32, UNLINK = 64, MKDIR = 128, ALLOCATE = 256 };
/* FAIL: nothing happens, errno is set. SHORT: half of the bytes, no error. DELAY: what was asked, later. DROP: the sync fails,
 * and of what was written since the last one nothing is left. HANG: nothing, until the rule is taken away; then as asked. */
enum { FAIL = 0, SHORT = 1, DELAY = 2, DROP = 3, HANG = 4 };

/* The layout is known to test/faults/fs-shim/faulty-disk.ts. */
struct rule {
  _Atomic uint32_t enabled;
  uint32_t calls;
  int32_t error;
  uint32_t action;
  uint32_t skip;       /* so many calls that match pass first */
  uint32_t count;      /* then at most so many are hit; 0: all */
  uint32_t perMillion; /* of those, so many; follows from the seed */
  uint32_t delayMs;
  _Atomic uint64_t matched;
  _Atomic uint64_t injected;
  uint64_t random;
  uint64_t reserved;
  char pattern[448];
};
enum { RULES = 64 };

static struct rule *rules;
static int undo_file = -1;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* A write since the last sync of its file: what was there before. */
struct undo {
  struct undo *next; /* older */
  dev_t device;
  ino_t inode;
  off_t offset, size_before;
  size_t bytes;
  char before[];
};
static struct undo *undos;

#define REAL(name) ((__typeof__(&name))real(#name))
static void *real(const char *name) {
  void *found = dlsym(RTLD_NEXT, name);
  if (found == NULL) abort();
  return found;
}

__attribute__((constructor)) static void begin(void) {
  const char *path = getenv("FS_SHIM_RULES");
  if (path == NULL) return;
  int fd = REAL(open)(path, O_RDWR | O_CLOEXEC);
  if (fd < 0) { perror("FS_SHIM_RULES"); _exit(97); }
  void *mapped = mmap(NULL, RULES * sizeof(struct rule), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  if (mapped == MAP_FAILED) { perror("FS_SHIM_RULES"); _exit(97); }
  rules = mapped;
  const char *undo = getenv("FS_SHIM_UNDO");
  if (undo == NULL) return;
  undo_file = REAL(open)(undo, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (undo_file < 0) { perror("FS_SHIM_UNDO"); _exit(97); }
}

static uint32_t next_random(struct rule *rule) {
  rule->random += 0x9e3779b97f4a7c15u;
  uint64_t mixed = rule->random;
  mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9u;
  mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebu;
  return (uint32_t)((mixed ^ (mixed >> 31)) % 1000000);
}

static int wants(uint32_t call) {
  if (rules == NULL) return 0;
  for (int i = 0; i < RULES; i++)
    if (atomic_load(&rules[i].enabled) && (rules[i].calls & call)) return 1;
  return 0;
}

/* The rule that hits this call; NULL if none does. */
static struct rule *hit(uint32_t call, const char *path) {
  struct rule *found = NULL;
  pthread_mutex_lock(&lock);
  for (int i = 0; i < RULES && found == NULL; i++) {
    struct rule *rule = &rules[i];
    if (!atomic_load(&rule->enabled) || !(rule->calls & call) || fnmatch(rule->pattern, path, 0) != 0) continue;
    uint64_t nth = atomic_fetch_add(&rule->matched, 1);
    if (nth < rule->skip) continue;
    if (rule->count != 0 && atomic_load(&rule->injected) >= rule->count) continue;
    if (rule->perMillion < 1000000 && next_random(rule) >= rule->perMillion) continue;
    atomic_fetch_add(&rule->injected, 1);
    found = rule;
  }
  pthread_mutex_unlock(&lock);
  return found;
}

static const char *path_of(int fd, char *into) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, into, PATH_MAX - 1);
  if (length <= 0) return NULL;
  into[length] = 0;
  return into[0] == '/' ? into : NULL;
}

static void sleep_ms(uint32_t ms) {
  struct timespec left = {ms / 1000, (ms % 1000) * 1000000L};
  while (nanosleep(&left, &left) != 0 && errno == EINTR) {}
}

/* What becomes of a call. 0: it goes on. 1: it fails, errno is set. 2: short. 3: fails, and drops what was not synced. */
static int judge(uint32_t call, const char *path) {
  struct rule *rule = hit(call, path);
  if (rule == NULL) return 0;
  switch (rule->action) {
    case SHORT: return 2;
    case HANG:
      while (atomic_load(&rule->enabled)) sleep_ms(5);
      return 0;
    case DELAY: sleep_ms(rule->delayMs); return 0;
    default:
      /* A disk that fails after it has tried for long. */
      if (rule->delayMs > 0) sleep_ms(rule->delayMs);
      errno = rule->error;
      return rule->action == DROP ? 3 : 1;
  }
}

static int judge_fd(uint32_t call, int fd) {
  char path[PATH_MAX];
  if (!wants(call) || path_of(fd, path) == NULL) return 0;
  return judge(call, path);
}

static int judge_path(uint32_t call, const char *path) {
  char whole[PATH_MAX];
  if (!wants(call)) return 0;
  if (path[0] != '/') {
    char directory[PATH_MAX];
    if (getcwd(directory, sizeof directory) == NULL) return 0;
    if (snprintf(whole, sizeof whole, "%s/%s", directory, path) >= (int)sizeof whole) return 0;
    path = whole;
  }
  return judge(call, path);
}

/* ---- what was written and not synced ---- */

static int keeps(int fd, struct stat *file) {
  if (rules == NULL || fd == undo_file) return 0;
  if (undo_file < 0 && !wants(SYNC)) return 0;
  return fstat(fd, file) == 0 && S_ISREG(file->st_mode);
}

/* Text lines, so that the test reads them easily: W path-length offset size-before bytes, then path and bytes. */
static void note(const char *kind, const char *path, off_t offset, off_t size, const char *before, size_t bytes) {
  if (undo_file < 0) return;
  char head[128];
  int length = snprintf(head, sizeof head, "%s %zu %lld %lld %zu\n", kind, strlen(path), (long long)offset,
                        (long long)size, bytes);
  struct iovec parts[3] = {{head, (size_t)length}, {(void *)path, strlen(path)}, {(void *)before, bytes}};
  if (REAL(writev)(undo_file, parts, 3) < 0) abort();
}

/* Called before the write, with the lock held over both: the order of the notes is that of the writes. */
static void remember(int fd, const struct stat *file, off_t offset, size_t bytes) {
  char path[PATH_MAX];
  if (path_of(fd, path) == NULL) return;
  struct undo *undo = malloc(sizeof *undo + bytes);
  if (undo == NULL) abort();
  ssize_t there = REAL(pread)(fd, undo->before, bytes, offset);
  char again[64];
  if (there < 0) {
    /* Opened for writing only. */
    snprintf(again, sizeof again, "/proc/self/fd/%d", fd);
    int readable = REAL(open)(again, O_RDONLY | O_CLOEXEC);
    there = readable < 0 ? 0 : REAL(pread)(readable, undo->before, bytes, offset);
    if (readable >= 0) close(readable);
    if (there < 0) there = 0;
  }
  undo->device = file->st_dev;
  undo->inode = file->st_ino;
  undo->offset = offset;
  undo->size_before = file->st_size;
  undo->bytes = (size_t)there;
  undo->next = undos;
  undos = undo;
  note("W", path, offset, file->st_size, undo->before, undo->bytes);
}

/* After a sync: all writes to the file are on the disk, or (drop) none of them is any more. */
static void settle(int fd, const struct stat *file, int drop) {
  char path[PATH_MAX];
  for (struct undo **at = &undos; *at != NULL;) {
    struct undo *undo = *at;
    if (undo->device != file->st_dev || undo->inode != file->st_ino) {
      at = &undo->next;
      continue;
    }
    if (drop) {
      if (REAL(pwrite)(fd, undo->before, undo->bytes, undo->offset) != (ssize_t)undo->bytes) abort();
      if (REAL(ftruncate)(fd, undo->size_before) != 0) abort();
    }
    *at = undo->next;
    free(undo);
  }
  if (path_of(fd, path) != NULL) note("S", path, 0, 0, NULL, 0);
}

/* ---- the calls ---- */

static ssize_t write_all(int fd, const struct iovec *parts, int count, off_t offset, int positioned) {
  int verdict = judge_fd(WRITE, fd);
  if (verdict == 1 || verdict == 3) return -1;
  size_t whole = 0;
  for (int i = 0; i < count; i++) whole += parts[i].iov_len;
  struct iovec few[1024];
  if (verdict == 2 && whole > 1 && count <= 1024) {
    size_t left = whole = whole / 2;
    int used = 0;
    for (; used < count && left > 0; used++) {
      few[used] = parts[used];
      if (few[used].iov_len > left) few[used].iov_len = left;
      left -= few[used].iov_len;
    }
    parts = few;
    count = used;
  }
  struct stat file;
  int kept = keeps(fd, &file);
  if (kept) {
    pthread_mutex_lock(&lock);
    fstat(fd, &file);
    int flags = fcntl(fd, F_GETFL);
    off_t at = positioned ? offset : flags & O_APPEND ? file.st_size : lseek(fd, 0, SEEK_CUR);
    remember(fd, &file, at, whole);
  }
  ssize_t done = positioned ? REAL(pwritev64)(fd, parts, count, offset) : REAL(writev)(fd, parts, count);
  int error = errno;
  if (kept) pthread_mutex_unlock(&lock);
  errno = error;
  return done;
}

static int passes_writes(int fd) { return rules == NULL || fd == undo_file || (undo_file < 0 && !wants(WRITE | SYNC)); }

ssize_t write(int fd, const void *from, size_t bytes) {
  if (passes_writes(fd)) return REAL(write)(fd, from, bytes);
  struct iovec part = {(void *)from, bytes};
  return write_all(fd, &part, 1, 0, 0);
}
ssize_t writev(int fd, const struct iovec *parts, int count) {
  if (passes_writes(fd)) return REAL(writev)(fd, parts, count);
  return write_all(fd, parts, count, 0, 0);
}
ssize_t pwrite64(int fd, const void *from, size_t bytes, off64_t offset) {
  if (passes_writes(fd)) return REAL(pwrite64)(fd, from, bytes, offset);
  struct iovec part = {(void *)from, bytes};
  return write_all(fd, &part, 1, offset, 1);
}
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t offset) {
  if (passes_writes(fd)) return REAL(pwritev64)(fd, parts, count, offset);
  return write_all(fd, parts, count, offset, 1);
}
ssize_t pwrite(int fd, const void *from, size_t bytes, off_t offset) { return pwrite64(fd, from, bytes, offset); }
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset) { return pwritev64(fd, parts, count, offset); }

/* Of a file: all or nothing, as the callers expect. */
static size_t put(const void *from, size_t size, size_t count, FILE *file, size_t (*how)(const void *, size_t, size_t, FILE *)) {
  int fd = fileno(file);
  struct stat kind;
  if (passes_writes(fd) || size == 0 || count == 0 || fstat(fd, &kind) != 0 || !S_ISREG(kind.st_mode))
    return how(from, size, count, file);
  if (fflush(file) != 0) return 0;
  const char *at = from;
  for (size_t left = size * count; left > 0;) {
    struct iovec part = {(void *)at, left};
    ssize_t done = write_all(fd, &part, 1, 0, 0);
    if (done <= 0) return 0;
    at += done;
    left -= (size_t)done;
  }
  return count;
}
size_t fwrite(const void *from, size_t size, size_t count, FILE *file) { return put(from, size, count, file, REAL(fwrite)); }
size_t fwrite_unlocked(const void *from, size_t size, size_t count, FILE *file) {
  return put(from, size, count, file, REAL(fwrite_unlocked));
}

static int sync_by(int fd, int (*how)(int)) {
  if (rules == NULL) return how(fd);
  int verdict = judge_fd(SYNC, fd);
  int error = errno;
  if (verdict == 1) return -1;
  struct stat file;
  int kept = keeps(fd, &file);
  if (kept) pthread_mutex_lock(&lock);
  int result = verdict == 3 ? -1 : how(fd);
  if (verdict != 3) error = errno;
  if (kept && (result == 0 || verdict == 3)) settle(fd, &file, verdict == 3);
  if (kept) pthread_mutex_unlock(&lock);
  errno = error;
  return result;
}
int fsync(int fd) { return sync_by(fd, REAL(fsync)); }
int fdatasync(int fd) { return sync_by(fd, REAL(fdatasync)); }

#define READING(fd) \
  do { \
    int verdict = judge_fd(READ, fd); \
    if (verdict == 1) return -1; \
    if (verdict == 2 && bytes > 1) bytes /= 2; \
  } while (0)
ssize_t read(int fd, void *into, size_t bytes) {
  READING(fd);
  return REAL(read)(fd, into, bytes);
}
ssize_t pread64(int fd, void *into, size_t bytes, off64_t offset) {
  READING(fd);
  return REAL(pread64)(fd, into, bytes, offset);
}
ssize_t pread(int fd, void *into, size_t bytes, off_t offset) { return pread64(fd, into, bytes, offset); }
ssize_t preadv64(int fd, const struct iovec *parts, int count, off64_t offset) {
  size_t bytes = parts[0].iov_len;
  READING(fd);
  if (bytes < parts[0].iov_len) return REAL(pread64)(fd, parts[0].iov_base, bytes, offset);
  return REAL(preadv64)(fd, parts, count, offset);
}
ssize_t preadv(int fd, const struct iovec *parts, int count, off_t offset) { return preadv64(fd, parts, count, offset); }

static mode_t mode_of(int flags, va_list more) { return flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0; }
#define OPENING(name, before, ...) \
  do { \
    va_list more; \
    va_start(more, flags); \
    mode_t mode = mode_of(flags, more); \
    va_end(more); \
    if (judge_path(OPEN, path) == 1) return -1; \
    return REAL(name)(__VA_ARGS__, mode); \
  } while (0)
int open(const char *path, int flags, ...) { OPENING(open, , path, flags); }
int open64(const char *path, int flags, ...) { OPENING(open64, , path, flags); }
int openat(int at, const char *path, int flags, ...) { OPENING(openat, , at, path, flags); }
int openat64(int at, const char *path, int flags, ...) { OPENING(openat64, , at, path, flags); }

FILE *fopen(const char *path, const char *mode) { return judge_path(OPEN, path) == 1 ? NULL : REAL(fopen)(path, mode); }
FILE *fopen64(const char *path, const char *mode) { return judge_path(OPEN, path) == 1 ? NULL : REAL(fopen64)(path, mode); }

int ftruncate64(int fd, off64_t bytes) { return judge_fd(TRUNCATE, fd) == 1 ? -1 : REAL(ftruncate64)(fd, bytes); }
int ftruncate(int fd, off_t bytes) { return ftruncate64(fd, bytes); }
int fallocate64(int fd, int mode, off64_t offset, off64_t bytes) {
  return judge_fd(ALLOCATE, fd) == 1 ? -1 : REAL(fallocate64)(fd, mode, offset, bytes);
}
int fallocate(int fd, int mode, off_t offset, off_t bytes) { return fallocate64(fd, mode, offset, bytes); }
int rename(const char *from, const char *to) { return judge_path(RENAME, to) == 1 ? -1 : REAL(rename)(from, to); }
int unlink(const char *path) { return judge_path(UNLINK, path) == 1 ? -1 : REAL(unlink)(path); }
int mkdir(const char *path, mode_t mode) { return judge_path(MKDIR, path) == 1 ? -1 : REAL(mkdir)(path, mode); }
