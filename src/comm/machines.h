/* machines: what the ranks of a job have of the machines that they are on. comm NULL, or of one rank: all of it. */
#ifndef DRAM_COMM_MACHINES_H
#define DRAM_COMM_MACHINES_H

#include "comm/comm.h"

/* Ranks on this one's machine, itself among them. They share its memory. */
int dram_ranks_here(const dram_comm *comm);

/* Machines that the ranks are on. */
int dram_ranks_machines(const dram_comm *comm);

/* What a rank comes to alone, all come to: `status` where it is an error, DRAM_ERR_PEER where another rank has one. With
 * one rank `status` is returned. To be called before the next collective call, which would wait for ranks that have
 * failed. */
dram_status dram_ranks_together(dram_comm *comm, dram_status status);

/* Cores that each rank may take, the same on all: those it may use, shared with the ranks of its machine that may use
 * them too; the least over the ranks, at least 1. Collective. */
dram_status dram_ranks_cores(dram_comm *comm, int *cores);

/* The same, and *value is the least of all ranks' values. */
dram_status dram_ranks_least(dram_comm *comm, dram_status status, int64_t *value);

#endif
