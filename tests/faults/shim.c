/* Implements shim.h: the functions of libc that dram calls, each in front of the real one. glibc's own calls within stdio
 * do not come by here, so that a FILE below the folder is made one that reads and writes with these. */
#include "shim.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

static fault_order *order; /* NULL: nothing is asked */

/* The function that comes after this library's. */
#define REAL(NAME)                                                                                                     \
    static __typeof__(NAME) *real;                                                                                     \
    if (!real) real = (__typeof__(NAME) *)dlsym(RTLD_NEXT, #NAME)

__attribute__((constructor)) static void map_order(void)
{
    const char *path = getenv("FAULTS_ORDER");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0) return;
    void *memory = mmap(NULL, sizeof *order, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (memory != MAP_FAILED) order = memory;
}

/* ---- which calls ---- */

/* The path of an open file as the kernel has it; "" for what has none. */
static const char *path_of(int fd, char path[PATH_MAX])
{
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, PATH_MAX - 1);
    path[n > 0 ? n : 0] = '\0';
    return path;
}

static bool is_below(const char *path)
{
    size_t n = strlen(order->folder);
    return strncmp(path, order->folder, n) == 0 && (path[n] == '/' || path[n] == '\0');
}

/* Whether a path is one that counts; a relative one is, where it starts from a folder that is. */
static bool is_counted(int folder, const char *path)
{
    char start[PATH_MAX];
    if (!order || order->folder[0] == '\0') return false;
    if (order->match[0] && !strstr(path, order->match)) return false;
    if (*path == '/') return is_below(path);
    return folder == AT_FDCWD || is_below(path_of(folder, start));
}

/* ---- what becomes of them ---- */

