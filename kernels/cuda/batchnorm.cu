/* bn_stats, bn_running, bn_apply, bn_reduce, bn_dgrad over x [R,C], R = all dimensions but the channels.
 *
 * All are bound by memory, x passes once: bytes an element of f32 4 (stats), 8 to 12 (apply), 8 (reduce), 12 (dgrad),
 * half of that in bf16 and f16, at 3 to 8 FLOPs. The activation's mask is the sign of `normal` in the forward and,
 * recomputed from the same numbers by the same function, in the backward.
 *
 * Sums over rows: a thread adds PIECE rows in fp32, then that piece to a sum in fp64, which is rare enough not to be
 * felt where fp64 is slow.
 */
#include "kernels/cuda/columns.cuh"
extern "C" {
#include "scratch/batchnorm.h"
}

enum {
    PIECE = 32,    /* rows of fp32 sums */
    AT_ONCE = 4,   /* rows whose loads a thread has under way */
    ROWS_EACH = 16 /* rows of a thread of an element-wise kernel, where there are so many */
};

typedef struct {
    const float *mean, *var, *gamma, *beta; /* [C] */
    float eps;
    bool relu;
} params;

__device__ static inline float normal(float x, float mean, float factor, float beta)
{
    return fmaf(x - mean, factor, beta);
}

__device__ static inline float reciprocal_deviation(float var, float eps)
{
    return 1.0f / sqrtf(var + eps);
}

/* What a thread keeps of its channels. */
template <int V> struct channels_of {
    float mean[V], factor[V], beta[V];

    __device__ void load(const params &n, int64_t channel)
    {
        float var[V];
        dram_channels_load(mean, n.mean, channel);
        dram_channels_load(var, n.var, channel);
        dram_channels_load(factor, n.gamma, channel);
        dram_channels_load(beta, n.beta, channel);
        for (int k = 0; k < V; k++) factor[k] *= reciprocal_deviation(var[k], n.eps);
    }
};

/* dy where the activation let y through. */
template <int V> __device__ static inline float masked(const channels_of<V> &c, int k, float x, float dy, bool relu)
{
    return relu && !(normal(x, c.mean[k], c.factor[k], c.beta[k]) > 0.0f) ? 0.0f : dy;
}

static params params_of(const dram_kernel_args *args)
{
    params n;
    n.mean = (const float *)args->in[1].data;
    n.var = (const float *)args->in[2].data;
    n.gamma = (const float *)args->in[3].data;
    n.beta = (const float *)args->in[4].data;
    n.eps = args->attr->eps;
    n.relu = args->attr->act == DRAM_ACT_RELU;
    return n;
}

static dram_columns columns_of(const dram_kernel_args *args, int v)
{
    const dram_shape *x = &args->in[0].shape;
    int64_t channels = dram_last(x, 0);
    return dram_columns_of(dram_elements(x) / channels, channels, v);
}

/* ---- sums over rows ---- */

/* Sums of x and of x^2. Those of a piece are taken around its first row, so that neither a mean far from zero nor one
 * outlier costs digits. */
template <typename T, int VECTOR> struct stats_sums {
    enum { V = VECTOR };
    const T *x;
    float from[V], sum[V], square[V];

    __device__ void begin(int64_t)
    {
    }

    __device__ void add(const dram_pack<T, V> &row)
    {
        for (int k = 0; k < V; k++) {
            float d = dram_float(row.at[k]) - from[k];
            sum[k] += d;
            square[k] = fmaf(d, d, square[k]);
        }
    }

    /* n rows from element `at` on, `step` apart. */
    __device__ void piece(int64_t at, int64_t step, int n, double (&a)[V], double (&b)[V])
    {
        const T *place = x + at;
        dram_pack<T, V> row[AT_ONCE];
        int i = 0;
        row[0] = dram_load<T, V>(place);
        for (int k = 0; k < V; k++) {
            from[k] = dram_float(row[0].at[k]);
            sum[k] = square[k] = 0;
        }
        for (; i + AT_ONCE <= n; i += AT_ONCE) {
            for (int u = 0; u < AT_ONCE; u++, place += step) row[u] = dram_load<T, V>(place);
            for (int u = 0; u < AT_ONCE; u++) add(row[u]);
        }
        for (; i < n; i++, place += step) add(dram_load<T, V>(place));
        for (int k = 0; k < V; k++) {
            double f = (double)from[k], s = (double)sum[k];
            a[k] += n * f + s;
            b[k] += f * (n * f + 2 * s) + (double)square[k];
        }
    }
};

