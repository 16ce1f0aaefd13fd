/* cwd_loss, cwd_loss_grad: for each image and channel a softmax over the valid cells of s / T and of t / T, and how far
 * the first is from the second.
 *
 * Bound by memory: 8 bytes an element forward, 20 backward (24 with acc), at 2 and 4 exponentials. A thread takes one
 * channel of every so manyth cell and keeps the largest number so far and the sums of exponentials below it, which it
 * makes smaller when a larger number comes (Milakov, Gimelshein, "Online normalizer calculation for softmax", 2018), so
 * that s and t pass once for a sum; a block joins its threads' sums, a second kernel the blocks'. Exponentials are in
 * fp32, sums of PIECE of them too, sums of those in fp64. Cells with a mask of 0 are not read, so whatever the padding
 * holds does not matter. Where s and t are the same, or a constant apart, loss and gradient are exactly 0.
 */
#include "kernels/cuda/columns.cuh"
extern "C" {
#include "scratch/cwd_loss.h"
}

enum { PIECE = 8, WIDE = 32, HIGH = 8, EACH = 8 /* cells of a thread of the gradient */ };

/* Of a channel over some cells, with a = (s - most_s) / T and b = (t - most_t) / T. */
typedef struct {
    double sum_s, sum_t; /* of e^a, e^b; 0: there is no valid cell */
    double cross;        /* of e^b (b - a) */
    float most_s, most_t;
} sums;
static_assert(sizeof(sums) == DRAM_CWD_SUMS_BYTES, "what the rule gives a channel of a part");

/* What the gradient needs of a channel. */
typedef struct {
    float most_s, most_t;
    float of_s;  /* T / (N C) dloss / sum_s */
    float ratio; /* sum_s / sum_t */
} shares;
static_assert(sizeof(shares) == DRAM_CWD_SHARES_BYTES, "what the rule gives a channel");

typedef struct {
    const float *s, *t, *mask;
    int64_t cells; /* of an image */
    int images, channels;
    float sharpness; /* 1 / T */
} job;

static job job_of(const dram_kernel_args *args)
{
    const int64_t *s = args->in[0].shape.dim;
    job j;
    j.s = (const float *)args->in[0].data;
    j.t = (const float *)args->in[1].data;
    j.mask = (const float *)args->in[2].data;
    j.images = (int)s[0];
    j.cells = s[1] * s[2];
    j.channels = (int)s[3];
    j.sharpness = 1.0f / args->attr->scale;
    return j;
}

/* The sums as they are below larger maxima. */
__device__ static inline void lower(sums *z, float most_s, float most_t, float sharpness)
{
    const float down_s = z->most_s - most_s, down_t = z->most_t - most_t;
    z->cross += (double)((down_t - down_s) * sharpness) * z->sum_t;
    z->sum_s *= (double)expf(down_s * sharpness);
    const double of_t = (double)expf(down_t * sharpness);
    z->sum_t *= of_t;
    z->cross *= of_t;
    z->most_s = most_s;
    z->most_t = most_t;
}

__device__ static inline void join(sums *z, sums other, float sharpness)
{
    if (other.sum_t == 0) return;
    if (z->sum_t == 0) {
        *z = other;
        return;
    }
    const float most_s = fmaxf(z->most_s, other.most_s), most_t = fmaxf(z->most_t, other.most_t);
    lower(z, most_s, most_t, sharpness);
    lower(&other, most_s, most_t, sharpness);
    z->sum_s += other.sum_s;
    z->sum_t += other.sum_t;
    z->cross += other.cross;
}

/* Adds the cells whose bit of `valid` is set, one at least. The others are -inf. */
__device__ static inline void add_piece(sums *z, const float (&s)[PIECE], const float (&t)[PIECE], unsigned valid,
                                        float sharpness)
{
    float most_s = s[0], most_t = t[0], sum_s = 0, sum_t = 0, cross = 0;
    for (int k = 1; k < PIECE; k++) {
        most_s = fmaxf(most_s, s[k]);
        most_t = fmaxf(most_t, t[k]);
    }
    if (z->sum_t == 0) {
        z->most_s = most_s;
        z->most_t = most_t;
    } else if (most_s > z->most_s || most_t > z->most_t) {
        lower(z, fmaxf(most_s, z->most_s), fmaxf(most_t, z->most_t), sharpness);
    }
    for (int k = 0; k < PIECE; k++) {
        if (!(valid >> k & 1)) continue;
        const float a = s[k] - z->most_s, b = t[k] - z->most_t, exp_t = expf(b * sharpness);
        sum_s += expf(a * sharpness);
        sum_t += exp_t;
        cross = fmaf(exp_t, (b - a) * sharpness, cross);
    }
    z->sum_s += (double)sum_s;
    z->sum_t += (double)sum_t;
    z->cross += (double)cross;
}