static void die(void)
{
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

/* Counts a call; what is to be done with it. */
static fault_effect meet(fault_call call, int folder, const char *path)
{
    if (!is_counted(folder, path)) return FAULT_NONE;
    int at = atomic_fetch_add(&order->counted[call], 1) + 1;
    if (!order->effect || call != order->call || at < order->from || at > order->until) return FAULT_NONE;
    if (atomic_fetch_add(&order->met, 1) == 0) snprintf(order->path, sizeof order->path, "%.500s", path);
    if (order->effect == FAULT_KILL) die();
    errno = order->error;
    return order->effect;
}

static fault_effect meet_file(fault_call call, int fd)
{
    char path[PATH_MAX];
    return order && *path_of(fd, path) == '/' ? meet(call, AT_FDCWD, path) : FAULT_NONE;
}

/* Does what `effect` says to a call with this result. */
#define DO(EFFECT, FAILED, CALL)                                                                                       \
    const fault_effect effect = EFFECT;                                                                                \
    if (effect == FAULT_FAIL) return FAILED;                                                                           \
    __typeof__(CALL) result = CALL;                                                                                    \
    if (effect == FAULT_KILL_AFTER) die();                                                                             \
    return result

#define HALF(BYTES) (effect == FAULT_CUT && (BYTES) > 1 ? (BYTES) / 2 : (BYTES))

/* ---- opening ---- */

int open(const char *path, int flags, ...)
{
    REAL(open);
    va_list more;
    va_start(more, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;
    va_end(more);
    DO(meet(FAULT_OPEN, AT_FDCWD, path), -1, real(path, flags, mode));
}

int openat(int folder, const char *path, int flags, ...)
{
    REAL(openat);
    va_list more;
    va_start(more, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;
    va_end(more);
    DO(meet(FAULT_OPEN, folder, path), -1, real(folder, path, flags, mode));
}

DIR *opendir(const char *path)
{
    REAL(opendir);
    DO(meet(FAULT_OPEN, AT_FDCWD, path), NULL, real(path));
}

DIR *fdopendir(int fd)
{
    REAL(fdopendir);
    DO(meet_file(FAULT_OPEN, fd), NULL, real(fd));
}

int mkstemp(char *path)
{
    REAL(mkstemp);
    DO(meet(FAULT_OPEN, AT_FDCWD, path), -1, real(path));
}

/* ---- reading and writing ---- */

ssize_t read(int fd, void *out, size_t bytes)
{
    REAL(read);
    DO(meet_file(FAULT_READ, fd), -1, real(fd, out, HALF(bytes)));
}

ssize_t pread(int fd, void *out, size_t bytes, off_t at)
{
    REAL(pread);
    DO(meet_file(FAULT_READ, fd), -1, real(fd, out, HALF(bytes), at));
}

ssize_t write(int fd, const void *data, size_t bytes)
{
    REAL(write);
    DO(meet_file(FAULT_WRITE, fd), -1, real(fd, data, HALF(bytes)));
}

ssize_t pwrite(int fd, const void *data, size_t bytes, off_t at)
{
    REAL(pwrite);
    DO(meet_file(FAULT_WRITE, fd), -1, real(fd, data, HALF(bytes), at));
}

int ftruncate(int fd, off_t bytes)
{
    REAL(ftruncate);
    DO(meet_file(FAULT_WRITE, fd), -1, real(fd, bytes));
}

static ssize_t read_stream(void *fd, char *out, size_t bytes)
{
    return read((int)(intptr_t)fd, out, bytes);
}

static ssize_t write_stream(void *fd, const char *data, size_t bytes)
{
    ssize_t n = write((int)(intptr_t)fd, data, bytes);
    return n < 0 ? 0 : n; /* as fopencookie has it */
}

static int close_stream(void *fd)
{
    return close((int)(intptr_t)fd);
}

FILE *fdopen(int fd, const char *mode)
{
    const cookie_io_functions_t io = {.read = read_stream, .write = write_stream, .close = close_stream};
    char path[PATH_MAX];
    REAL(fdopen);
    if (order && is_below(path_of(fd, path))) return fopencookie((void *)(intptr_t)fd, mode, io);
    return real(fd, mode);
}

FILE *fopen(const char *path, const char *mode)
{
    REAL(fopen);
    DO(meet(FAULT_OPEN, AT_FDCWD, path), NULL, real(path, mode));
}

struct dirent *readdir(DIR *folder)
{
    REAL(readdir);
    DO(meet_file(FAULT_READDIR, dirfd(folder)), NULL, real(folder));
}

/* ---- looking ---- */

int stat(const char *path, struct stat *info)
{
    REAL(stat);
    DO(meet(FAULT_STAT, AT_FDCWD, path), -1, real(path, info));
}

int lstat(const char *path, struct stat *info)
{
    REAL(lstat);
    DO(meet(FAULT_STAT, AT_FDCWD, path), -1, real(path, info));
}

int fstat(int fd, struct stat *info)
{
    REAL(fstat);
    DO(meet_file(FAULT_STAT, fd), -1, real(fd, info));
}

int fstatat(int folder, const char *path, struct stat *info, int flags)
{
    REAL(fstatat);
    DO(meet(FAULT_STAT, folder, path), -1, real(folder, path, info, flags));
}

int access(const char *path, int mode)
{
    REAL(access);
    DO(meet(FAULT_STAT, AT_FDCWD, path), -1, real(path, mode));
}

int statvfs(const char *path, struct statvfs *info)
{
    REAL(statvfs);
    DO(meet(FAULT_STAT, AT_FDCWD, path), -1, real(path, info));
}

int fstatvfs(int fd, struct statvfs *info)
{
    REAL(fstatvfs);
    DO(meet_file(FAULT_STAT, fd), -1, real(fd, info));
}

/* ---- the rest ---- */

int fsync(int fd)
{
    REAL(fsync);
    DO(meet_file(FAULT_SYNC, fd), -1, real(fd));
}

int fdatasync(int fd)
{
    REAL(fdatasync);
    DO(meet_file(FAULT_SYNC, fd), -1, real(fd));
}

/* A file is closed even where the call says that what was written is lost. */
int close(int fd)
{
    REAL(close);
    const fault_effect effect = meet_file(FAULT_CLOSE, fd);
    int result = real(fd);
    if (effect == FAULT_KILL_AFTER) die();
    if (effect != FAULT_FAIL) return result;
    errno = order->error;
    return -1;
}

int rename(const char *from, const char *to)
{
    REAL(rename);
    DO(meet(FAULT_RENAME, AT_FDCWD, to), -1, real(from, to));
}

int renameat2(int from_folder, const char *from, int to_folder, const char *to, unsigned flags)
{
    REAL(renameat2);
    DO(meet(FAULT_RENAME, to_folder, to), -1, real(from_folder, from, to_folder, to, flags));
}

int unlink(const char *path)
{
    REAL(unlink);
    DO(meet(FAULT_UNLINK, AT_FDCWD, path), -1, real(path));
}

int unlinkat(int folder, const char *path, int flags)
{
    REAL(unlinkat);
    DO(meet(FAULT_UNLINK, folder, path), -1, real(folder, path, flags));
}

int rmdir(const char *path)
{
    REAL(rmdir);
    DO(meet(FAULT_UNLINK, AT_FDCWD, path), -1, real(path));
}

int flock(int fd, int operation)
{
    REAL(flock);
    DO(meet_file(FAULT_LOCK, fd), -1, real(fd, operation));
}

int mkdir(const char *path, mode_t mode)
{
    REAL(mkdir);
    DO(meet(FAULT_MKDIR, AT_FDCWD, path), -1, real(path, mode));
}
