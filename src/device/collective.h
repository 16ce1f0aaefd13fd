/* collective: what carries out the collective nodes of a program, those of the queue DRAM_QUEUE_COMM.
 *
 * The graph, the plan and the executor know only that such a node joins all ranks; src/comm has MPI and NCCL behind
 * this, and tests have threads.
 */
#ifndef DRAM_DEVICE_COLLECTIVE_H
#define DRAM_DEVICE_COLLECTIVE_H

#include "base/kernel.h"
#include "ir/op_list.h"

typedef struct {
    /* Carries out n neighbouring nodes of one op, n >= 1, each with its arguments, in their order. All ranks call it
     * with the same op, sizes and attributes, and in one order. What one of the nodes writes no other reads or writes,
     * and each has a workspace of its own, as many elements as collective_list.h says of its op. A kernel that it runs
     * (rank_sum, of the device's table) gets `pool` and `device` of these arguments. On a device whose queues are
     * asynchronous the work is put into `stream`, the cudaStream_t of the queue, and the bytes are in use until that
     * queue is joined; else it is done on return and `stream` is NULL. The main thread alone calls it.
     *
     * A failure of the transport, or of a peer, is DRAM_ERR_PEER; the bytes that were written are then undefined. */
    dram_status (*run)(void *comm, dram_op op, const dram_kernel_args *const *args, int n, void *stream);
    /* The host begins to wait for a device's queues, in which collectives may be; and has waited. May be NULL. */
    void (*wait)(void *comm, bool begins);
} dram_collectives;

#endif