/* A block: `wide` channels by HIGH of the cells of one part. blockIdx: part, channels, image. part [N,parts,C]. */
__global__ static void sums_kernel(job j, int wide, sums *part)
{
    DRAM_SHARED(sums, of_block, [HIGH][WIDE]);
    const int y = (int)threadIdx.x / wide, x = (int)threadIdx.x % wide;
    const int c = (int)blockIdx.y * wide + x;
    const int64_t image = blockIdx.z * j.cells, step = (int64_t)gridDim.x * HIGH;
    sums z = {0, 0, 0, 0, 0};
    float s[PIECE], t[PIECE];
    for (int64_t i = (int64_t)blockIdx.x * HIGH + y; c < j.channels && i < j.cells;) {
        unsigned valid = 0;
        for (int k = 0; k < PIECE; k++, i += step) {
            s[k] = t[k] = -INFINITY;
            if (i >= j.cells || j.mask[image + i] == 0) continue;
            valid |= 1u << k;
            s[k] = j.s[(image + i) * j.channels + c];
            t[k] = j.t[(image + i) * j.channels + c];
        }
        if (valid) add_piece(&z, s, t, valid, j.sharpness);
    }
    of_block[y][x] = z;
    __syncthreads();
    if (y != 0 || c >= j.channels) return;
    for (int k = 1; k < HIGH; k++) join(&z, of_block[k][x], j.sharpness);
    part[((int64_t)blockIdx.z * gridDim.x + blockIdx.x) * j.channels + c] = z;
}

/* The parts of a channel of an image: thread `at` of N C. */
__device__ static inline sums joined(const job &j, const sums *part, int parts, int64_t at)
{
    const int64_t image = at / j.channels, c = at - image * j.channels;
    sums z = {0, 0, 0, 0, 0};
    part += image * parts * j.channels + c;
    for (int p = 0; p < parts; p++) join(&z, part[(int64_t)p * j.channels], j.sharpness);
    return z;
}

/* How the workspace is cut: parts of the cells of an image, then `each`
 * bytes for each channel of each image. */
static int parts_of(const dram_kernel_args *args, const job &j, int64_t each)
{
    const int64_t columns = (int64_t)j.images * j.channels;
    return (int)((args->workspace_bytes - columns * each) / (columns * (int64_t)sizeof(sums)));
}

static dram_status run_sums(const dram_kernel_args *args, const job &j, int parts)
{
    const int chunks = (j.channels + WIDE - 1) / WIDE, wide = (j.channels + chunks - 1) / chunks;
    return dram_launch(args, sums_kernel, dim3((unsigned)parts, (unsigned)chunks, (unsigned)j.images),
                       (unsigned)(wide * HIGH), 0, j, wide, (sums *)args->workspace);
}

/* ---- forward ---- */

enum { COLUMNS_BLOCK = 64, TOTAL_BLOCK = 256 };

/* KL(p_t || p_s) = sum p_t (log p_t - log p_s), log p_t = b - log sum_t, log p_s = a - log sum_s. */
__global__ static void divergence_kernel(job j, const sums *part, int parts, double *divergence)
{
    const int64_t at = (int64_t)blockIdx.x * COLUMNS_BLOCK + threadIdx.x;
    if (at >= (int64_t)j.images * j.channels) return;
    const sums z = joined(j, part, parts, at);
    divergence[at] = z.sum_t == 0 ? 0.0 : z.cross / z.sum_t + log(z.sum_s) - log(z.sum_t);
}

__global__ static void loss_total(const double *divergence, int64_t n, double factor, float *out)
{
    double sum = 0;
    for (int64_t i = threadIdx.x; i < n; i += TOTAL_BLOCK) sum += divergence[i];
    sum = dram_block_sum<TOTAL_BLOCK>(sum);
    if (threadIdx.x == 0) *out = (float)(sum * factor);
}

