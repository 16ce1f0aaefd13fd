/* clock: seconds that pass, for durations: not the time of day. */
#ifndef DRAM_BASE_CLOCK_H
#define DRAM_BASE_CLOCK_H

#include <time.h>

static inline double dram_clock(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

#endif
