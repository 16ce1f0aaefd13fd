/* fill: makes the embeddings that a cache lacks, in a session of their own. */
#ifndef DRAM_FEED_FILL_H
#define DRAM_FEED_FILL_H

#include <signal.h>

#include "comm/comm.h"
#include "feed/targets.h"

/* Makes what the open cache of `targets` lacks of the data sets it was opened for, in sessions of DRAM_SET_CACHE_FILL,
 * and says so; this may take hours. Other processes may do the same at the same time. No cache: nothing is done.
 * Nothing missing, or no good image: no session is started, and no weight is loaded. A bad image is left out: training
 * skips it too.
 * comm: ranks that all call this and share the work; each has all of it afterwards. NULL: one alone.
 * stop: non-zero ends the filling with DRAM_INTERRUPTED, what was made is kept; NULL: never.
 * DRAM_ERR_CONFIG: the cache cannot be written, or what it lacks does not fit on the disk. DRAM_ERR_NUMERIC: the
 * teacher gave what fp16 cannot hold. */
dram_status dram_fill_missing(const dram_config *cfg, dram_targets *targets, const dram_dataset *train,
                              const dram_dataset *val, dram_comm *comm, const volatile sig_atomic_t *stop);

#endif
