#include "device/rate.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"

/* A copy of COPY bytes. Products of ROWS x IN by IN x OUT, as layers of small networks are; their kernel has a worker's
 * full scratch. All last a millisecond or two, so that on a busy machine some turn is not interrupted. */
enum { COPY = 48 << 20, ROWS = 1024, IN = 256, OUT = 512, SCRATCH = 1 << 20, TURNS = 200 };

/* Seconds for each measurement: many turns, and on a busy or slow machine one. */
static const double most_seconds = 0.3;

/* The shortest time of a call, in seconds, after one that does not count. */
static dram_status shortest(dram_kernel kernel, const dram_kernel_args *args, double *seconds)
{
    double begin = dram_clock();
    TRY(kernel(args));
    *seconds = 1e9;
    for (int turn = 0; turn < TURNS && (turn == 0 || dram_clock() - begin < most_seconds); turn++) {
        double start = dram_clock();
        TRY(kernel(args));
        double now = dram_clock() - start;
        if (now < *seconds) *seconds = now;
    }
    return DRAM_OK;
}

static dram_status measure_copy(dram_device *d, char *memory, double *bandwidth)
{
    const dram_attr attr = {0};
    dram_kernel_args args = {.n_in = 1, .n_out = 1, .attr = &attr, .pool = d->pool};
    double seconds;
    args.in[0] = (dram_tensor){memory, DRAM_U8, DRAM_SHAPE(COPY)};
    args.out[0] = (dram_tensor){memory + COPY, DRAM_U8, DRAM_SHAPE(COPY)};
    TRY(shortest(d->kernels[DRAM_OP_copy], &args, &seconds));
    *bandwidth = 2.0 * COPY / seconds;
    return DRAM_OK;
}

/* Of zeros, which take as long as other numbers. */
static dram_status measure_product(dram_device *d, dram_dtype type, char *memory, double *flops)
{
    const dram_attr attr = {0};
    const int64_t each = dram_dtype_bytes(type), w = ROWS * IN * each, y = w + OUT * IN * each,
                  end = y + ROWS * OUT * each;
    dram_kernel_args args = {.n_in = 2, .n_out = 1, .attr = &attr, .pool = d->pool};
    double seconds;
    args.in[0] = (dram_tensor){memory, type, DRAM_SHAPE(ROWS, IN)};
    args.in[1] = (dram_tensor){memory + w, type, DRAM_SHAPE(OUT, IN)};
    args.out[0] = (dram_tensor){memory + y, type, DRAM_SHAPE(ROWS, OUT)};
    args.workspace = memory + end;
    args.workspace_bytes = type == DRAM_F32 ? 0 : (int64_t)d->profile.workers * SCRATCH;
    TRY(shortest(d->kernels[DRAM_OP_linear], &args, &seconds));
    *flops = 2.0 * ROWS * IN * OUT / seconds;
    return DRAM_OK;
}

dram_status dram_device_rate(dram_device *d, dram_dtype low, dram_card *card)
{
    int64_t products = 4 * (ROWS * IN + OUT * IN + ROWS * OUT) + (int64_t)d->profile.workers * SCRATCH;
    int64_t bytes = products > 2 * COPY ? products : 2 * COPY;
    void *memory;
    *card = (dram_card){.name = "cpu"};
    snprintf(card->title, sizeof card->title, "this CPU, %d thread%s, %.60s", d->profile.workers,
             d->profile.workers == 1 ? "" : "s", d->name);
    TRY(dram_device_alloc(d, DRAM_SPACE_DEVICE, bytes, &memory));
    memset(memory, 0, (size_t)bytes); /* memory that was never written is one page of zeros */
    dram_status status = measure_copy(d, memory, &card->bandwidth);
    if (status == DRAM_OK) status = measure_product(d, DRAM_F32, memory, &card->flops_fp32);
    if (status == DRAM_OK) status = measure_product(d, low, memory, &card->flops_low);
    dram_device_release(d, DRAM_SPACE_DEVICE, memory, bytes);
    return status;
}
