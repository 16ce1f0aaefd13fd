/* full_disk: until unlimit_files, writing beyond some bytes of a file fails with EFBIG, as a full disk would with
 * ENOSPC. Include after cmocka.h. */
#ifndef DRAM_TESTS_FULL_DISK_H
#define DRAM_TESTS_FULL_DISK_H

#include <signal.h>
#include <sys/resource.h>

typedef struct {
    struct rlimit before;
    void (*handler)(int);
} file_limit;

static inline file_limit limit_files(rlim_t bytes)
{
    file_limit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit.before), 0);
    struct rlimit small = limit.before;
    small.rlim_cur = bytes;
    limit.handler = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    return limit;
}

static inline void unlimit_files(file_limit limit)
{
    setrlimit(RLIMIT_FSIZE, &limit.before);
    signal(SIGXFSZ, limit.handler);
}

#endif
