#include "comm/nccl.h"

#include <cuda_runtime_api.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "comm/nccl_library.h"
#include "device/device.h"

typedef struct {
    dram_transport transport; /* first: a pointer to one is a pointer to the other */
    dram_nccl_functions nccl;
    ncclComm_t comm;
    cudaStream_t stream; /* of host_gather */
    char *pinned,
        *room; /* its buffers, for one rank's bytes and those of all: (size + 1) * room_bytes, on both sides */
    int64_t room_bytes;
} nccl;

/* ---- errors ---- */

static dram_status checked(const nccl *n, const char *what, ncclResult_t result)
{
    if (result == ncclSuccess) return DRAM_OK;
    const char *more = n->nccl.nccl_GetLastError(n->comm);
    if (result == ncclUnhandledCudaError && more && strstr(more, "out of memory"))
        return dram_fail(DRAM_ERR_FIT,
                         "NCCL: rank %d of %d: %s failed: too little GPU memory is free for NCCL's buffers (%s): lower "
                         "memory.budget or distributed.nccl_channels",
                         n->transport.rank, n->transport.size, what, more);
    return dram_fail(DRAM_ERR_PEER, "NCCL: rank %d of %d: %s failed: %s%s%s", n->transport.rank, n->transport.size,
                     what, n->nccl.nccl_GetErrorString(result), more && *more ? ": " : "", more ? more : "");
}

static dram_status cuda_checked(const char *what, cudaError_t error)
{
    if (error == cudaSuccess) return DRAM_OK;
    cudaGetLastError();
    return dram_fail(error == cudaErrorMemoryAllocation ? DRAM_ERR_FIT : DRAM_ERR_RUN, "NCCL: %s: CUDA says: %s", what,
                     cudaGetErrorString(error));
}

/* ---- calls ---- */

static bool is_even(const dram_transport *t, const int64_t *at)
{
    for (int r = 0; r < t->size; r++)
        if (at[r + 1] - at[r] != at[1]) return false;
    return true;
}

static dram_status group_begin(dram_transport *t)
{
    return checked((nccl *)t, "beginning a group", ((nccl *)t)->nccl.nccl_GroupStart());
}

static dram_status group_end(dram_transport *t, void *stream)
{
    (void)stream;
    return checked((nccl *)t, "a group of exchanges", ((nccl *)t)->nccl.nccl_GroupEnd());
}

/* Ends a group in any case; the first failure counts. */
static dram_status ended(nccl *n, const char *what, ncclResult_t result)
{
    ncclResult_t end = n->nccl.nccl_GroupEnd();
    return checked(n, what, result == ncclSuccess ? end : result);
}

static dram_status all_to_all(dram_transport *t, const void *send, const int64_t *at, void *receive, void *stream)
{
    nccl *n = (nccl *)t;
    const char *from = send;
    char *to = receive;
    const int64_t mine = at[t->rank + 1] - at[t->rank];
    ncclResult_t result = ncclSuccess;
    if (mine)
        TRY(cuda_checked("copying a piece", cudaMemcpyAsync(to + t->rank * mine, from + at[t->rank], (size_t)mine,
                                                            cudaMemcpyDeviceToDevice, stream)));
    TRY(checked(n, "beginning a group", n->nccl.nccl_GroupStart()));
    for (int i = 1; i < t->size && result == ncclSuccess; i++) {
        int r = (t->rank + i) % t->size;
        size_t bytes = (size_t)(at[r + 1] - at[r]);
        if (bytes) result = n->nccl.nccl_Send(from + at[r], bytes, ncclUint8, r, n->comm, stream);
        if (mine && result == ncclSuccess)
            result = n->nccl.nccl_Recv(to + r * mine, (size_t)mine, ncclUint8, r, n->comm, stream);
    }
    return ended(n, "an all-to-all", result);
}

/* NCCL gathers pieces of one length; others go from each rank to all. */
static dram_status all_gather(dram_transport *t, const void *mine, const int64_t *at, void *all, void *stream)
{
    nccl *n = (nccl *)t;
    char *to = all;
    ncclResult_t result = ncclSuccess;
    if (is_even(t, at))
        return checked(n, "an all-gather",
                       n->nccl.nccl_AllGather(mine, all, (size_t)at[1], ncclUint8, n->comm, stream));
    TRY(checked(n, "beginning a group", n->nccl.nccl_GroupStart()));
    for (int r = 0; r < t->size && result == ncclSuccess; r++) {
        size_t bytes = (size_t)(at[r + 1] - at[r]);
        const void *from = r == t->rank ? mine : to + at[r];
        if (bytes) result = n->nccl.nccl_Broadcast(from, to + at[r], bytes, ncclUint8, r, n->comm, stream);
    }
    return ended(n, "an all-gather", result);
}