/* Sums of g and of g (x - mean), g = dy where the activation let y through. */
template <typename T, int VECTOR> struct reduce_sums {
    enum { V = VECTOR };
    const T *x, *dy;
    params n;
    channels_of<V> c;
    float sum[V], dot[V];

    __device__ void begin(int64_t channel)
    {
        c.load(n, channel);
    }

    __device__ void add(const dram_pack<T, V> &x_row, const dram_pack<T, V> &dy_row)
    {
        for (int k = 0; k < V; k++) {
            float xk = dram_float(x_row.at[k]), g = masked(c, k, xk, dram_float(dy_row.at[k]), n.relu);
            sum[k] += g;
            dot[k] = fmaf(g, xk - c.mean[k], dot[k]);
        }
    }

    __device__ void piece(int64_t at, int64_t step, int rows, double (&a)[V], double (&b)[V])
    {
        enum { BOTH = AT_ONCE / 2 };
        dram_pack<T, V> x_row[BOTH], dy_row[BOTH];
        int i = 0;
        for (int k = 0; k < V; k++) sum[k] = dot[k] = 0;
        for (; i + BOTH <= rows; i += BOTH) {
            for (int u = 0; u < BOTH; u++, at += step) {
                x_row[u] = dram_load<T, V>(x + at);
                dy_row[u] = dram_load<T, V>(dy + at);
            }
            for (int u = 0; u < BOTH; u++) add(x_row[u], dy_row[u]);
        }
        for (; i < rows; i++, at += step) add(dram_load<T, V>(x + at), dram_load<T, V>(dy + at));
        for (int k = 0; k < V; k++) {
            a[k] += (double)sum[k];
            b[k] += (double)dot[k];
        }
    }
};

/* Both sums of a block's rows into its part of [parts,2,C]. */
template <typename SUMS>
__global__ static void sums_kernel(SUMS sums, dram_columns of, int64_t rows_a_part, double *part)
{
    enum { V = SUMS::V };
    const dram_column here = dram_column_here(of, V);
    const int64_t from = blockIdx.x * rows_a_part, end = from + rows_a_part < of.rows ? from + rows_a_part : of.rows;
    double a[V], b[V];
    for (int k = 0; k < V; k++) a[k] = b[k] = 0;
    if (here.in) {
        sums.begin(here.channel);
        for (int64_t r = from + here.y; r < end; r += PIECE * of.high) {
            int64_t left = (end - r + of.high - 1) / of.high;
            sums.piece(r * of.channels + here.channel, of.high * of.channels, left < PIECE ? (int)left : (int)PIECE, a,
                       b);
        }
    }
    dram_column_sum<V>(of, here.y, a);
    dram_column_sum<V>(of, here.y, b);
    if (!here.in || here.y != 0) return;
    part += (int64_t)blockIdx.x * 2 * of.channels + here.channel;
    for (int k = 0; k < V; k++) {
        part[k] = a[k];
        part[of.channels + k] = b[k];
    }
}

static int64_t parts_of(const dram_kernel_args *args, int64_t channels)
{
    return args->workspace_bytes / dram_batchnorm_part_bytes(channels);
}

