/* resize: the weights of an axis. Rows first, then columns, each with weights that are made once a call. */
#ifndef DRAM_SCRATCH_RESIZE_H
#define DRAM_SCRATCH_RESIZE_H

#include "scratch/pieces.h"

enum { DRAM_RESIZE_ALIGN = 64 }; /* of a worker's row behind the weights, in bytes */

/* Weights that an output of an axis from `in` to `out` samples reads, at most. */
static inline int64_t dram_resize_taps(int mode, int64_t in, int64_t out)
{
    if (mode == DRAM_RESIZE_BILINEAR) return 2;
    return in > out ? dram_ceil_div(4 * in, out) + 1 : 5;
}

/* On the CPU: first source, place and weights of each output, and the same of the transposed axis. */
static inline int64_t dram_resize_axis_bytes(int mode, int64_t in, int64_t out)
{
    return 4 * (2 * (in + out) + 2 + 2 * out * dram_resize_taps(mode, in, out));
}

/* Of the gradient, which reads `from` samples and writes `to`, and of the forward: no more than there are. */
static inline int64_t dram_resize_taps_gpu(int mode, int64_t from, int64_t to, bool transposed)
{
    int64_t taps = dram_resize_taps(mode, from, to);
    if (transposed && mode == DRAM_RESIZE_BILINEAR) taps = dram_ceil_div(2 * from, to) + 1;
    return dram_min(taps, from);
}

/* On a GPU: the first source of each output and its weights. */
static inline int64_t dram_resize_axis_bytes_gpu(int mode, int64_t from, int64_t to, bool transposed)
{
    return 4 * to * (1 + dram_resize_taps_gpu(mode, from, to, transposed));
}

#endif
