/* layernorm and its gradient, over the last dimension: [R,C] whatever the shape before it.
 *
 * Both are bound by memory, x passes once: 8 bytes an element of f32 forward, 12 to 16 backward, half of that in bf16
 * and f16, at about 8 and 17 FLOPs. A warp takes a row and keeps it in registers as it is stored, up to SHORT channels
 * in whole vectors; other rows are read again, by a block, for each of the passes. The variance is taken around the
 * mean.
 *
 * dgamma and dbeta: each block adds its rows, some in registers, others in its part of the workspace, [parts,2,C] of
 * fp32; a second kernel adds the parts in fp64. The number of parts depends on shapes alone.
 */
#include "kernels/cuda/columns.cuh"
extern "C" {
#include "scratch/layernorm.h"
}

enum {
    STEP = 256,   /* channels more for each 8 numbers of a lane */
    SHORT = 1280, /* channels of a row in registers at most: 40 numbers of a lane */
    FORWARD_WARPS = 4,
    GRAD_WARPS = 8
};

typedef struct {
    int64_t rows;
    int c;
    float eps;
} matrix;

static matrix matrix_of(const dram_kernel_args *args)
{
    matrix m;
    m.c = (int)dram_last(&args->in[0].shape, 0);
    m.rows = dram_elements(&args->in[0].shape) / m.c;
    m.eps = args->attr->eps;
    return m;
}

/* ---- rows in registers ---- */

/* A lane's share of a row: vector lane + 32 p of it in place p. Beyond the row there are zeros. */
template <typename T, int P> struct row_part {
    enum { V = dram_vector<T> };
    dram_pack<T, V> at[P];

    __device__ static int vector(int p)
    {
        return (int)threadIdx.x % DRAM_WARP + p * DRAM_WARP;
    }

    __device__ void load(const T *row, int vectors)
    {
        for (int p = 0; p < P; p++) {
            at[p] = dram_pack<T, V>();
            if (vector(p) < vectors) at[p] = dram_load<T, V>(row + vector(p) * V);
        }
    }

    __device__ float number(int p, int k) const
    {
        return dram_float(at[p].at[k]);
    }

    __device__ void moments(int vectors, float eps, float *mean, float *rstd) const
    {
        float sum = 0, squares = 0;
        for (int p = 0; p < P; p++)
            for (int k = 0; k < V; k++) sum += number(p, k);
        const float c = (float)(vectors * V), m = dram_warp_sum(sum) / c;
        for (int p = 0; p < P; p++)
            for (int k = 0; k < V && vector(p) < vectors; k++) {
                float d = number(p, k) - m;
                squares = fmaf(d, d, squares);
            }
        *mean = m;
        *rstd = 1.0f / sqrtf(dram_warp_sum(squares) / c + eps);
    }
};

template <typename T, int P>
__global__ static void forward_kernel(const T *x, const float *gamma, const float *beta, T *out, matrix m)
{
    enum { V = dram_vector<T> };
    const int vectors = m.c / V;
    int64_t r = (int64_t)blockIdx.x * FORWARD_WARPS + threadIdx.x / DRAM_WARP;
    for (; r < m.rows; r += (int64_t)gridDim.x * FORWARD_WARPS) {
        row_part<T, P> row;
        float mean, rstd, g[V], b[V];
        row.load(x + r * m.c, vectors);
        row.moments(vectors, m.eps, &mean, &rstd);
        for (int p = 0; p < P; p++) {
            const int at = row.vector(p) * V;
            if (at >= m.c) break;
            dram_channels_load(g, gamma, at);
            dram_channels_load(b, beta, at);
            dram_pack<T, V> y;
            for (int k = 0; k < V; k++) y.at[k] = dram_to<T>(fmaf((row.number(p, k) - mean) * rstd, g[k], b[k]));
            dram_store<T, V>(out + r * m.c + at, y);
        }
    }
}

