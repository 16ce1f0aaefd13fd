/* nccl_list: the functions of NCCL that dram calls, as functions.nccl_CommDestroy and so on. They are looked up when the
 * ranks meet (nccl.c), so that the program starts where NCCL is not installed. The types are those of the header that
 * dram is built with: a name that it has not, or a call that does not fit, does not compile. */
#ifndef DRAM_COMM_NCCL_LIST_H
#define DRAM_COMM_NCCL_LIST_H

#include <nccl.h>
#include <stdint.h>

/* clang-format off */
#define DRAM_NCCL_LIST(X) \
    X(nccl, GetVersion) \
    X(nccl, GetErrorString) \
    X(nccl, GetLastError) \
    X(nccl, GetUniqueId) \
    X(nccl, CommInitRankConfig) \
    X(nccl, CommGetAsyncError) \
    X(nccl, CommDestroy) \
    X(nccl, GroupStart) \
    X(nccl, GroupEnd) \
    X(nccl, AllReduce) \
    X(nccl, ReduceScatter) \
    X(nccl, AllGather) \
    X(nccl, Broadcast) \
    X(nccl, Reduce) \
    X(nccl, Send) \
    X(nccl, Recv)
/* clang-format on */

typedef struct {
#define X(LIBRARY, NAME) __typeof__(LIBRARY##NAME) *LIBRARY##_##NAME;
    DRAM_NCCL_LIST(X)
#undef X
    /* Of NCCL 2.30, newer than the header may be; NULL where the library has it not. */
    ncclResult_t (*nccl_CommMemStats)(ncclComm_t comm, int stat, uint64_t *value);
} dram_nccl_functions;

enum { DRAM_NCCL_ALL_MEMORY = 3 }; /* ncclStatGpuMemTotal, for CommMemStats: all GPU memory of the communicator */

#endif
