/* columns: a matrix [R,C] walked so that a thread stays in its columns, and sums over rows in two steps.
 *
 * A thread takes V channels that lie side by side (one access of 16 bytes, or one number) of every `high`th row. What
 * belongs to a channel stays in its registers, and neighbours read neighbouring addresses. Sums over rows are made in
 * parts, one a block, as [parts,2,C] in the workspace; a second kernel adds the parts. The number of parts depends on
 * shapes alone, so the order of a sum does.
 */
#ifndef DRAM_KERNELS_CUDA_COLUMNS_CUH
#define DRAM_KERNELS_CUDA_COLUMNS_CUH

#include "kernels/cuda/cuda.cuh"
extern "C" {
#include "scratch/columns.h"
}

enum {
    DRAM_TOTAL_COLUMNS = 8, /* of a block that adds parts: 64 bytes of doubles, */
    DRAM_TOTAL_SLICES = 32  /* in so many slices of the parts */
};

/* Whether whole vectors of T may be read of each row: of the kernel's tensors, which all begin so, or are not given. */
template <typename T> static inline bool dram_columns_whole(const dram_kernel_args *args)
{
    uintptr_t at = 0;
    for (int i = 0; i < args->n_in; i++) at |= reinterpret_cast<uintptr_t>(args->in[i].data);
    for (int o = 0; o < args->n_out; o++) at |= reinterpret_cast<uintptr_t>(args->out[o].data);
    return dram_last(&args->in[0].shape, 0) % dram_vector<T> == 0 && at % 16 == 0;
}

/* Numbers of V channels from `channel` on, as many in an access as there can be. */
template <int V> __device__ static inline void dram_channels_load(float (&to)[V], const float *from, int64_t channel)
{
    enum { EACH = V % 4 == 0 ? 4 : 1 };
    for (int k = 0; k < V; k += EACH) {
        dram_pack<float, EACH> some = dram_load<float, EACH>(from + channel + k);
        for (int i = 0; i < EACH; i++) to[k + i] = some.at[i];
    }
}

/* Where a thread is. */
typedef struct {
    int x, y;        /* in its block */
    int64_t channel; /* first of its channels */
    bool in;         /* it has any */
} dram_column;

__device__ static inline dram_column dram_column_here(const dram_columns &of, int v)
{
    dram_column c;
    c.y = (int)threadIdx.x / of.wide;
    c.x = (int)threadIdx.x - c.y * of.wide;
    int vector = (int)blockIdx.y * of.wide + c.x;
    c.channel = (int64_t)vector * v;
    c.in = vector < of.vectors;
    return c;
}

/* Adds `value` over the `high` threads of a column; the sums are those of the threads with y = 0. All threads come. */
template <int V> __device__ static inline void dram_column_sum(const dram_columns &of, int y, double (&value)[V])
{
    DRAM_SHARED(double, tile, [V][DRAM_COLUMNS_BLOCK]);
    __syncthreads();
    for (int left = of.high; left > 1;) {
        const int half = (left + 1) / 2;
        if (y >= half && y < left)
            for (int k = 0; k < V; k++) tile[k][threadIdx.x] = value[k];
        __syncthreads();
        if (y + half < left)
            for (int k = 0; k < V; k++) value[k] += tile[k][threadIdx.x + (unsigned)(half * of.wide)];
        left = half;
    }
}

/* Column `at` of the parts added up, by a block of DRAM_TOTAL_COLUMNS x DRAM_TOTAL_SLICES threads for as many columns;
 * valid in the threads of slice 0. `step`: elements from part to part. All threads come, with at < 0 where there is no
 * column. */
template <typename S>
__device__ static inline double dram_parts_total(const S *part, int64_t parts, int64_t step, int64_t at)
{
    DRAM_SHARED(double, tile, [DRAM_TOTAL_COLUMNS * DRAM_TOTAL_SLICES]);
    const int slice = (int)threadIdx.x / DRAM_TOTAL_COLUMNS;
    double sum = 0;
    for (int64_t p = slice; at >= 0 && p < parts; p += DRAM_TOTAL_SLICES) sum += (double)part[p * step + at];
    __syncthreads();
    tile[threadIdx.x] = sum;
    for (int half = DRAM_TOTAL_SLICES / 2; half; half /= 2) {
        __syncthreads();
        if (slice < half) tile[threadIdx.x] += tile[threadIdx.x + (unsigned)(half * DRAM_TOTAL_COLUMNS)];
    }
    return tile[threadIdx.x];
}

/* The column of a thread of such a block, -1 beyond the last. */
__device__ static inline int64_t dram_total_column(int64_t columns)
{
    int64_t at = (int64_t)blockIdx.x * DRAM_TOTAL_COLUMNS + threadIdx.x % DRAM_TOTAL_COLUMNS;
    return at < columns ? at : -1;
}

#endif