/* The warps' sums, one warp after the other, into the block's part. */
template <typename T, int P>
__device__ static inline void add_warps(const float (&dgamma)[P][dram_vector<T>],
                                        const float (&dbeta)[P][dram_vector<T>], float *part, const matrix &m)
{
    enum { V = dram_vector<T> };
    DRAM_SHARED(float, tile, [2][P * V][DRAM_WARP]);
    const int warp = (int)threadIdx.x / DRAM_WARP, lane = (int)threadIdx.x % DRAM_WARP;
    for (int turn = 0; turn < GRAD_WARPS; turn++) {
        __syncthreads();
        if (warp != turn) continue;
        for (int p = 0; p < P; p++)
            for (int k = 0; k < V; k++) {
                const int at = p * V + k;
                float g = dgamma[p][k], b = dbeta[p][k];
                if (turn > 0) {
                    g += tile[0][at][lane];
                    b += tile[1][at][lane];
                }
                const int channel = row_part<T, P>::vector(p) * V + k;
                if (turn < GRAD_WARPS - 1) {
                    tile[0][at][lane] = g;
                    tile[1][at][lane] = b;
                } else if (channel < m.c) {
                    part[channel] = g;
                    part[m.c + channel] = b;
                }
            }
    }
}

/* With z = (x - mean) rstd and e = dy gamma: dx = rstd (e - mean(e) - z mean(e z)), dgamma += dy z, dbeta += dy. */
template <typename T, int P>
__global__ static void grad_kernel(const T *x, const float *gamma, const T *dy, const T *acc, T *out, float *part,
                                   matrix m)
{
    enum { V = dram_vector<T> };
    const int vectors = m.c / V;
    float dgamma[P][V], dbeta[P][V], g[V];
    for (int p = 0; p < P; p++)
        for (int k = 0; k < V; k++) dgamma[p][k] = dbeta[p][k] = 0;
    int64_t r = (int64_t)blockIdx.x * GRAD_WARPS + threadIdx.x / DRAM_WARP;
    for (; r < m.rows; r += (int64_t)gridDim.x * GRAD_WARPS) {
        row_part<T, P> row, drow;
        float mean, rstd, e_sum = 0, ez_sum = 0;
        row.load(x + r * m.c, vectors);
        drow.load(dy + r * m.c, vectors);
        row.moments(vectors, m.eps, &mean, &rstd);
        for (int p = 0; p < P; p++) {
            if (row.vector(p) >= vectors) break;
            dram_channels_load(g, gamma, row.vector(p) * V);
            for (int k = 0; k < V; k++) {
                float z = (row.number(p, k) - mean) * rstd, d = drow.number(p, k), e = d * g[k];
                e_sum += e;
                ez_sum = fmaf(e, z, ez_sum);
                dgamma[p][k] = fmaf(d, z, dgamma[p][k]);
                dbeta[p][k] += d;
            }
        }
        e_sum = dram_warp_sum(e_sum) / (float)m.c;
        ez_sum = dram_warp_sum(ez_sum) / (float)m.c;
        for (int p = 0; p < P; p++) {
            const int at = row.vector(p) * V;
            if (at >= m.c) break;
            dram_pack<T, V> dx = dram_pack<T, V>();
            if (acc) dx = dram_load<T, V>(acc + r * m.c + at);
            dram_channels_load(g, gamma, at);
            for (int k = 0; k < V; k++) {
                float z = (row.number(p, k) - mean) * rstd, e = drow.number(p, k) * g[k];
                float d = rstd * (e - e_sum - z * ez_sum);
                dx.at[k] = dram_to<T>(acc ? dram_float(dx.at[k]) + d : d);
            }
            dram_store<T, V>(out + r * m.c + at, dx);
        }
    }
    add_warps<T, P>(dgamma, dbeta, part + (int64_t)blockIdx.x * 2 * m.c, m);
}

/* ---- rows of any length ---- */