DRAM_CUDA_KERNEL(cwd_loss)
{
    const job j = job_of(args);
    const int64_t columns = (int64_t)j.images * j.channels;
    const int parts = parts_of(args, j, sizeof(double));
    const sums *part = (const sums *)args->workspace;
    double *divergence = (double *)((sums *)args->workspace + columns * parts), temperature = (double)args->attr->scale;
    TRY(run_sums(args, j, parts));
    TRY(dram_launch(args, divergence_kernel, (unsigned)dram_ceil_div(columns, COLUMNS_BLOCK), COLUMNS_BLOCK, 0, j, part,
                    parts, divergence));
    return dram_launch(args, loss_total, 1, TOTAL_BLOCK, 0, (const double *)divergence, columns,
                       temperature * temperature / (double)columns, (float *)args->out[0].data);
}

/* ---- gradient ---- */

__global__ static void shares_kernel(job j, const sums *part, int parts, const float *dloss, double factor, shares *of)
{
    const int64_t at = (int64_t)blockIdx.x * COLUMNS_BLOCK + threadIdx.x;
    if (at >= (int64_t)j.images * j.channels) return;
    const sums z = joined(j, part, parts, at);
    shares to = {z.most_s, z.most_t, (float)((double)*dloss * factor / z.sum_s), (float)(z.sum_s / z.sum_t)};
    of[at] = to;
}

/* dKL/ds = (p_s - p_t) / T at each valid cell. blockIdx: cells, channels, image. */
template <int V>
__global__ static void gradient_kernel(job j, dram_columns of, const shares *share, const float *acc, float *out)
{
    const dram_column here = dram_column_here(of, V);
    const int64_t image = blockIdx.z * j.cells, step = (int64_t)gridDim.x * of.high;
    shares my[V];
    if (!here.in) return;
    for (int k = 0; k < V; k++) my[k] = share[(int64_t)blockIdx.z * j.channels + here.channel + k];
    for (int64_t i = (int64_t)blockIdx.x * of.high + here.y; i < j.cells; i += step) {
        const int64_t at = (image + i) * j.channels + here.channel;
        const bool valid = j.mask[image + i] != 0;
        if (!valid && acc == out) continue;
        dram_pack<float, V> to = dram_pack<float, V>();
        if (acc) to = dram_load<float, V>(acc + at);
        if (valid) {
            const dram_pack<float, V> s = dram_load<float, V>(j.s + at), t = dram_load<float, V>(j.t + at);
            for (int k = 0; k < V; k++) {
                const float exp_s = expf((s.at[k] - my[k].most_s) * j.sharpness);
                const float exp_t = expf((t.at[k] - my[k].most_t) * j.sharpness);
                to.at[k] = fmaf(fmaf(-exp_t, my[k].ratio, exp_s), my[k].of_s, to.at[k]);
            }
        }
        dram_store<float, V>(out + at, to);
    }
}

template <int V>
static dram_status run_gradient(const dram_kernel_args *args, const job &j, const shares *share, const float *acc)
{
    const dram_columns of = dram_columns_of(j.cells, j.channels, V);
    const dim3 grid((unsigned)dram_ceil_div(j.cells, (int64_t)of.high * EACH), (unsigned)of.chunks, (unsigned)j.images);
    return dram_launch(args, gradient_kernel<V>, grid, (unsigned)(of.wide * of.high), 0, j, of, share, acc,
                       (float *)args->out[0].data);
}

DRAM_CUDA_KERNEL(cwd_loss_grad)
{
    const job j = job_of(args);
    const int64_t columns = (int64_t)j.images * j.channels;
    const int parts = parts_of(args, j, sizeof(shares));
    const sums *part = (const sums *)args->workspace;
    const float *acc = (const float *)args->in[4].data;
    shares *share = (shares *)((sums *)args->workspace + columns * parts);
    TRY(run_sums(args, j, parts));
    TRY(dram_launch(args, shares_kernel, (unsigned)dram_ceil_div(columns, COLUMNS_BLOCK), COLUMNS_BLOCK, 0, j, part,
                    parts, (const float *)args->in[3].data, (double)args->attr->scale / (double)columns, share));
    if (dram_columns_whole<float>(args)) return run_gradient<4>(args, j, share, acc);
    return run_gradient<1>(args, j, share, acc);
}