static dram_status all_reduce(dram_transport *t, const float *in, float *out, int64_t elements, void *stream)
{
    nccl *n = (nccl *)t;
    return checked(n, "an all-reduce",
                   n->nccl.nccl_AllReduce(in, out, (size_t)elements, ncclFloat32, ncclSum, n->comm, stream));
}

static dram_status reduce_scatter(dram_transport *t, const float *in, const int64_t *at, float *out, void *stream)
{
    nccl *n = (nccl *)t;
    ncclResult_t result = ncclSuccess;
    if (is_even(t, at))
        return checked(n, "a reduce-scatter",
                       n->nccl.nccl_ReduceScatter(in, out, (size_t)at[1], ncclFloat32, ncclSum, n->comm, stream));
    TRY(checked(n, "beginning a group", n->nccl.nccl_GroupStart()));
    for (int r = 0; r < t->size && result == ncclSuccess; r++) {
        size_t elements = (size_t)(at[r + 1] - at[r]);
        if (elements)
            result = n->nccl.nccl_Reduce(in + at[r], r == t->rank ? out : NULL, elements, ncclFloat32, ncclSum, r,
                                         n->comm, stream);
    }
    return ended(n, "a reduce-scatter", result);
}

/* ---- the host's side ---- */

static void release_room(nccl *n)
{
    if (n->pinned) cudaFreeHost(n->pinned);
    if (n->room) cudaFree(n->room);
    n->pinned = n->room = NULL;
    n->room_bytes = 0;
}

static dram_status make_room(nccl *n, int64_t bytes)
{
    void *pinned = NULL, *room = NULL;
    size_t whole = (size_t)(bytes * (n->transport.size + 1));
    if (bytes <= n->room_bytes) return DRAM_OK;
    release_room(n);
    TRY(cuda_checked("pinning memory for what ranks tell", cudaHostAlloc(&pinned, whole, cudaHostAllocDefault)));
    n->pinned = pinned;
    TRY(cuda_checked("memory for what ranks tell", cudaMalloc(&room, whole)));
    n->room = room;
    n->room_bytes = bytes;
    return DRAM_OK;
}

/* One communicator's calls come in one order on all ranks: what other streams hold must be done before. */
static dram_status host_gather(dram_transport *t, const void *mine, int64_t bytes, void *all)
{
    nccl *n = (nccl *)t;
    char *told = n->pinned;
    if (!bytes) return DRAM_OK;
    TRY(make_room(n, bytes));
    told = n->pinned + bytes;
    memcpy(n->pinned, mine, (size_t)bytes);
    TRY(cuda_checked("finishing what was begun", cudaDeviceSynchronize()));
    TRY(cuda_checked("telling the other ranks",
                     cudaMemcpyAsync(n->room, n->pinned, (size_t)bytes, cudaMemcpyHostToDevice, n->stream)));
    TRY(checked(n, "a gather for the host",
                n->nccl.nccl_AllGather(n->room, n->room + bytes, (size_t)bytes, ncclUint8, n->comm, n->stream)));
    TRY(cuda_checked("hearing the other ranks", cudaMemcpyAsync(told, n->room + bytes, (size_t)(bytes * t->size),
                                                                cudaMemcpyDeviceToHost, n->stream)));
    TRY(cuda_checked("hearing the other ranks", cudaStreamSynchronize(n->stream)));
    memcpy(all, told, (size_t)(bytes * t->size));
    return DRAM_OK;
}

static dram_status check(dram_transport *t)
{
    nccl *n = (nccl *)t;
    ncclResult_t found = ncclSuccess;
    TRY(checked(n, "asking for errors", n->nccl.nccl_CommGetAsyncError(n->comm, &found)));
    return checked(n, "a collective", found == ncclInProgress ? ncclSuccess : found);
}

/* ---- beginning and end ---- */

static void close_nccl(dram_transport *t)
{
    nccl *n = (nccl *)t;
    if (n->comm) n->nccl.nccl_CommDestroy(n->comm);
    release_room(n);
    if (n->stream) cudaStreamDestroy(n->stream);
    dram_free(n);
}

/* Whatever waits for a queue that never ends would hang: nothing is freed. */
static void abandon(dram_transport *t)
{
    (void)t;
}

static const dram_transport_ops ops = {.group_begin = group_begin,
                                       .group_end = group_end,
                                       .all_to_all = all_to_all,
                                       .all_gather = all_gather,
                                       .all_reduce = all_reduce,
                                       .reduce_scatter = reduce_scatter,
                                       .host_gather = host_gather,
                                       .check = check,
                                       .close = close_nccl,
                                       .abandon = abandon};

dram_status dram_nccl_gpu(const dram_world *world, int *index)
{
    int visible = 0;
    cudaError_t error = cudaGetDeviceCount(&visible);
    if (error != cudaSuccess || !visible)
        return dram_fail(DRAM_ERR_RUN, "device: cuda: there is no CUDA GPU (%s): use device: cpu",
                         error == cudaSuccess ? "none is visible" : cudaGetErrorString(error));
    *index = visible == 1 ? 0 : world->local_rank;
    if (*index < visible) return DRAM_OK;
    return dram_fail(DRAM_ERR_CONFIG,
                     "%d ranks run on this machine, and %d GPUs are visible: each rank needs one of its own. Start %d "
                     "ranks here, or make more visible (CUDA_VISIBLE_DEVICES)",
                     world->local_size, visible, visible);
}