template <int BLOCK, typename T>
__device__ static inline void moments_of(const T *x, int c, float eps, float *mean, float *rstd)
{
    float sum = 0, squares = 0;
    for (int i = (int)threadIdx.x; i < c; i += BLOCK) sum += dram_float(x[i]);
    const float m = dram_block_sum<BLOCK>(sum) / (float)c;
    for (int i = (int)threadIdx.x; i < c; i += BLOCK) {
        float d = dram_float(x[i]) - m;
        squares = fmaf(d, d, squares);
    }
    *mean = m;
    *rstd = 1.0f / sqrtf(dram_block_sum<BLOCK>(squares) / (float)c + eps);
}

template <typename T, int BLOCK>
__global__ static void any_forward_kernel(const T *x, const float *gamma, const float *beta, T *out, matrix m)
{
    for (int64_t r = blockIdx.x; r < m.rows; r += gridDim.x) {
        const T *row = x + r * m.c;
        float mean, rstd;
        moments_of<BLOCK>(row, m.c, m.eps, &mean, &rstd);
        for (int i = (int)threadIdx.x; i < m.c; i += BLOCK)
            out[r * m.c + i] = dram_to<T>(fmaf((dram_float(row[i]) - mean) * rstd, gamma[i], beta[i]));
    }
}

/* A thread comes to the same channels of each row, so it adds to its block's part in memory. */
template <typename T, int BLOCK>
__global__ static void any_grad_kernel(const T *x, const float *gamma, const T *dy, const T *acc, T *out, float *part,
                                       matrix m)
{
    float *dgamma = part + (int64_t)blockIdx.x * 2 * m.c, *dbeta = dgamma + m.c;
    for (int i = (int)threadIdx.x; i < m.c; i += BLOCK) dgamma[i] = dbeta[i] = 0;
    for (int64_t r = blockIdx.x; r < m.rows; r += gridDim.x) {
        const T *row = x + r * m.c, *drow = dy + r * m.c;
        float mean, rstd, e_sum = 0, ez_sum = 0;
        moments_of<BLOCK>(row, m.c, m.eps, &mean, &rstd);
        for (int i = (int)threadIdx.x; i < m.c; i += BLOCK) {
            float z = (dram_float(row[i]) - mean) * rstd, d = dram_float(drow[i]), e = d * gamma[i];
            e_sum += e;
            ez_sum = fmaf(e, z, ez_sum);
            dgamma[i] = fmaf(d, z, dgamma[i]);
            dbeta[i] += d;
        }
        e_sum = dram_block_sum<BLOCK>(e_sum) / (float)m.c;
        ez_sum = dram_block_sum<BLOCK>(ez_sum) / (float)m.c;
        for (int i = (int)threadIdx.x; i < m.c; i += BLOCK) {
            float z = (dram_float(row[i]) - mean) * rstd, e = dram_float(drow[i]) * gamma[i];
            float d = rstd * (e - e_sum - z * ez_sum);
            out[r * m.c + i] = dram_to<T>(acc ? dram_float(acc[r * m.c + i]) + d : d);
        }
    }
}

/* ---- which of them ---- */

template <typename T, int NUMBERS>
static dram_status forward_in_registers(const dram_kernel_args *args, const matrix &m)
{
    return dram_launch(args, forward_kernel<T, NUMBERS / dram_vector<T>>, dram_grid(args, m.rows, FORWARD_WARPS),
                       FORWARD_WARPS * DRAM_WARP, 0, (const T *)args->in[0].data, (const float *)args->in[1].data,
                       (const float *)args->in[2].data, (T *)args->out[0].data, m);
}

template <typename T, int BLOCK> static dram_status forward_any(const dram_kernel_args *args, const matrix &m)
{
    return dram_launch(args, any_forward_kernel<T, BLOCK>, dram_grid(args, m.rows, 1), BLOCK, 0,
                       (const T *)args->in[0].data, (const float *)args->in[1].data, (const float *)args->in[2].data,
                       (T *)args->out[0].data, m);
}

