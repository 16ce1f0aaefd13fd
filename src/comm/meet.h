/* meet: the first words of all ranks to each other. For src/comm alone. */
#ifndef DRAM_COMM_MEET_H
#define DRAM_COMM_MEET_H

#include "comm/job.h"

/* Finds out where every rank is (comm->peers) and compares what must be equal: they are of one job, run the same
 * program, and have the same config. DRAM_ERR_CONFIG, on all ranks, names the first that differs from rank 0. */
dram_status dram_meet(dram_comm *comm, const dram_comm_params *params);

#endif