/* What a rank tells the others before it can use NCCL. */
typedef struct {
    ncclUniqueId id;
    char host[64], card[16];
} card;

static dram_status describe_card(int gpu, card *mine)
{
    struct cudaDeviceProp properties;
    TRY(cuda_checked("asking the GPU who it is", cudaGetDeviceProperties(&properties, gpu)));
    memcpy(mine->card, &properties.uuid, sizeof mine->card);
    gethostname(mine->host, sizeof mine->host - 1);
    return DRAM_OK;
}

static dram_status compare_cards(const card *cards, int n)
{
    for (int a = 0; a < n; a++)
        for (int b = a + 1; b < n; b++)
            if (!memcmp(cards[a].card, cards[b].card, sizeof cards[a].card) && !strcmp(cards[a].host, cards[b].host))
                return dram_fail(DRAM_ERR_CONFIG,
                                 "ranks %d and %d have the same GPU of %s: each rank needs one of its own. Start as "
                                 "many ranks as there are GPUs, and set CUDA_VISIBLE_DEVICES to all of them, or to "
                                 "another one for each rank",
                                 a, b, cards[a].host);
    return DRAM_OK;
}

/* Where rank 0 listens: all know it by NCCL_COMM_ID, or rank 0 tells them through `host`, when two ranks of one GPU are
 * found too. */
static dram_status find_id(nccl *n, const dram_nccl_params *params, ncclUniqueId *id)
{
    const dram_world *world = params->world;
    dram_status status;
    card mine = {0}, *all;
    if (!params->host) return checked(n, "asking for an id", n->nccl.nccl_GetUniqueId(id));
    TRY(describe_card(params->gpu, &mine));
    if (world->rank == 0) TRY(checked(n, "asking for an id", n->nccl.nccl_GetUniqueId(&mine.id)));
    all = dram_calloc((size_t)world->size, sizeof *all);
    if (!all) return dram_fail(DRAM_ERR_MEMORY, "no memory for what %d ranks tell", world->size);
    status = params->host->ops->host_gather(params->host, &mine, sizeof mine, all);
    if (status == DRAM_OK) status = compare_cards(all, world->size);
    *id = all[0].id;
    dram_free(all);
    return status;
}

/* What NCCL says of a beginning that a user can mend: two ranks of one GPU, and no memory. */
static dram_status began(const nccl *n, ncclResult_t result)
{
    if (result == ncclInvalidUsage)
        return dram_fail(DRAM_ERR_CONFIG,
                         "NCCL: %s: each rank needs a GPU of its own. Start as many ranks as there are GPUs",
                         n->nccl.nccl_GetLastError(NULL));
    return checked(n, "meeting the other ranks", result);
}

static dram_status meet(nccl *n, const dram_nccl_params *params)
{
    dram_cuda_card gpu;
    ncclUniqueId id;
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 1;
    config.maxCTAs = params->channels;
    TRY(dram_device_cuda_card(params->gpu, &gpu)); /* counts the context before NCCL takes something */
    TRY(find_id(n, params, &id));
    TRY(began(n, n->nccl.nccl_CommInitRankConfig(&n->comm, n->transport.size, id, n->transport.rank, &config)));
    return cuda_checked("a stream for what ranks tell", cudaStreamCreateWithFlags(&n->stream, cudaStreamNonBlocking));
}

dram_status dram_nccl_open(const dram_nccl_params *params, dram_transport **out)
{
    dram_status status;
    nccl *n = dram_calloc(1, sizeof *n);
    if (!n) return dram_fail(DRAM_ERR_MEMORY, "no memory for NCCL");
    n->transport = (dram_transport){
        .ops = &ops, .name = "nccl", .rank = params->world->rank, .size = params->world->size, .device_memory = true};
    TRY_GOTO(dram_nccl_library_open(params->world, params->host != NULL, &n->nccl), failed);
    dram_nccl_library_version(&n->nccl, n->transport.version, sizeof n->transport.version);
    TRY_GOTO(meet(n, params), failed);
    *out = &n->transport;
    return DRAM_OK;
failed:
    dram_free(n); /* a communicator that was opened is left: the others may not come to its end */
    return status;
}

int64_t dram_nccl_taken(const dram_transport *transport)
{
    const nccl *n = (const nccl *)transport;
    uint64_t bytes = 0;
    if (transport->ops != &ops || !n->nccl.nccl_CommMemStats) return 0;
    return n->nccl.nccl_CommMemStats(n->comm, DRAM_NCCL_ALL_MEMORY, &bytes) == ncclSuccess ? (int64_t)bytes : 0;
}
