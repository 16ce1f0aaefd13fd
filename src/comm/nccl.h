/* nccl: the transport over NCCL, in GPU memory. libnccl.so.2 is opened when the ranks meet. */
#ifndef DRAM_COMM_NCCL_H
#define DRAM_COMM_NCCL_H

#include "comm/transport.h"
#include "comm/world.h"

/* Which GPU is this rank's: the only visible one where there is one (Slurm binds), else number local_rank.
 * DRAM_ERR_CONFIG: fewer GPUs are visible than ranks are on this machine. DRAM_ERR_RUN: none. */
dram_status dram_nccl_gpu(const dram_world *world, int *index);

typedef struct {
    const dram_world *world;
    int gpu;              /* dram_nccl_gpu's */
    dram_transport *host; /* through which the ranks tell one another where to meet; NULL: dram_world_address says it */
    int channels;         /* at most; each takes 12 MiB of GPU memory */
} dram_nccl_params;

/* The GPU becomes the calling thread's. Its host_gather, which needs nothing beside it, is for when all of the device's
 * queues are finished. DRAM_ERR_CONFIG: no NCCL, two ranks on one GPU; DRAM_ERR_RUN: the GPU cannot be opened;
 * DRAM_ERR_FIT: it has not the memory, as later calls may find too; DRAM_ERR_PEER: the ranks do not find one another. Nothing in params is kept. */
dram_status dram_nccl_open(const dram_nccl_params *params, dram_transport **out);

/* GPU memory that NCCL says it has taken for such a transport; 0: it cannot tell (NCCL before 2.30). */
int64_t dram_nccl_taken(const dram_transport *transport);

/* The i-th variable that dram has set for NCCL in this process, since the user had not; NULL: no more. */
const char *dram_nccl_environment(int i, const char **value);

/* What `dram doctor` says: the library's version; false: why there is none. */
bool dram_nccl_describe(char *text, int size);

/* GPU memory that NCCL is assumed to take for N ranks. A connection of a channel has 10 MiB to receive and 2 to send. A
 * ring has one a channel. A sum in rank order exchanges pieces with each other rank besides, by one channel. */
static inline int64_t dram_nccl_bytes(int ranks, int channels, bool ordered)
{
    const int64_t connection = 12 << 20, itself = 32 << 20;
    if (ranks < 2) return 0;
    return itself + connection * (channels + (ordered ? ranks - 1 : 0));
}

#endif
