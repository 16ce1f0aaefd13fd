/* resize and its transpose, separable: for each output row first the rows of the input are combined into one row in
 * scratch, then its columns into the output. Weights are made in double for each axis, once a call.
 *
 * Bilinear: PyTorch's upsample_bilinear2d with align_corners=False. Bicubic with antialias: PyTorch's
 * _upsample_bicubic2d_aa (after Pillow's resampling): Keys' kernel with a = -0.5, widened by the scale on downscaled
 * axes; taps outside the image are dropped and the rest normalised to a sum of 1.
 *
 * Limits: at least 4 bytes an element of f32 read and written; 2 (taps_y W_in / W_out + taps_x) FLOPs an output
 * element, 8 for a bilinear one, so bound by memory but for antialiased downscaling (pos_embed 64x64 to 32x32: 9 + 18
 * taps). */
#include "scratch/resize.h"
#include "kernels/cpu/lowp.h"

/* Output o is the sum of weight[k] times source first[o] + k - at[o], at[o] <= k < at[o + 1]. */
typedef struct {
    int64_t n; /* outputs */
    int32_t *first, *at;
    float *weight;
} axis;

typedef struct {
    const void *x, *acc;
    void *out;
    dram_dtype dtype;
    int64_t n, h, w, c, oh, ow; /* x [n,h,w,c], out [n,oh,ow,c] */
    axis rows, columns;
    float *scratch;      /* [workers][w, strip] */
    int64_t scratch_row; /* floats a worker */
    int64_t strip;       /* channels at a time */
    int64_t rows_a_task;
} job;

/* ---- weights ---- */

/* Keys, "Cubic convolution interpolation for digital image processing", 1981. */
static double cubic(double x)
{
    const double a = -0.5;
    x = fabs(x);
    if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
    if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
    return 0;
}

static int64_t bilinear_row(int64_t in, int64_t out, int64_t o, float *weight, int64_t *first)
{
    double at = fmax((double)in / (double)out * ((double)o + 0.5) - 0.5, 0);
    *first = dram_min((int64_t)at, in - 1);
    double part = at - (double)*first;
    if (*first == in - 1) part = 0;
    weight[0] = (float)(1 - part);
    weight[1] = (float)part;
    return 2;
}

static int64_t bicubic_row(int64_t in, int64_t out, int64_t o, float *weight, int64_t *first)
{
    double scale = (double)in / (double)out, widen = fmax(scale, 1), support = 2 * widen, sum = 0;
    double centre = scale * ((double)o + 0.5);
    int64_t from = (int64_t)fmax(centre - support + 0.5, 0), to = dram_min((int64_t)(centre + support + 0.5), in);
    for (int64_t i = from; i < to; i++) sum += cubic(((double)i - centre + 0.5) / widen);
    for (int64_t i = from; i < to; i++) weight[i - from] = (float)(cubic(((double)i - centre + 0.5) / widen) / sum);
    *first = from;
    return to - from;
}

/* Zero weights at the ends are left out, so that a size that stays is copied bit for bit. */
static void make_axis(int mode, int64_t in, int64_t out, axis *a)
{
    int32_t used = 0;
    a->n = out;
    for (int64_t o = 0; o < out; o++) {
        float *weight = a->weight + used;
        int64_t first, skip = 0,
                       taps = mode == DRAM_RESIZE_BILINEAR ? bilinear_row(in, out, o, weight, &first)
                                                           : bicubic_row(in, out, o, weight, &first);
        while (taps > 1 && weight[taps - 1] == 0) taps--;
        while (skip < taps - 1 && weight[skip] == 0) skip++;
        memmove(weight, weight + skip, (size_t)(taps - skip) * sizeof *weight);
        a->first[o] = (int32_t)(first + skip);
        a->at[o] = used;
        used += (int32_t)(taps - skip);
    }
    a->at[out] = used;
}

