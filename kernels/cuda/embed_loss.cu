/* embed_loss, embed_loss_grad: an error a cell, weighted by the mask, a mean over the valid cells of each image.
 *
 * Bound by memory: 8 bytes an element of s forward, 12 backward (16 with acc), at 3 to 10 FLOPs. A warp takes a cell;
 * where the gradient needs products first (cosine), s and t come from the first cache the second time. Cells with a
 * mask of 0 are not read, so whatever the padding holds does not matter. A cell is summed in fp32, cells in fp64.
 */
#include "kernels/cuda/cuda.cuh"
extern "C" {
#include "scratch/embed_loss.h"
}

enum { WARPS = 8, BLOCK = WARPS * DRAM_WARP };

typedef struct {
    const float *s, *t, *mask, *acc;
    float *out;
    int64_t cells; /* of an image */
    int images, channels;
} job;

static job job_of(const dram_kernel_args *args)
{
    const int64_t *s = args->in[0].shape.dim;
    job j;
    j.s = (const float *)args->in[0].data;
    j.t = (const float *)args->in[1].data;
    j.mask = (const float *)args->in[2].data;
    j.acc = (const float *)args->in[4].data;
    j.out = (float *)args->out[0].data;
    j.images = (int)s[0];
    j.cells = s[1] * s[2];
    j.channels = (int)s[3];
    return j;
}

/* Whether cells can be read by four channels. */
static bool by_fours(const job &j)
{
    uintptr_t at = reinterpret_cast<uintptr_t>(j.s) | reinterpret_cast<uintptr_t>(j.t) |
                   reinterpret_cast<uintptr_t>(j.acc) | reinterpret_cast<uintptr_t>(j.out);
    return j.channels % 4 == 0 && at % 16 == 0;
}

typedef struct {
    float st, ss, tt; /* products of s and t */
} products;

/* Of a cell, by its warp. */
template <int V> __device__ static inline products multiply(const float *s, const float *t, int channels)
{
    products p = {0, 0, 0};
    for (int c = (int)threadIdx.x % DRAM_WARP * V; c < channels; c += DRAM_WARP * V) {
        const dram_pack<float, V> a = dram_load<float, V>(s + c), b = dram_load<float, V>(t + c);
        for (int k = 0; k < V; k++) {
            p.st = fmaf(a.at[k], b.at[k], p.st);
            p.ss = fmaf(a.at[k], a.at[k], p.ss);
            p.tt = fmaf(b.at[k], b.at[k], p.tt);
        }
    }
    return {dram_warp_sum(p.st), dram_warp_sum(p.ss), dram_warp_sum(p.tt)};
}

/* |s| |t|; 0 where one of them has no direction. The cosine is then 0, and so is its gradient. */
__device__ static inline float lengths(const products &p)
{
    float both = sqrtf(p.ss) * sqrtf(p.tt);
    return both < 1e-12f ? 0.0f : both;
}

/* e of one cell, by its warp. */
template <int MODE, int V> __device__ static inline float cell_error(const float *s, const float *t, int channels)
{
    if (MODE == DRAM_EMBED_COSINE) {
        const products p = multiply<V>(s, t, channels);
        const float both = lengths(p);
        return both == 0 ? 1.0f : 1.0f - p.st / both;
    }
    float sum = 0;
    for (int c = (int)threadIdx.x % DRAM_WARP * V; c < channels; c += DRAM_WARP * V) {
        const dram_pack<float, V> a = dram_load<float, V>(s + c), b = dram_load<float, V>(t + c);
        for (int k = 0; k < V; k++) {
            const float d = fabsf(a.at[k] - b.at[k]);
            if (MODE == DRAM_EMBED_MSE)
                sum = fmaf(d, d, sum);
            else
                sum += d < 1.0f ? 0.5f * d * d : d - 0.5f;
        }
    }
    return dram_warp_sum(sum) / (float)channels;
}

