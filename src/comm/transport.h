/* transport: what carries bytes between ranks: MPI (mpi.h), NCCL (nccl.h). src/comm alone uses it; others see comm.h.
 *
 * Every call is collective but check, abandon and the reading of `came`: all ranks make the same calls, with the same
 * sizes, in the same order, from their main thread. `at` tells how a buffer is cut into one piece a rank, the same on
 * all: piece r is [at[r], at[r + 1]), at[0] is 0, pieces may be empty. It is read during the call alone.
 *
 * Data lies in the device's memory where `device_memory` is true: then a call puts its work into `stream` (the comm
 * queue's cudaStream_t) and returns. Else data is in host memory, `stream` is NULL, and a call is done when it returns,
 * or when the group that it is in ends. What a call reads must stay as it is until then.
 *
 * A failure of the transport is DRAM_ERR_PEER, with a text that says what was asked of it; all that may follow is
 * abandon. A rank that does not answer is no failure of the transport: the call goes on waiting, and watch.h ends it.
 */
#ifndef DRAM_COMM_TRANSPORT_H
#define DRAM_COMM_TRANSPORT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

typedef struct dram_transport dram_transport;

typedef struct {
    /* What is called between them is one group: the calls may be carried out together, in any order, and none may
     * write what another reads or writes. Groups do not nest. */
    dram_status (*group_begin)(dram_transport *transport);
    dram_status (*group_end)(dram_transport *transport, void *stream);

    /* Piece s of `send` goes to rank s. `receive` gets this rank's piece of all ranks, one behind the other in rank
     * order: size * (at[rank + 1] - at[rank]) bytes. They do not overlap. at: bytes. */
    dram_status (*all_to_all)(dram_transport *transport, const void *send, const int64_t *at, void *receive,
                              void *stream);

    /* `all` gets the piece of every rank, at[size] bytes. `mine` may be all + at[rank], and does not overlap `all`
     * otherwise. at: bytes. */
    dram_status (*all_gather)(dram_transport *transport, const void *mine, const int64_t *at, void *all, void *stream);

    /* Sums of f32 over the ranks, in an order that the library chooses; the same bits on all ranks. n elements; out may
     * be in. */
    dram_status (*all_reduce)(dram_transport *transport, const float *in, float *out, int64_t n, void *stream);
    /* out gets this rank's piece of the sum; they do not overlap. at: elements. */
    dram_status (*reduce_scatter)(dram_transport *transport, const float *in, const int64_t *at, float *out,
                                  void *stream);

    /* Host memory, small, done on return: `all` gets `bytes` of every rank in rank order. Not within a group. NULL:
     * this transport has no host side, and another is opened beside it. */
    dram_status (*host_gather)(dram_transport *transport, const void *mine, int64_t bytes, void *all);

    /* Whether something has failed behind the calls' backs. From any thread; takes no lock that a call holds. NULL: the
     * transport cannot tell. */
    dram_status (*check)(dram_transport *transport);

    /* Says goodbye to the others and frees everything: all ranks call it, with no work pending. */
    void (*close)(dram_transport *transport);
    /* On the way out after an error: waits for nobody, tells nobody, may leave everything as it is. The process ends
     * soon after. */
    void (*abandon)(dram_transport *transport);
} dram_transport_ops;

struct dram_transport {
    const dram_transport_ops *ops;
    const char *name; /* "mpi", "nccl" */
    int rank, size;
    bool device_memory;
    char version[96]; /* of the library, for a person: "Open MPI 4.1.4" */
    /* By rank: whether what is awaited has come from it. Read by the watchdog's thread. NULL: the transport cannot
     * tell. */
    const _Atomic unsigned char *came;
};

#endif
