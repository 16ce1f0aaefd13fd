/* agree: what is exchanged on the host's side; the calls themselves are comm.h's. For src/comm alone. */
#ifndef DRAM_COMM_AGREE_H
#define DRAM_COMM_AGREE_H

#include "comm/job.h"

/* Bytes of dram_comm.said for so many ranks. */
size_t dram_said_bytes(int ranks);

/* A gather that the watch knows of, as `what`. */
dram_status dram_host_gather(dram_comm *comm, const char *what, const void *mine, int64_t bytes, void *all);

#endif