template <typename SUMS> static dram_status run_sums(const dram_kernel_args *args, const SUMS &sums)
{
    const dram_columns of = columns_of(args, SUMS::V);
    const int64_t parts = parts_of(args, of.channels);
    return dram_launch(args, sums_kernel<SUMS>, dim3((unsigned)parts, (unsigned)of.chunks),
                       (unsigned)(of.wide * of.high), 0, sums, of, dram_ceil_div(of.rows, parts),
                       (double *)args->workspace);
}

static dram_status run_totals(const dram_kernel_args *args,
                              void (*kernel)(const double *, int64_t, int64_t, params, float *, float *, double),
                              const params &n)
{
    const int64_t channels = dram_last(&args->in[0].shape, 0), rows = dram_elements(&args->in[0].shape) / channels;
    return dram_launch(args, kernel, (unsigned)dram_ceil_div(channels, DRAM_TOTAL_COLUMNS),
                       DRAM_TOTAL_COLUMNS * DRAM_TOTAL_SLICES, 0, (const double *)args->workspace,
                       parts_of(args, channels), channels, n, (float *)args->out[0].data, (float *)args->out[1].data,
                       (double)rows);
}

/* ---- bn_stats ---- */

__global__ static void stats_total(const double *part, int64_t parts, int64_t channels, params, float *mean, float *var,
                                   double rows)
{
    const int64_t c = dram_total_column(channels);
    const double sum = dram_parts_total(part, parts, 2 * channels, c);
    const double square = dram_parts_total(part + channels, parts, 2 * channels, c);
    if (c < 0 || threadIdx.x >= DRAM_TOTAL_COLUMNS) return;
    double m = sum / rows, v = square / rows - m * m;
    mean[c] = (float)m;
    var[c] = v < 0 ? 0.0f : (float)v; /* NaN stays */
}

template <typename T, int V> static dram_status run_stats(const dram_kernel_args *args)
{
    stats_sums<T, V> sums = {};
    sums.x = (const T *)args->in[0].data;
    TRY(run_sums(args, sums));
    return run_totals(args, stats_total, params());
}

DRAM_CUDA_KERNEL(bn_stats)
{
    DRAM_FLOAT_TYPES(args->in[0].dtype, T,
                     return dram_columns_whole<T>(args) ? run_stats<T, dram_vector<T>>(args) : run_stats<T, 1>(args));
}

/* ---- bn_running ---- */

/* A batch that is not finite, of activations too large for f16 say, leaves what is there as it is. */
__global__ static void running_kernel(const float *mean, const float *var, const float *old_mean, const float *old_var,
                                      float *new_mean, float *new_var, float take, float unbiased, int64_t channels)
{
    const int64_t c = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (c >= channels) return;
    const float keep = 1.0f - take, m = mean[c], v = var[c];
    const bool finite = isfinite(m) && isfinite(v);
    new_mean[c] = finite ? keep * old_mean[c] + take * m : old_mean[c];
    new_var[c] = finite ? keep * old_var[c] + take * (v * unbiased) : old_var[c];
}

DRAM_CUDA_KERNEL(bn_running)
{
    enum { BLOCK = 128 };
    const int64_t channels = args->in[0].shape.dim[0];
    return dram_launch(args, running_kernel, (unsigned)dram_ceil_div(channels, BLOCK), BLOCK, 0,
                       (const float *)args->in[0].data, (const float *)args->in[1].data,
                       (const float *)args->in[2].data, (const float *)args->in[3].data, (float *)args->out[0].data,
                       (float *)args->out[1].data, args->attr->momentum, args->attr->scale, channels);
}

/* ---- bn_apply ---- */

template <typename T, int V>
__device__ static inline dram_pack<T, V> applied(const channels_of<V> &c, const dram_pack<T, V> &x,
                                                 const dram_pack<T, V> &residual, bool add, float low)
{
    dram_pack<T, V> out;
    for (int k = 0; k < V; k++) {
        float y = normal(dram_float(x.at[k]), c.mean[k], c.factor[k], c.beta[k]);
        if (add) y += dram_float(residual.at[k]);
        out.at[k] = dram_to<T>(y < low ? low : y); /* NaN stays */
    }
    return out;
}