/* blockIdx: part, image. */
template <int MODE, int V> __global__ static void loss_kernel(job j, dram_embed_sum *part)
{
    DRAM_SHARED(dram_embed_sum, of_warp, [WARPS]);
    const int warp = (int)threadIdx.x / DRAM_WARP;
    const int64_t first = blockIdx.y * j.cells;
    dram_embed_sum sum = {0, 0};
    for (int64_t i = (int64_t)blockIdx.x * WARPS + warp; i < j.cells; i += (int64_t)gridDim.x * WARPS) {
        const float mask = j.mask[first + i];
        const int64_t at = (first + i) * j.channels;
        if (mask == 0) continue;
        sum.error += (double)(mask * cell_error<MODE, V>(j.s + at, j.t + at, j.channels));
        sum.mask += (double)mask;
    }
    if (threadIdx.x % DRAM_WARP == 0) of_warp[warp] = sum;
    __syncthreads();
    if (threadIdx.x != 0) return;
    for (int w = 1; w < WARPS; w++) {
        sum.error += of_warp[w].error;
        sum.mask += of_warp[w].mask;
    }
    part[(int64_t)blockIdx.y * gridDim.x + blockIdx.x] = sum;
}

/* The mean over images, by one block: a warp takes every so manyth image. */
__global__ static void loss_total(const dram_embed_sum *part, int parts, int images, float *out)
{
    DRAM_SHARED(double, of_warp, [WARPS]);
    const int warp = (int)threadIdx.x / DRAM_WARP, warps = (int)blockDim.x / DRAM_WARP;
    double loss = 0;
    for (int n = warp; n < images; n += warps) {
        dram_embed_sum sum = {0, 0};
        for (int i = (int)threadIdx.x % DRAM_WARP; i < parts; i += DRAM_WARP) {
            sum.error += part[(int64_t)n * parts + i].error;
            sum.mask += part[(int64_t)n * parts + i].mask;
        }
        sum.error = dram_warp_sum(sum.error);
        sum.mask = dram_warp_sum(sum.mask);
        if (sum.mask != 0) loss += sum.error / sum.mask;
    }
    if (threadIdx.x % DRAM_WARP == 0) of_warp[warp] = loss;
    __syncthreads();
    if (threadIdx.x != 0) return;
    for (int w = 1; w < warps; w++) loss += of_warp[w];
    *out = (float)(loss / (double)images);
}

template <int MODE> static dram_status run_loss(const dram_kernel_args *args, const job &j, int parts)
{
    const dim3 grid((unsigned)parts, (unsigned)j.images);
    dram_embed_sum *part = (dram_embed_sum *)args->workspace;
    if (by_fours(j)) return dram_launch(args, loss_kernel<MODE, 4>, grid, BLOCK, 0, j, part);
    return dram_launch(args, loss_kernel<MODE, 1>, grid, BLOCK, 0, j, part);
}

DRAM_CUDA_KERNEL(embed_loss)
{
    const job j = job_of(args);
    const int parts = (int)(args->workspace_bytes / (j.images * (int64_t)sizeof(dram_embed_sum)));
    const int mode = args->attr->mode, warps = j.images < WARPS ? j.images : WARPS;
    TRY(mode == DRAM_EMBED_MSE      ? run_loss<DRAM_EMBED_MSE>(args, j, parts)
        : mode == DRAM_EMBED_COSINE ? run_loss<DRAM_EMBED_COSINE>(args, j, parts)
                                    : run_loss<DRAM_EMBED_HUBER>(args, j, parts));
    return dram_launch(args, loss_total, 1, (unsigned)(warps * DRAM_WARP), 0, (const dram_embed_sum *)args->workspace,
                       parts, j.images, j.out);
}

/* ---- gradient ---- */

