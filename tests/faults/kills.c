/* SIGKILL. */
#include "faults/modes.h"
int try_kills(int n, unsigned long seed)
{
    (void)n;
    (void)seed;
    return 0;
}
int try_pairs(int n, unsigned long seed)
{
    (void)n;
    (void)seed;
    return 0;
}
int try_stops(int n, unsigned long seed)
{
    (void)n;
    (void)seed;
    return 0;
}
