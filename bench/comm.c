/* What ranks exchange in a second: sums of one tensor, of the tensors of a bucket, and gathers, as a step makes them.
 * bench/comm.sh starts it once a rank; MOST: the largest tensor in KiB. Rank 0 prints a row of a table for each size.
 * usage: bench_comm cpu|cuda MOST */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/ranks.h"
#include "bench.h"
#include "comm/comm.h"
#include "device/device.h"

enum { TIMES = 15, TENSORS = 16, CHANNELS = 4 };

static dram_comm *comm;
static dram_device *device;

static void leave(void *context, dram_status status, const char *text)
{
    (void)context;
    fprintf(stderr, "bench_comm: %s\n", text);
    fflush(stderr);
    _exit(dram_status_exit(status));
}

/* `tensors` of n elements each, in one call. */
typedef struct {
    dram_op op;
    dram_attr attr;
    int tensors;
    int64_t n;
    float *x, *out, *workspace; /* with room for the largest */
} work;

static dram_status run_once(const work *w, void *stream)
{
    dram_kernel_args nodes[TENSORS] = {0};
    const dram_kernel_args *args[TENSORS];
    int ranks = dram_comm_size(comm);
    int64_t room = w->op == DRAM_OP_all_reduce ? dram_rank_workspace(w->n, ranks) : 0;
    int64_t in = w->op == DRAM_OP_all_gather ? dram_rank_shard(w->n, ranks) : w->n;
    for (int i = 0; i < w->tensors; i++) {
        dram_kernel_args *a = &nodes[i];
        *a = (dram_kernel_args){.n_in = 1,
                                .n_out = 1,
                                .attr = &w->attr,
                                .workspace = w->workspace + i * room,
                                .workspace_bytes = room * (int64_t)sizeof(float),
                                .pool = device->pool};
        if (device->ops->asynchronous) a->device = device->ops->shared(device, DRAM_QUEUE_COMM);
        a->in[0] = (dram_tensor){.data = w->x + i * w->n, .dtype = DRAM_F32, .shape = DRAM_SHAPE(in)};
        a->out[0] = (dram_tensor){.data = w->out + i * w->n, .dtype = DRAM_F32, .shape = DRAM_SHAPE(w->n)};
        args[i] = a;
    }
    TRY(device->collectives->run(device->comm, w->op, args, w->tensors, stream));
    return device->ops->asynchronous ? device->ops->finish(device) : DRAM_OK;
}

/* Median seconds, of which the first run, that connects, is none. */
static dram_status time_work(const work *w, double *seconds)
{
    double times[TIMES], before;
    char here = 0, all[64];
    void *stream = device->ops->asynchronous ? device->ops->stream(device, DRAM_QUEUE_COMM) : NULL;
    TRY(run_once(w, stream));
    for (int k = 0; k < TIMES; k++) {
        TRY(dram_comm_gather(comm, &here, 1, all)); /* all begin together */
        before = dram_clock();
        TRY(run_once(w, stream));
        times[k] = dram_clock() - before;
    }
    *seconds = bench_median(times, TIMES);
    return DRAM_OK;
}

static dram_status row(work *w, int64_t kib)
{
    const int ranks = dram_comm_size(comm);
    const int64_t n = kib * 1024 / (int64_t)sizeof(float);
    const struct {
        dram_op op;
        int mode, tensors;
    } cells[] = {{DRAM_OP_all_reduce, DRAM_REDUCE_FAST, 1},
                 {DRAM_OP_all_reduce, DRAM_REDUCE_ORDERED, 1},
                 {DRAM_OP_all_reduce, DRAM_REDUCE_FAST, TENSORS},
                 {DRAM_OP_all_gather, 0, 1}};
    char text[256] = "";
    for (size_t i = 0; i < sizeof cells / sizeof *cells; i++) {
        double seconds;
        w->op = cells[i].op;
        w->attr = (dram_attr){.ranks = ranks, .mode = cells[i].mode};
        w->tensors = cells[i].tensors;
        w->n = n / w->tensors;
        TRY(time_work(w, &seconds));
        /* A rank sends so many times the whole: both halves of a sum, one of a gather. */
        double sent = (w->op == DRAM_OP_all_gather ? 1.0 : 2.0) * (ranks - 1) / ranks * (double)kib * 1024;
        size_t used = strlen(text);
        snprintf(text + used, sizeof text - used, " %.3f | %.2f |", seconds * 1e3, sent / seconds * 1e-9);
    }
    if (dram_comm_rank(comm) == 0) printf("| %lld |%s\n", (long long)kib, text);
    fflush(stdout);
    return DRAM_OK;
}

static dram_status rows(int64_t most)
{
    work w = {0};
    void *x, *out, *workspace;
    const int64_t bytes = most * 1024, room = bytes * dram_comm_size(comm) + bytes;
    TRY(dram_device_alloc(device, DRAM_SPACE_DEVICE, bytes, &x));
    TRY(dram_device_alloc(device, DRAM_SPACE_DEVICE, bytes, &out));
    TRY(dram_device_alloc(device, DRAM_SPACE_DEVICE, room, &workspace));
    w.x = x;
    w.out = out;
    w.workspace = workspace;
    if (dram_comm_rank(comm) == 0) {
        printf("%d ranks, %s\n\n", dram_comm_size(comm), dram_comm_version(comm));
        printf(
            "| KiB | sum, ms | GB/s | in rank order, ms | GB/s | sum of %d tensors, ms | GB/s | gather, ms | GB/s |\n"
            "|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n",
            TENSORS);
    }
    for (int64_t kib = 64; kib <= most; kib *= 4) TRY(row(&w, kib));
    dram_device_release(device, DRAM_SPACE_DEVICE, x, bytes);
    dram_device_release(device, DRAM_SPACE_DEVICE, out, bytes);
    dram_device_release(device, DRAM_SPACE_DEVICE, workspace, room);
    return DRAM_OK;
}

static dram_status open_all(bool gpu)
{
    dram_comm_params params = {
        .gpu = gpu, .channels = CHANNELS, .timeout = 120, .program = DRAM_VERSION, .leave = leave};
    TRY(dram_world_read(dram_process_environment, NULL, &params.world));
    if (params.world.size < 2)
        return dram_fail(DRAM_ERR_CONFIG, "one process has nobody to exchange with: bench/comm.sh starts several");
    TRY(dram_comm_open(&params, &comm));
    TRY(gpu ? dram_device_open_cuda(dram_device_cuda_chosen(), 1, &device) : dram_device_open_cpu(1, &device));
    dram_comm_attach(comm, device);
    return DRAM_OK;
}

int main(int argc, char **argv)
{
    const int64_t most = argc == 3 ? atoll(argv[2]) : 0;
    const bool gpu = most && strcmp(argv[1], "cuda") == 0;
    if (most < 64 || (!gpu && strcmp(argv[1], "cpu") != 0)) {
        fprintf(stderr, "usage: bench_comm cpu|cuda MOST (KiB, at least 64)\n");
        return 2;
    }
    dram_status status = open_all(gpu);
    if (status == DRAM_OK) status = rows(most);
    if (status != DRAM_OK) fprintf(stderr, "bench_comm: %s\n", dram_error_text());
    if (device) dram_device_close(device);
    dram_comm_close(comm, status);
    return dram_status_exit(status);
}
