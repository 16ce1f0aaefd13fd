/* limited: limits on what this process may map, for a while. Include after cmocka.h. */
#ifndef DRAM_TESTS_SUPPORT_LIMITED_H
#define DRAM_TESTS_SUPPORT_LIMITED_H

#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

/* Address space that the process has mapped, in bytes. */
static inline long long limited_mapped(void)
{
    long long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%lld", &pages), 1);
    fclose(f);
    return pages * sysconf(_SC_PAGESIZE);
}

/* RLIMIT_AS or RLIMIT_DATA; RLIM_INFINITY ends it. */
static inline void limited_to(int which, rlim_t bytes)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(which, &limit), 0);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(which, &limit), 0);
}

#endif