/* The same weights by source. A source is read by outputs that lie side by side, but for some whose weight is zero. */
static void transpose_axis(const axis *a, int64_t in, axis *t)
{
    int32_t used = 0;
    t->n = in;
    for (int64_t i = 0; i <= in; i++) t->at[i] = 0; /* at first: one past the last output that reads i */
    for (int64_t i = 0; i < in; i++) t->first[i] = 0;
    for (int64_t o = a->n - 1; o >= 0; o--)
        for (int32_t k = a->at[o]; k < a->at[o + 1]; k++) {
            int64_t i = a->first[o] + k - a->at[o];
            if (t->at[i] == 0) t->at[i] = (int32_t)o + 1;
            t->first[i] = (int32_t)o;
        }
    for (int64_t i = 0; i <= in; i++) {
        int32_t taps = i < in ? t->at[i] - t->first[i] : 0;
        t->at[i] = used;
        used += taps;
    }
    memset(t->weight, 0, (size_t)used * sizeof *t->weight);
    for (int64_t o = 0; o < a->n; o++)
        for (int32_t k = a->at[o]; k < a->at[o + 1]; k++) {
            int64_t i = a->first[o] + k - a->at[o];
            t->weight[t->at[i] + (int32_t)o - t->first[i]] = a->weight[k];
        }
}

static void *take(char **room, int64_t bytes)
{
    void *p = *room;
    *room += bytes;
    return p;
}

static axis place_axis(char **room, int64_t outputs, int64_t weights)
{
    axis a = {.first = take(room, 4 * outputs), .at = take(room, 4 * (outputs + 1))};
    a.weight = take(room, 4 * weights);
    return a;
}

/* From `in` to `out` samples, or transposed: from out to in. */
static axis build_axis(char **room, int mode, int64_t in, int64_t out, bool transposed)
{
    int64_t weights = out * dram_resize_taps(mode, in, out);
    axis a = place_axis(room, out, weights), t = place_axis(room, in, weights);
    make_axis(mode, in, out, &a);
    if (transposed) transpose_axis(&a, in, &t);
    return transposed ? t : a;
}

/* ---- resampling ---- */

/* to[i] = sum over t of weight[t] from[t step + i] */
static void combine(float *to, const float *from, int64_t step, const float *weight, int64_t taps, int64_t n)
{
    if (taps == 0) {
        memset(to, 0, (size_t)n * sizeof *to);
        return;
    }
    float w0 = weight[0], w1 = taps > 1 ? weight[1] : 0;
    if (taps == 1) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++) to[i] = w0 * from[i];
    } else {
#pragma omp simd
        for (int64_t i = 0; i < n; i++) to[i] = DRAM_FMA(w1, from[step + i], w0 * from[i]);
    }
    for (int64_t t = 2; t < taps; t++) {
        const float *next = from + t * step;
        float w = weight[t];
#pragma omp simd
        for (int64_t i = 0; i < n; i++) to[i] = DRAM_FMA(w, next[i], to[i]);
    }
}

static void combine_onto(float *to, const float *acc, const float *from, int64_t step, const float *weight,
                         int64_t taps, int64_t n)
{
    enum { PART = 256 };
    float sum[PART];
    for (int64_t at = 0; at < n; at += PART) {
        int64_t m = dram_min(PART, n - at);
        combine(sum, from + at, step, weight, taps, m);
#pragma omp simd
        for (int64_t i = 0; i < m; i++) to[at + i] = acc[at + i] + sum[i];
    }
}

/* The same from elements `at`, at + step, ... of a tensor. */
static void combine_rows(float *to, const job *j, int64_t at, int64_t step, const float *weight, int64_t taps,
                         int64_t n)
{
    float buffer[DRAM_LOWP_RUN];
    if (j->dtype == DRAM_F32) {
        combine(to, (const float *)j->x + at, step, weight, taps, n);
        return;
    }
    memset(to, 0, (size_t)n * sizeof *to);
    for (int64_t i = 0, part; i < n; i += part) {
        float *sum = to + i;
        part = dram_min(n - i, DRAM_LOWP_RUN);
        for (int64_t t = 0; t < taps; t++) {
            float w = weight[t];
            dram_lowp_widen(j->x, j->dtype, at + t * step + i, part, buffer);
#pragma omp simd
            for (int64_t k = 0; k < part; k++) sum[k] = DRAM_FMA(w, buffer[k], sum[k]);
        }
    }
}

/* n pixels of an output row from ox on, of which c channels begin at element `at`: f32 anywhere, other types in one
 * run. */