template <typename T> static dram_status forward(const dram_kernel_args *args)
{
    const matrix m = matrix_of(args);
    if (dram_columns_whole<T>(args) && m.c <= SHORT) switch ((m.c + STEP - 1) / STEP) {
        case 1:
            return forward_in_registers<T, 8>(args, m);
        case 2:
            return forward_in_registers<T, 16>(args, m);
        case 3:
            return forward_in_registers<T, 24>(args, m);
        case 4:
            return forward_in_registers<T, 32>(args, m);
        default:
            return forward_in_registers<T, 40>(args, m);
        }
    return m.c <= STEP ? forward_any<T, DRAM_WARP>(args, m) : forward_any<T, 256>(args, m);
}

DRAM_CUDA_KERNEL(layernorm)
{
    DRAM_FLOAT_TYPES(args->in[0].dtype, T, return forward<T>(args));
}

static unsigned parts_of(const dram_kernel_args *args, const matrix &m)
{
    return (unsigned)(args->workspace_bytes / dram_layernorm_part_bytes(m.c));
}

template <typename T>
static dram_status launch_grad(const dram_kernel_args *args, const matrix &m, int threads,
                               void (*kernel)(const T *, const float *, const T *, const T *, T *, float *, matrix))
{
    return dram_launch(args, kernel, parts_of(args, m), (unsigned)threads, 0, (const T *)args->in[0].data,
                       (const float *)args->in[1].data, (const T *)args->in[2].data, (const T *)args->in[3].data,
                       (T *)args->out[0].data, (float *)args->workspace, m);
}

template <typename T, int NUMBERS> static dram_status grad_in_registers(const dram_kernel_args *args, const matrix &m)
{
    return launch_grad<T>(args, m, GRAD_WARPS * DRAM_WARP, grad_kernel<T, NUMBERS / dram_vector<T>>);
}

template <typename T> static dram_status grad(const dram_kernel_args *args, const matrix &m)
{
    if (dram_columns_whole<T>(args) && m.c <= SHORT) switch ((m.c + STEP - 1) / STEP) {
        case 1:
            return grad_in_registers<T, 8>(args, m);
        case 2:
            return grad_in_registers<T, 16>(args, m);
        case 3:
            return grad_in_registers<T, 24>(args, m);
        case 4:
            return grad_in_registers<T, 32>(args, m);
        default:
            return grad_in_registers<T, 40>(args, m);
        }
    return m.c <= STEP ? launch_grad<T>(args, m, DRAM_WARP, any_grad_kernel<T, DRAM_WARP>)
                       : launch_grad<T>(args, m, 256, any_grad_kernel<T, 256>);
}

/* Sums of the parts: columns 0 .. C of them are dgamma, the others dbeta. */
__global__ static void total_kernel(const float *part, int64_t parts, int64_t c, float *dgamma, float *dbeta)
{
    const int64_t at = dram_total_column(2 * c);
    const double sum = dram_parts_total(part, parts, 2 * c, at);
    if (at < 0 || threadIdx.x >= DRAM_TOTAL_COLUMNS) return;
    if (at < c)
        dgamma[at] = (float)sum;
    else
        dbeta[at - c] = (float)sum;
}

static dram_status grad_of_x(const dram_kernel_args *args, const matrix &m)
{
    DRAM_FLOAT_TYPES(args->in[0].dtype, T, return grad<T>(args, m));
}

DRAM_CUDA_KERNEL(layernorm_grad)
{
    const matrix m = matrix_of(args);
    TRY(grad_of_x(args, m));
    return dram_launch(args, total_kernel, (unsigned)dram_ceil_div(2 * m.c, DRAM_TOTAL_COLUMNS),
                       DRAM_TOTAL_COLUMNS * DRAM_TOTAL_SLICES, 0, (const float *)args->workspace,
                       (int64_t)parts_of(args, m), (int64_t)m.c, (float *)args->out[1].data,
                       (float *)args->out[2].data);
}
