/* shim: what libfaults_shim.so (shim.c), loaded before dram's own libraries, does to one of dram's calls of the system.
 * The order lies in a file that FAULTS_ORDER names and that both sides map: the driver writes it before a process
 * starts, and reads afterwards what was counted. */
#ifndef DRAM_TESTS_FAULTS_SHIM_H
#define DRAM_TESTS_FAULTS_SHIM_H

#include <stdatomic.h>

/* Kinds of calls, and the functions that are one: X(kind, name). */
#define FAULT_CALLS(X)                                                                                                 \
    X(OPEN, "open") /* openat, fopen, opendir, fdopendir, mkstemp too */                                               \
    X(READ, "read") /* pread, and reading a FILE */                                                                    \
    X(READDIR, "readdir")                                                                                              \
    X(STAT, "stat")     /* fstat, lstat, fstatat, access, statvfs, fstatvfs too */                                     \
    X(WRITE, "write")   /* pwrite, ftruncate, and writing to a FILE */                                                 \
    X(SYNC, "fsync")    /* fdatasync too */                                                                            \
    X(CLOSE, "close")   /* the file is closed, and the call says that it failed */                                     \
    X(RENAME, "rename") /* renameat2 too */                                                                            \
    X(UNLINK, "unlink") /* unlinkat, rmdir too */                                                                      \
    X(LOCK, "flock")                                                                                                   \
    X(MKDIR, "mkdir")

typedef enum {
#define X(KIND, NAME) FAULT_##KIND,
    FAULT_CALLS(X)
#undef X
        FAULT_CALLS_COUNT
} fault_call;

typedef enum {
    FAULT_NONE, /* calls are only counted */
    FAULT_FAIL, /* with `error` */
    FAULT_CUT,  /* a read or write does half of what was asked */
    FAULT_KILL, /* SIGKILL before the call */
    FAULT_KILL_AFTER
} fault_effect;

typedef struct {
    char folder[512]; /* absolute; what lies below it is counted. It is the process's working folder */
    char match[64];   /* "": all calls; else those whose path has this in it */
    fault_effect effect;
    fault_call call;
    int from, until; /* calls of that kind, from 1 */
    int error;
    /* what came of it */
    atomic_int counted[FAULT_CALLS_COUNT], met; /* met: calls that the order changed */
    char path[512];                             /* of the first of them */
} fault_order;

#endif
