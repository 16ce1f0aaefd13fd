/* queued: the CPU as a device with queues. What is handed to them is done when somebody waits for all: queue after queue,
 * in an order that the test chooses, each as far ahead of the others as the joins let it. */
#ifndef TESTS_DEVICE_QUEUED_H
#define TESTS_DEVICE_QUEUED_H

#include <string.h>

#include "device/device.h"
#include "ir/op_list.h"

enum { QUEUED_MOST = 2048 };

/* A node's call, one of n collectives (n > 0), or (args NULL) a wait for the first `upto` of queue `from`. */
typedef struct {
    dram_kernel kernel;
    const dram_kernel_args *args;
    dram_op op;
    const dram_kernel_args *const *many;
    int n;
    int from, upto;
} queued_item;

static struct {
    const dram_kernel *kernels;
    const dram_collectives *collectives;
    void *comm;
    int order[DRAM_QUEUE_COUNT];
    queued_item item[DRAM_QUEUE_COUNT][QUEUED_MOST];
    int n[DRAM_QUEUE_COUNT], done[DRAM_QUEUE_COUNT];
    int calls, waits;             /* so far, of the queues beside compute; of all */
    char queue[DRAM_QUEUE_COUNT]; /* their addresses name the queues */
} queued;

static inline void queued_add(int q, queued_item item)
{
    assert_true(queued.n[q] < QUEUED_MOST);
    queued.item[q][queued.n[q]++] = item;
}

static inline dram_status queued_call(const dram_kernel_args *args, dram_op op)
{
    int q = (int)((char *)args->device - queued.queue);
    queued_add(q, (queued_item){.kernel = queued.kernels[op], .args = args});
    queued.calls += q != DRAM_QUEUE_COMPUTE;
    return DRAM_OK;
}

#define X(NAME, ...)                                                                                                   \
    static dram_status queued_op_##NAME(const dram_kernel_args *args)                                                  \
    {                                                                                                                  \
        return queued_call(args, DRAM_OP_##NAME);                                                                      \
    }
DRAM_OP_LIST(X)
#undef X

static inline void *queued_shared(dram_device *device, dram_queue queue)
{
    (void)device;
    return &queued.queue[queue];
}

static inline void *queued_stream(dram_device *device, dram_queue queue)
{
    (void)device;
    return &queued.queue[queue];
}

static inline dram_status queued_collect(void *comm, dram_op op, const dram_kernel_args *const *args, int n,
                                         void *stream)
{
    (void)comm;
    assert_ptr_equal(stream, &queued.queue[DRAM_QUEUE_COMM]);
    queued_add(DRAM_QUEUE_COMM, (queued_item){.op = op, .many = args, .n = n});
    queued.calls++;
    return DRAM_OK;
}

static inline dram_status queued_join(dram_device *device, dram_queue from, dram_queue to)
{
    (void)device;
    queued_add((int)to, (queued_item){.from = (int)from, .upto = queued.n[from]});
    queued.waits++;
    return DRAM_OK;
}

static inline dram_status queued_do(const queued_item *item)
{
    if (item->args) return item->kernel(item->args);
    return queued.collectives->run(queued.comm, item->op, item->many, item->n, NULL);
}

static inline dram_status queued_run(int q, int upto)
{
    while (queued.done[q] < upto) {
        const queued_item *item = &queued.item[q][queued.done[q]];
        TRY(item->args || item->n ? queued_do(item) : queued_run(item->from, item->upto));
        queued.done[q]++;
    }
    return DRAM_OK;
}

static inline dram_status queued_finish(dram_device *device)
{
    (void)device;
    for (int k = 0; k < DRAM_QUEUE_COUNT; k++) TRY(queued_run(queued.order[k], queued.n[queued.order[k]]));
    memset(queued.n, 0, sizeof queued.n);
    memset(queued.done, 0, sizeof queued.done);
    return DRAM_OK;
}

/* Gives an opened CPU, which has its collectives already, its queues. order[0] runs first. */
static inline void queued_begin(dram_device *cpu, const int order[DRAM_QUEUE_COUNT])
{
    static const dram_kernel kernels[DRAM_OP_COUNT] = {
#define X(NAME, ...) [DRAM_OP_##NAME] = queued_op_##NAME,
        DRAM_OP_LIST(X)
#undef X
    };
    static const dram_collectives collectives = {.run = queued_collect};
    static dram_device_ops ops;
    ops = *cpu->ops;
    ops.asynchronous = true;
    ops.shared = queued_shared;
    ops.stream = queued_stream;
    ops.join = queued_join;
    ops.finish = queued_finish;
    queued.kernels = cpu->kernels;
    queued.collectives = cpu->collectives;
    queued.comm = cpu->comm;
    memcpy(queued.order, order, sizeof queued.order);
    queued.calls = queued.waits = 0;
    cpu->ops = &ops;
    cpu->kernels = kernels;
    if (cpu->collectives) cpu->collectives = &collectives;
}

#endif