template <typename T, int V>
__global__ static void apply_kernel(const T *x, const T *residual, T *out, params n, dram_columns of)
{
    enum { BOTH = AT_ONCE / 2 };
    const dram_column here = dram_column_here(of, V);
    const int64_t rows = (int64_t)gridDim.x * of.high, step = rows * of.channels;
    const float low = n.relu ? 0.0f : -INFINITY;
    const bool add = residual != NULL;
    channels_of<V> c;
    dram_pack<T, V> x_row[BOTH], more[BOTH] = {};
    if (!here.in) return;
    c.load(n, here.channel);
    int64_t r = (int64_t)blockIdx.x * of.high + here.y, at = r * of.channels + here.channel;
    for (; r + (BOTH - 1) * rows < of.rows; r += BOTH * rows, at += BOTH * step) {
        for (int u = 0; u < BOTH; u++) {
            x_row[u] = dram_load<T, V>(x + at + u * step);
            if (add) more[u] = dram_load<T, V>(residual + at + u * step);
        }
        for (int u = 0; u < BOTH; u++)
            dram_store<T, V>(out + at + u * step, applied<T, V>(c, x_row[u], more[u], add, low));
    }
    for (; r < of.rows; r += rows, at += step) {
        x_row[0] = dram_load<T, V>(x + at);
        if (add) more[0] = dram_load<T, V>(residual + at);
        dram_store<T, V>(out + at, applied<T, V>(c, x_row[0], more[0], add, low));
    }
}

/* Blocks of an element-wise kernel: ROWS_EACH rows a thread. */
static dim3 rows_grid(const dram_kernel_args *args, const dram_columns &of)
{
    return dim3(dram_grid(args, of.rows, of.high * ROWS_EACH), (unsigned)of.chunks);
}

template <typename T, int V> static dram_status run_apply(const dram_kernel_args *args)
{
    const dram_columns of = columns_of(args, V);
    return dram_launch(args, apply_kernel<T, V>, rows_grid(args, of), (unsigned)(of.wide * of.high), 0,
                       (const T *)args->in[0].data, (const T *)args->in[5].data, (T *)args->out[0].data,
                       params_of(args), of);
}

DRAM_CUDA_KERNEL(bn_apply)
{
    DRAM_FLOAT_TYPES(args->in[0].dtype, T,
                     return dram_columns_whole<T>(args) ? run_apply<T, dram_vector<T>>(args) : run_apply<T, 1>(args));
}

/* ---- bn_reduce ---- */

__global__ static void reduce_total(const double *part, int64_t parts, int64_t channels, params n, float *dgamma,
                                    float *dbeta, double)
{
    const int64_t c = dram_total_column(channels);
    const double sum = dram_parts_total(part, parts, 2 * channels, c);
    const double dot = dram_parts_total(part + channels, parts, 2 * channels, c);
    if (c < 0 || threadIdx.x >= DRAM_TOTAL_COLUMNS) return;
    dbeta[c] = (float)sum;
    dgamma[c] = (float)(dot * (double)reciprocal_deviation(n.var[c], n.eps));
}

template <typename T, int V> static dram_status run_reduce(const dram_kernel_args *args)
{
    reduce_sums<T, V> sums = {};
    sums.x = (const T *)args->in[0].data;
    sums.dy = (const T *)args->in[5].data;
    sums.n = params_of(args);
    TRY(run_sums(args, sums));
    return run_totals(args, reduce_total, sums.n);
}

DRAM_CUDA_KERNEL(bn_reduce)
{
    DRAM_FLOAT_TYPES(args->in[0].dtype, T,
                     return dram_columns_whole<T>(args) ? run_reduce<T, dram_vector<T>>(args) : run_reduce<T, 1>(args));
}