/* dloss / (sum of the mask x images) of each image, a block's; 0 where no cell is valid. */
__global__ static void scale_kernel(const float *mask, int64_t cells, const float *dloss, float *scale)
{
    double sum = 0;
    for (int64_t i = threadIdx.x; i < cells; i += BLOCK) sum += (double)mask[blockIdx.x * cells + i];
    sum = dram_block_sum<BLOCK>(sum);
    if (threadIdx.x == 0) scale[blockIdx.x] = sum == 0 ? 0.0f : (float)((double)*dloss / (sum * (double)gridDim.x));
}

/* out = factor de/ds (+ acc) of one cell, by its warp; 0 (+ acc) where the cell is not valid. */
template <int MODE, int V>
__device__ static inline void cell_gradient(const job &j, int64_t at, float factor, bool valid)
{
    float of_s = factor / (float)j.channels, of_t = 0;
    if (MODE == DRAM_EMBED_MSE) of_s *= 2.0f;
    if (MODE == DRAM_EMBED_COSINE && valid) {
        const products p = multiply<V>(j.s + at, j.t + at, j.channels);
        const float both = lengths(p);
        of_t = both == 0 ? 0.0f : -factor / both;
        of_s = both == 0 ? 0.0f : -of_t * (p.st / p.ss);
    }
    for (int c = (int)threadIdx.x % DRAM_WARP * V; c < j.channels; c += DRAM_WARP * V) {
        dram_pack<float, V> out = dram_pack<float, V>();
        if (j.acc) out = dram_load<float, V>(j.acc + at + c);
        if (valid) {
            const dram_pack<float, V> s = dram_load<float, V>(j.s + at + c), t = dram_load<float, V>(j.t + at + c);
            for (int k = 0; k < V; k++) {
                float d = s.at[k] - t.at[k];
                if (MODE == DRAM_EMBED_COSINE)
                    d = fmaf(of_t, t.at[k], of_s * s.at[k]);
                else if (MODE == DRAM_EMBED_HUBER)
                    d = of_s * (d > 1.0f ? 1.0f : d < -1.0f ? -1.0f : d); /* NaN stays */
                else
                    d *= of_s;
                out.at[k] += d;
            }
        }
        dram_store<float, V>(j.out + at + c, out);
    }
}

/* blockIdx: some cells, image. */
template <int MODE, int V> __global__ static void gradient_kernel(job j, const float *scale)
{
    const int64_t first = blockIdx.y * j.cells, step = (int64_t)gridDim.x * WARPS;
    const float of_image = scale[blockIdx.y];
    for (int64_t i = (int64_t)blockIdx.x * WARPS + threadIdx.x / DRAM_WARP; i < j.cells; i += step) {
        const float mask = j.mask[first + i];
        if (mask == 0 && j.acc == j.out) continue;
        cell_gradient<MODE, V>(j, (first + i) * j.channels, of_image * mask, mask != 0);
    }
}

template <int MODE> static dram_status run_gradient(const dram_kernel_args *args, const job &j)
{
    const dim3 grid(dram_grid(args, j.cells, WARPS), (unsigned)j.images);
    const float *scale = (const float *)args->workspace;
    if (by_fours(j)) return dram_launch(args, gradient_kernel<MODE, 4>, grid, BLOCK, 0, j, scale);
    return dram_launch(args, gradient_kernel<MODE, 1>, grid, BLOCK, 0, j, scale);
}

DRAM_CUDA_KERNEL(embed_loss_grad)
{
    const job j = job_of(args);
    const int mode = args->attr->mode;
    TRY(dram_launch(args, scale_kernel, (unsigned)j.images, BLOCK, 0, j.mask, j.cells, (const float *)args->in[3].data,
                    (float *)args->workspace));
    return mode == DRAM_EMBED_MSE      ? run_gradient<DRAM_EMBED_MSE>(args, j)
           : mode == DRAM_EMBED_COSINE ? run_gradient<DRAM_EMBED_COSINE>(args, j)
                                       : run_gradient<DRAM_EMBED_HUBER>(args, j);
}
