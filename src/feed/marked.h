/* marked: sets of images that several ranks met apart, made one. */
#ifndef DRAM_FEED_MARKED_H
#define DRAM_FEED_MARKED_H

#include <stdbool.h>

#include "comm/comm.h"

/* marked[0..n): images that this rank marked; afterwards those that any did. *more: how many were added here; with one
 * rank 0. Collective. */
dram_status dram_marked_join(dram_comm *comm, bool *marked, int n, int *more);

#endif