/* ---- bn_dgrad ---- */

/* dx = factor (g - k0 - (x - mean) k1), k0 = dbeta / R, k1 = dgamma / sqrt(var + eps) / R; both 0 with fixed
 * statistics (dgamma NULL). */
template <int V> struct taken_away {
    float k0[V], k1[V];

    __device__ void load(const params &n, const float *dgamma, const float *dbeta, float rows, int64_t channel)
    {
        float var[V];
        for (int k = 0; k < V; k++) k0[k] = k1[k] = 0;
        if (!dgamma) return;
        dram_channels_load(var, n.var, channel);
        dram_channels_load(k0, dbeta, channel);
        dram_channels_load(k1, dgamma, channel);
        for (int k = 0; k < V; k++) {
            k0[k] /= rows;
            k1[k] = k1[k] * reciprocal_deviation(var[k], n.eps) / rows;
        }
    }
};

template <typename T, int V>
__device__ static inline dram_pack<T, V> gradient(const channels_of<V> &c, const taken_away<V> &away,
                                                  const dram_pack<T, V> &x, const dram_pack<T, V> &dy, bool relu)
{
    dram_pack<T, V> out;
    for (int k = 0; k < V; k++) {
        float xk = dram_float(x.at[k]), g = masked(c, k, xk, dram_float(dy.at[k]), relu);
        out.at[k] = dram_to<T>(c.factor[k] * fmaf(c.mean[k] - xk, away.k1[k], g - away.k0[k]));
    }
    return out;
}

template <typename T, int V>
__global__ static void dgrad_kernel(const T *x, const T *dy, T *out, params n, const float *dgamma, const float *dbeta,
                                    dram_columns of)
{
    enum { BOTH = AT_ONCE / 2 };
    const dram_column here = dram_column_here(of, V);
    const int64_t rows = (int64_t)gridDim.x * of.high, step = rows * of.channels;
    channels_of<V> c;
    taken_away<V> away;
    dram_pack<T, V> x_row[BOTH], dy_row[BOTH];
    if (!here.in) return;
    c.load(n, here.channel);
    away.load(n, dgamma, dbeta, (float)of.rows, here.channel);
    int64_t r = (int64_t)blockIdx.x * of.high + here.y, at = r * of.channels + here.channel;
    for (; r + (BOTH - 1) * rows < of.rows; r += BOTH * rows, at += BOTH * step) {
        for (int u = 0; u < BOTH; u++) {
            x_row[u] = dram_load<T, V>(x + at + u * step);
            dy_row[u] = dram_load<T, V>(dy + at + u * step);
        }
        for (int u = 0; u < BOTH; u++)
            dram_store<T, V>(out + at + u * step, gradient<T, V>(c, away, x_row[u], dy_row[u], n.relu));
    }
    for (; r < of.rows; r += rows, at += step)
        dram_store<T, V>(out + at, gradient<T, V>(c, away, dram_load<T, V>(x + at), dram_load<T, V>(dy + at), n.relu));
}

template <typename T, int V> static dram_status run_dgrad(const dram_kernel_args *args)
{
    const dram_columns of = columns_of(args, V);
    const bool batch = args->attr->batch_stats;
    return dram_launch(args, dgrad_kernel<T, V>, rows_grid(args, of), (unsigned)(of.wide * of.high), 0,
                       (const T *)args->in[0].data, (const T *)args->in[5].data, (T *)args->out[0].data,
                       params_of(args), (const float *)(batch ? args->in[6].data : NULL),
                       (const float *)(batch ? args->in[7].data : NULL), of);
}

DRAM_CUDA_KERNEL(bn_dgrad)
{
    DRAM_FLOAT_TYPES(args->in[0].dtype, T,
                     return dram_columns_whole<T>(args) ? run_dgrad<T, dram_vector<T>>(args) : run_dgrad<T, 1>(args));
}
