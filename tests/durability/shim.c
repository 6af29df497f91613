/* Stands between a program and the files of one folder (by LD_PRELOAD).
 *
 * It writes down what the program does to these files, with contents and in order, and makes a
 * chosen call fail. Flushes are written down and not done, so that no test waits for a real disk.
 * The program itself says when (tests/durability/shim.py calls what begins with `shim_`).
 *
 * Records: kind (1), file descriptor (4), offset (8), length (4), then that many bytes: a name, or
 * contents. All numbers in the byte order of the machine.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILES_MAX 4096
#define NAME_MAX_BYTES 256

enum { OPENS = 1, READS = 2, WRITES = 4, FLUSHES = 8, TRUNCATES = 16, RENAMES = 32, UNLINKS = 64,
       LOOKS = 128 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char folder[4096];
static size_t folder_length;
static int is_recording;
static char is_ours[FILES_MAX]; /* 1: a file of the folder, 2: the folder itself */
static char *records;
static size_t records_length, records_size;
static long calls, fail_at, fail_count, failed_flushes;
static int fail_errno, fail_mask, fail_forever, fail_half;
static long counted[8]; /* calls of each kind, whether they may fail or not */

#define REAL(type, name, ...)                             \
    static type (*real)(__VA_ARGS__);                     \
    if (!real) real = (type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

static void put(const void *data, size_t length) {
    if (records_length + length > records_size) {
        records_size = (records_length + length) * 2 + 65536;
        records = realloc(records, records_size);
        if (!records) abort();
    }
    memcpy(records + records_length, data, length);
    records_length += length;
}

static void note(char kind, int fd, int64_t offset, const void *data, size_t length) {
    int32_t fd32 = fd;
    uint32_t length32 = (uint32_t)length;
    if (!is_recording) return;
    pthread_mutex_lock(&lock);
    put(&kind, 1);
    put(&fd32, 4);
    put(&offset, 8);
    put(&length32, 4);
    put(data, length);
    pthread_mutex_unlock(&lock);
}

/* Return the name inside the folder, "" for the folder itself, NULL for anything else. */
static const char *inside(const char *path) {
    if (!folder_length || !path || strncmp(path, folder, folder_length)) return NULL;
    if (!path[folder_length]) return path + folder_length;
    if (path[folder_length] != '/' || strchr(path + folder_length + 1, '/')) return NULL;
    return path + folder_length + 1;
}

static int tracked(int fd) { return fd >= 0 && fd < FILES_MAX ? is_ours[fd] : 0; }

/* Count a call that may fail; return 1 when it must, with errno set. */
static int must_fail(int kind) {
    int result = 0;
    if (!folder_length) return 0;
    pthread_mutex_lock(&lock);
    counted[__builtin_ctz(kind)]++;
    if (fail_mask & kind) {
        calls++;
        if (fail_at && (calls == fail_at || (fail_forever && calls > fail_at))) {
            fail_count++;
            result = 1;
        }
    }
    pthread_mutex_unlock(&lock);
    if (result) errno = fail_errno;
    return result;
}

/* --- for the program ---------------------------------------------------------------------- */

void shim_watch(const char *path) {
    snprintf(folder, sizeof folder, "%s", path);
    folder_length = strlen(folder);
    memset(is_ours, 0, sizeof is_ours);
}

void shim_record(int on) {
    is_recording = on;
    if (on) records_length = 0;
}

void shim_note(const char *text) { note('#', -1, 0, text, strlen(text)); }

const char *shim_records(void) { return records; }
size_t shim_records_length(void) { return records_length; }

/* Let the n-th call (from 1) of the kinds in `mask` fail; 0: none, only count. */
void shim_fail(long n, int mask, int error, int forever, int half) {
    pthread_mutex_lock(&lock);
    calls = fail_count = failed_flushes = 0;
    memset(counted, 0, sizeof counted);
    fail_at = n;
    fail_mask = mask;
    fail_errno = error;
    fail_forever = forever;
    fail_half = half;
    pthread_mutex_unlock(&lock);
}

/* Return how many calls of the kinds in `mask` came since shim_fail. */
long shim_calls(int mask) {
    long sum = 0;
    for (int bit = 0; bit < 8; bit++)
        if (mask & 1 << bit) sum += counted[bit];
    return sum;
}

long shim_failures(void) { return fail_count; }
long shim_failed_flushes(void) { return failed_flushes; }

/* --- files ---------------------------------------------------------------------------------- */

static int opened(int fd, const char *path, int flags) {
    const char *name = inside(path);
    if (fd >= 0 && fd < FILES_MAX) {
        is_ours[fd] = name ? (*name ? 1 : 2) : 0;
        if (name && *name) note('o', fd, (flags & O_TRUNC) != 0, name, strlen(name));
    }
    return fd;
}

#define OPEN_BODY(name)                                          \
    mode_t mode = 0;                                             \
    if (flags & (O_CREAT | O_TMPFILE)) {                         \
        va_list rest;                                            \
        va_start(rest, flags);                                   \
        mode = va_arg(rest, mode_t);                             \
        va_end(rest);                                            \
    }                                                            \
    if (inside(path) && must_fail(OPENS)) return -1;             \
    REAL(int, name, const char *, int, ...);                     \
    return opened(real(path, flags, mode), path, flags);

int open(const char *path, int flags, ...) { OPEN_BODY("open") }
int open64(const char *path, int flags, ...) { OPEN_BODY("open64") }
int __open_2(const char *path, int flags) { return open(path, flags, 0); }
int __open64_2(const char *path, int flags) { return open64(path, flags, 0); }

int openat(int at, const char *path, int flags, ...) {
    mode_t mode = 0;
    if (flags & (O_CREAT | O_TMPFILE)) {
        va_list rest;
        va_start(rest, flags);
        mode = va_arg(rest, mode_t);
        va_end(rest);
    }
    if (inside(path) && must_fail(OPENS)) return -1;
    REAL(int, "openat", int, const char *, int, ...);
    return opened(real(at, path, flags, mode), path, flags);
}

int close(int fd) {
    REAL(int, "close", int);
    if (tracked(fd)) {
        note('c', fd, 0, "", 0);
        is_ours[fd] = 0;
    }
    return real(fd);
}

ssize_t read(int fd, void *data, size_t length) {
    REAL(ssize_t, "read", int, void *, size_t);
    if (tracked(fd) && must_fail(READS)) return -1;
    return real(fd, data, length);
}

#define PREAD(name, offset_type)                                                \
    ssize_t name(int fd, void *data, size_t length, offset_type offset) {       \
        REAL(ssize_t, #name, int, void *, size_t, offset_type);                 \
        if (tracked(fd) && must_fail(READS)) return -1;                         \
        return real(fd, data, length, offset);                                  \
    }
PREAD(pread, off_t)
PREAD(pread64, off64_t)

ssize_t write(int fd, const void *data, size_t length) {
    REAL(ssize_t, "write", int, const void *, size_t);
    if (tracked(fd)) {
        int flags = fcntl(fd, F_GETFL);
        off_t offset = lseek(fd, 0, flags & O_APPEND ? SEEK_END : SEEK_CUR);
        if (must_fail(WRITES)) {
            if (!fail_half || length < 2) return -1;
            length /= 2;
        }
        ssize_t done = real(fd, data, length);
        if (done > 0) note('w', fd, offset, data, (size_t)done);
        return done;
    }
    return real(fd, data, length);
}

#define PWRITE(name, offset_type)                                               \
    ssize_t name(int fd, const void *data, size_t length, offset_type offset) { \
        REAL(ssize_t, #name, int, const void *, size_t, offset_type);           \
        if (tracked(fd) && must_fail(WRITES)) {                                 \
            if (!fail_half || length < 2) return -1;                            \
            length /= 2;                                                        \
        }                                                                       \
        ssize_t done = real(fd, data, length, offset);                          \
        if (done > 0 && tracked(fd)) note('w', fd, offset, data, (size_t)done); \
        return done;                                                            \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

#define TRUNCATE(name, offset_type)                                 \
    int name(int fd, offset_type length) {                          \
        REAL(int, #name, int, offset_type);                         \
        if (tracked(fd) && must_fail(TRUNCATES)) return -1;         \
        int result = real(fd, length);                              \
        if (!result && tracked(fd)) note('t', fd, length, "", 0);   \
        return result;                                              \
    }
TRUNCATE(ftruncate, off_t)
TRUNCATE(ftruncate64, off64_t)

/* A flush that fails leaves the pages clean: whether the disk has them nobody knows. */
static int flushed(int fd, int (*real)(int)) {
    if (!tracked(fd)) return real(fd);
    if (must_fail(FLUSHES)) {
        failed_flushes += tracked(fd) == 1;
        note(tracked(fd) == 2 ? 'S' : 'F', fd, 0, "", 0);
        return -1;
    }
    note(tracked(fd) == 2 ? 's' : 'f', fd, 0, "", 0);
    return 0;
}

int fsync(int fd) {
    REAL(int, "fsync", int);
    return flushed(fd, real);
}

int fdatasync(int fd) {
    REAL(int, "fdatasync", int);
    return flushed(fd, real);
}

/* --- names ---------------------------------------------------------------------------------- */

static void note_rename(const char *from, const char *to) {
    char both[2 * NAME_MAX_BYTES + 2];
    int length = snprintf(both, sizeof both, "%s/%s", from, to);
    note('r', -1, 0, both, (size_t)length);
}

int rename(const char *from, const char *to) {
    REAL(int, "rename", const char *, const char *);
    const char *old = inside(from), *new = inside(to);
    if (old && must_fail(RENAMES)) return -1;
    int result = real(from, to);
    if (!result && old && new) note_rename(old, new);
    return result;
}

int renameat(int from_at, const char *from, int to_at, const char *to) {
    REAL(int, "renameat", int, const char *, int, const char *);
    const char *old = inside(from), *new = inside(to);
    if (old && must_fail(RENAMES)) return -1;
    int result = real(from_at, from, to_at, to);
    if (!result && old && new) note_rename(old, new);
    return result;
}

int unlink(const char *path) {
    REAL(int, "unlink", const char *);
    const char *name = inside(path);
    if (name && must_fail(UNLINKS)) return -1;
    int result = real(path);
    if (!result && name) note('u', -1, 0, name, strlen(name));
    return result;
}

int unlinkat(int at, const char *path, int flags) {
    REAL(int, "unlinkat", int, const char *, int);
    const char *name = inside(path);
    if (name && must_fail(UNLINKS)) return -1;
    int result = real(at, path, flags);
    if (!result && name) note('u', -1, 0, name, strlen(name));
    return result;
}

/* --- what only looks, or locks: it can fail, too ---------------------------------------------- */

#define LOOK_PATH(name, status)                                  \
    int name(const char *path, struct status *found) {           \
        REAL(int, #name, const char *, struct status *);         \
        const char *ours = inside(path);                         \
        if (ours && *ours && must_fail(LOOKS)) return -1;        \
        return real(path, found);                                \
    }
LOOK_PATH(stat, stat)
LOOK_PATH(stat64, stat64)
LOOK_PATH(lstat, stat)
LOOK_PATH(lstat64, stat64)

#define LOOK_FILE(name, status)                                  \
    int name(int fd, struct status *found) {                     \
        REAL(int, #name, int, struct status *);                  \
        if (tracked(fd) == 1 && must_fail(LOOKS)) return -1;     \
        return real(fd, found);                                  \
    }
LOOK_FILE(fstat, stat)
LOOK_FILE(fstat64, stat64)

int flock(int fd, int operation) {
    REAL(int, "flock", int, int);
    if (tracked(fd) && !(operation & LOCK_UN) && must_fail(LOOKS)) return -1;
    return real(fd, operation);
}

int fchmod(int fd, mode_t mode) {
    REAL(int, "fchmod", int, mode_t);
    if (tracked(fd) && must_fail(LOOKS)) return -1;
    return real(fd, mode);
}