static void combine_columns(const job *j, int64_t at, int64_t ox, int64_t n, int64_t c, const float *row)
{
    const axis *q = &j->columns;
    const bool low = j->dtype != DRAM_F32;
    const int64_t step = low ? c : j->c;
    float buffer[DRAM_LOWP_RUN], acc_buffer[DRAM_LOWP_RUN], *out = dram_lowp_out(j->out, j->dtype, at, buffer);
    const float *acc = dram_lowp_load(j->acc, j->dtype, at, n * c, acc_buffer);
    for (int64_t k = 0; k < n; k++) {
        const float *weight = q->weight + q->at[ox + k], *from = row + q->first[ox + k] * c;
        int64_t taps = q->at[ox + k + 1] - q->at[ox + k];
        if (acc)
            combine_onto(out + k * step, acc + k * step, from, c, weight, taps, c);
        else
            combine(out + k * step, from, c, weight, taps, c);
    }
    dram_lowp_store(j->out, j->dtype, at, out, n * c);
}

/* Channels c0 .. c0 + c of one output row. */
static void resize_row(const job *j, int64_t image, int64_t oy, int64_t c0, int64_t c, float *row)
{
    const axis *r = &j->rows;
    const int64_t from = ((image * j->h + r->first[oy]) * j->w) * j->c + c0;
    const float *weight = r->weight + r->at[oy];
    int64_t taps = r->at[oy + 1] - r->at[oy];
    if (c == j->c) combine_rows(row, j, from, j->w * j->c, weight, taps, j->w * j->c);
    for (int64_t x = 0; c < j->c && x < j->w; x++)
        combine_rows(row + x * c, j, from + x * j->c, j->w * j->c, weight, taps, c);
    /* pixels side by side of which all channels are here are put away together */
    int64_t together = j->dtype == DRAM_F32 ? j->ow : c == j->c ? DRAM_LOWP_RUN / c : 1;
    for (int64_t ox = 0, n; ox < j->ow; ox += n) {
        n = dram_min(together, j->ow - ox);
        combine_columns(j, ((image * j->oh + oy) * j->ow + ox) * j->c + c0, ox, n, c, row);
    }
}

static void resize_rows(void *context, int64_t task, int worker)
{
    const job *j = context;
    float *row = j->scratch + worker * j->scratch_row;
    int64_t to = dram_min(j->n * j->oh, (task + 1) * j->rows_a_task);
    for (int64_t r = task * j->rows_a_task; r < to; r++)
        for (int64_t c0 = 0; c0 < j->c; c0 += j->strip)
            resize_row(j, r / j->oh, r % j->oh, c0, dram_min(j->strip, j->c - c0), row);
}

static void image_size(const dram_shape *shape, int64_t *h, int64_t *w)
{
    *h = shape->dim[shape->rank == 4 ? 1 : 0];
    *w = shape->rank == 4 ? shape->dim[2] : 1;
}

static dram_status resample(const dram_kernel_args *args, bool transposed)
{
    const dram_shape *x = &args->in[0].shape;
    int mode = args->attr->mode;
    char *room = args->workspace, *start = room;
    job j = {.x = args->in[0].data, .out = args->out[0].data, .c = dram_last(x, 0), .n = x->rank == 4 ? x->dim[0] : 1};
    j.dtype = args->in[0].dtype;
    if (args->n_in > 1) j.acc = args->in[1].data;
    image_size(x, &j.h, &j.w);
    image_size(&args->out[0].shape, &j.oh, &j.ow);
    j.rows = transposed ? build_axis(&room, mode, j.oh, j.h, true) : build_axis(&room, mode, j.h, j.oh, false);
    j.columns = transposed ? build_axis(&room, mode, j.ow, j.w, true) : build_axis(&room, mode, j.w, j.ow, false);
    int64_t used = dram_ceil_div(room - start, DRAM_RESIZE_ALIGN) * DRAM_RESIZE_ALIGN;
    j.scratch = (float *)(start + used);
    j.scratch_row = (args->workspace_bytes - used) / dram_pool_workers(args->pool) / 64 * 16;
    j.strip = dram_lowp_run(j.dtype, dram_min(j.c, j.scratch_row / j.w));
    j.rows_a_task = dram_ceil_div(DRAM_PIECE, (j.w + j.ow) * j.c);
    dram_pool_run(args->pool, dram_ceil_div(j.n * j.oh, j.rows_a_task), resize_rows, &j);
    return DRAM_OK;
}

DRAM_CPU_KERNEL(resize)
{
    return resample(args, false);
}

DRAM_CPU_KERNEL(resize_grad)
{
    return resample(args, true);
}
