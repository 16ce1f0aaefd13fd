/* cross_entropy, cross_entropy_grad over logits [N,h,w,K] and labels [N,H,W].
 *
 * The upsampled logits exist for the pixels of a strip, a part of one row of labels, and there in shared memory and
 * registers alone: a block brings the columns of logits that the strip reads, already interpolated between the two rows
 * around it, and each thread has a pixel between two of the columns. Upsampling as F.interpolate does it with
 * align_corners=False; places are exact, as fractions of whole numbers.
 *
 * Bound by exponentials: K for a labelled pixel, forward and backward, at one byte a pixel (the logits stay in cache);
 * with some 12 more FLOPs a pixel and class forward, 30 backward. The gradient is gathered: a block has a tile of
 * dlogits, runs over the rows of labels that touch it, and each thread adds up its columns and classes over the pixels
 * of a row, in their order, then into the row of dlogits above and that below. Pixels at the edge of a tile are
 * computed for each tile they touch, (1 + 1/columns) (1 + 1/rows) times on average. With more classes than shared
 * memory has room for the columns come in pieces, and in the gradient twice: the sums of exponentials first.
 *
 * A label that is none makes the loss, and the gradient around it, NaN.
 */
#include "kernels/cuda/cuda.cuh"
extern "C" {
#include "scratch/cross_entropy.h"
}

enum {
    BLOCK = 128,
    LABEL_ROWS = DRAM_CROSS_ENTROPY_ROWS_GPU, /* of a block of the forward */
    EIGHT = 8,                                /* classes of a pixel at once */
    MOST_COLUMNS = 160,                       /* of a strip; where labels are fewer than logits that makes it shorter */
    LOSS_FLOATS = 4096,                       /* of shared memory, where that is enough for one class */
    GRAD_FLOATS = 10240,
    TILE_FLOATS = 6144, /* of these for the rows of dlogits */
    FEW_BLOCKS = 256,
    TOTAL_BLOCK = 256
};

typedef struct {
    const float *logits;
    const uint8_t *labels;
    int images, h, w, classes, height, width, ignore;
    int pixels;          /* of a strip */
    int columns;         /* that a strip reads at most */
    int at_once;         /* classes in shared memory */
    int stride;          /* of a column or pixel there: odd, so that they begin in different banks */
    unsigned reciprocal; /* 2^32 / at_once, rounded up; 0 for 1 */
    int tile_rows, tile_columns;
} job;

/* ---- places ---- */

/* Where output place `at` reads: first index, and the weight of the next one (0 at the edge, where there is none). */
typedef struct {
    int first;
    float weight;
} tap;

/* ((at + 1/2) from / to - 1/2), not below 0: as (2 at + 1) from - to over 2 to. */
__device__ static inline tap tap_of(int at, int from, int to)
{
    const uint64_t all = (uint64_t)(2 * (int64_t)at + 1) * (uint64_t)from;
    const unsigned whole = 2u * (unsigned)to;
    if (all <= (uint64_t)to) return {0, 0.0f};
    const uint64_t place = all - (uint64_t)to;
    unsigned first, rest;
    if (place >> 32 == 0) { /* nearly always, and much faster */
        first = (unsigned)place / whole;
        rest = (unsigned)place - first * whole;
    } else {
        first = (unsigned)(place / whole);
        rest = (unsigned)(place - (uint64_t)first * whole);
    }
    if (first >= (unsigned)from - 1) return {from - 1, 0.0f};
    return {(int)first, (float)rest / (float)whole};
}

/* The first place whose first index is `index` or more. */
__device__ static inline int begin_of(int index, int from, int to)
{
    if (index <= 0) return 0;
    if (index >= from) return to;
    const int64_t above = (2 * (int64_t)index + 1) * to - from, whole = 2 * (int64_t)from;
    const int64_t at = above <= 0 ? 0 : (above + whole - 1) / whole;
    return at < to ? (int)at : to;
}

/* Pixels x .. end of a row of labels, and the columns of logits they read. */
typedef struct {
    int x, end, first, columns;
} strip;

__device__ static inline strip strip_of(const job &j, int x, int end)
{
    strip s = {x, x + j.pixels < end ? x + j.pixels : end, tap_of(x, j.w, j.width).first, 0};
    const int last = tap_of(s.end - 1, j.w, j.width).first;
    s.columns = (last + 1 < j.w ? last + 1 : last) - s.first + 1;
    return s;
}

/* Classes k .. k + at_once of the strip's columns between two rows of logits: column [columns,stride]. */
__device__ static inline void stage(const job &j, const strip &s, int image, tap y, int k, float *column)
{
    const float *above = j.logits + (((int64_t)image * j.h + y.first) * j.w + s.first) * j.classes + k;
    const float *below = y.first + 1 < j.h ? above + (int64_t)j.w * j.classes : above;
    for (int i = (int)threadIdx.x; i < s.columns * j.at_once; i += BLOCK) {
        const int c = j.reciprocal ? (int)__umulhi((unsigned)i, j.reciprocal) : i, of = i - c * j.at_once;
        if (k + of >= j.classes) continue;
        const float a = above[c * j.classes + of], b = below[c * j.classes + of];
        column[c * j.stride + of] = fmaf(b - a, y.weight, a);
    }
}

/* ---- one pixel ---- */

/* Its two columns in shared memory. */
typedef struct {
    const float *a, *b;
    float weight; /* of b */
    int label;    /* -1: none that counts; -2: one that is none */
} pixel;

__device__ static inline pixel pixel_of(const job &j, const strip &s, int image, int y, int x, tap t,
                                        const float *column)
{
    pixel p = {column + (t.first - s.first) * j.stride, NULL, t.weight, -1};
    p.b = t.first + 1 < j.w ? p.a + j.stride : p.a;
    p.label = j.labels[((int64_t)image * j.height + y) * j.width + x];
    if (p.label == j.ignore)
        p.label = -1;
    else if (p.label >= j.classes)
        p.label = -2;
    return p;
}

__device__ static inline float logit(const pixel &p, int k)
{
    return fmaf(p.b[k] - p.a[k], p.weight, p.a[k]);
}

/* Of the classes so far: the largest logit and the sum of e^(logit - most). */
typedef struct {
    float most, sum, at_label;
} softmax;

/* Takes n classes more, of which `label` is the label if it is among them. */
__device__ static inline void take(softmax *s, const pixel &p, int n, int label)
{
    for (int k = 0; k < n; k += EIGHT) {
        float z[EIGHT], most = s->most;
        for (int i = 0; i < EIGHT; i++) {
            if (k + i >= n) continue;
            z[i] = logit(p, k + i);
            most = fmaxf(most, z[i]);
            if (k + i == label) s->at_label = z[i];
        }
        s->sum *= expf(s->most - most);
        for (int i = 0; i < EIGHT; i++)
            if (k + i < n) s->sum += expf(z[i] - most);
        s->most = most;
    }
}

/* ---- forward ---- */

/* A block: LABEL_ROWS rows of labels of an image. blockIdx: rows, image. */
__global__ static void loss_kernel(job j, double *part)
{
    DRAM_SHARED_DYNAMIC(float, column);
    const int image = (int)blockIdx.y, from = (int)blockIdx.x * LABEL_ROWS;
    const int to = from + LABEL_ROWS < j.height ? from + LABEL_ROWS : j.height;
    float loss = 0; /* of width / pixels x LABEL_ROWS pixels */
    for (int x = 0; x < j.width; x += j.pixels) {
        const strip s = strip_of(j, x, j.width);
        const int mine = x + (int)threadIdx.x;
        const tap of_column = tap_of(mine, j.w, j.width);
        for (int y = from; y < to; y++) {
            const tap row = tap_of(y, j.h, j.height);
            pixel p = {NULL, NULL, 0, -1};
            softmax sum = {-INFINITY, 0, 0};
            if (mine < s.end) p = pixel_of(j, s, image, y, mine, of_column, column);
            for (int k = 0; k < j.classes; k += j.at_once) {
                const int n = k + j.at_once < j.classes ? j.at_once : j.classes - k;
                __syncthreads();
                stage(j, s, image, row, k, column);
                __syncthreads();
                if (p.label >= 0) take(&sum, p, n, p.label - k);
            }
            if (p.label >= 0) loss += logf(sum.sum) + (sum.most - sum.at_label);
            if (p.label == -2) loss = NAN;
        }
    }
    const double sum = dram_block_sum<BLOCK>((double)loss);
    if (threadIdx.x == 0) part[(int64_t)image * gridDim.x + blockIdx.x] = sum;
}

__global__ static void loss_total(const double *part, int64_t parts, const float *count, float *out)
{
    double sum = 0;
    for (int64_t i = threadIdx.x; i < parts; i += TOTAL_BLOCK) sum += part[i];
    sum = dram_block_sum<TOTAL_BLOCK>(sum);
    if (threadIdx.x == 0) *out = *count > 0 ? (float)(sum / (double)*count) : isnan(sum) ? NAN : 0.0f;
}

/* Sets how many pixels and classes a block has in shared memory, of `room` floats. each: floats of a pixel but for its
 * classes; more: classes of a pixel there as well, or 0; taken: floats that are neither. */
static void fit(job *j, int room, int each, int more, int taken)
{
    for (int pieces = 1;; pieces++) {
        j->at_once = (j->classes + pieces - 1) / pieces;
        j->stride = j->at_once | 1;
        if (j->at_once == 1 || taken + j->pixels * (each + more * j->stride) + j->columns * j->stride <= room) break;
    }
    j->reciprocal = j->at_once > 1 ? (unsigned)(0x100000000ull / (unsigned)j->at_once + 1) : 0;
}

static job job_of(const dram_kernel_args *args)
{
    const int64_t *l = args->in[0].shape.dim, *y = args->in[1].shape.dim;
    job j = {};
    j.logits = (const float *)args->in[0].data;
    j.labels = (const uint8_t *)args->in[1].data;
    j.images = (int)l[0];
    j.h = (int)l[1];
    j.w = (int)l[2];
    j.classes = (int)l[3];
    j.height = (int)y[1];
    j.width = (int)y[2];
    j.ignore = args->attr->ignore;
    for (j.pixels = BLOCK;; j.pixels--) {
        const int64_t columns = (int64_t)(j.pixels - 1) * j.w / j.width + 3;
        j.columns = (int)(columns < j.w ? columns : j.w);
        if (j.columns <= MOST_COLUMNS || j.pixels == 1) return j;
    }
}

DRAM_CUDA_KERNEL(cross_entropy)
{
    job j = job_of(args);
    const int64_t parts = dram_ceil_div(j.height, LABEL_ROWS);
    double *part = (double *)args->workspace;
    fit(&j, LOSS_FLOATS, 0, 0, 0);
    TRY(dram_launch(args, loss_kernel, dim3((unsigned)parts, (unsigned)j.images), BLOCK,
                    (size_t)(j.columns * j.stride) * sizeof(float), j, part));
    return dram_launch(args, loss_total, 1, TOTAL_BLOCK, 0, (const double *)part, parts * j.images,
                       (const float *)args->in[2].data, (float *)args->out[0].data);
}

/* ---- gradient ---- */

/* A block's shared memory. */
typedef struct {
    float *column;             /* [columns,stride] */
    float *grad;               /* [pixels,stride] exponentials, less their sum at the label */
    float *of_first, *of_next; /* [pixels] what takes these to their share of the gradient of either column */
    float *above, *below;      /* [tile_columns,K] rows of dlogits that are being added up */
    int *begin; /* [tile_columns + 2] first pixel at or behind each column, from the one before the tile on */
} shared;

static int floats_of_shared(const job &j)
{
    return j.columns * j.stride + j.pixels * (j.stride + 2) + 2 * j.tile_columns * j.classes + j.tile_columns + 2;
}

__device__ static inline shared shared_of(const job &j, float *at)
{
    shared m;
    m.column = at;
    m.grad = m.column + j.columns * j.stride;
    m.of_first = m.grad + j.pixels * j.stride;
    m.of_next = m.of_first + j.pixels;
    m.above = m.of_next + j.pixels;
    m.below = m.above + j.tile_columns * j.classes;
    m.begin = reinterpret_cast<int *>(m.below + j.tile_columns * j.classes);
    return m;
}

/* The gradient of n classes of a pixel, but for its factor. `label`: among them, or not. */
template <bool WHOLE> __device__ static inline void put(softmax *s, const pixel &p, int n, int label, float *grad)
{
    if (WHOLE) {
        for (int k = 0; k < n; k++) {
            grad[k] = logit(p, k);
            s->most = fmaxf(s->most, grad[k]);
        }
        for (int k = 0; k < n; k++) {
            grad[k] = expf(grad[k] - s->most);
            s->sum += grad[k];
        }
    } else {
        for (int k = 0; k < n; k++) grad[k] = expf(logit(p, k) - s->most);
    }
    if (label >= 0 && label < n) grad[label] -= s->sum;
}

/* The strip's share of the gradient of the tile's columns, times the weights of the rows above and below. */
__device__ static inline void gather(const job &j, const shared &m, const strip &s, int columns, int k, float wy)
{
    for (int i = (int)threadIdx.x; i < columns * j.at_once; i += BLOCK) {
        const int c = j.reciprocal ? (int)__umulhi((unsigned)i, j.reciprocal) : i, of = i - c * j.at_once;
        if (k + of >= j.classes) continue;
        const int middle = m.begin[c + 1];
        const int from = m.begin[c] > s.x ? m.begin[c] : s.x, to = m.begin[c + 2] < s.end ? m.begin[c + 2] : s.end;
        float sum = 0;
        for (int x = from; x < to; x++) {
            const int at = x - s.x;
            sum = fmaf(m.grad[at * j.stride + of], x < middle ? m.of_next[at] : m.of_first[at], sum);
        }
        const int at = c * j.classes + k + of;
        m.above[at] = fmaf(sum, 1.0f - wy, m.above[at]);
        m.below[at] = fmaf(sum, wy, m.below[at]);
    }
}

/* Writes the row above if `row` is the tile's; then the row below is that above, and the other is empty. */
__device__ static inline void next_row(const job &j, shared *m, float *out, int image, int row, int first, int column,
                                       int columns)
{
    const int n = columns * j.classes;
    float *to = out + (((int64_t)image * j.h + row) * j.w + column) * j.classes, *done = m->above;
    for (int i = (int)threadIdx.x; i < n; i += BLOCK) {
        if (row >= first) to[i] = done[i];
        done[i] = 0;
    }
    m->above = m->below;
    m->below = done;
}

/* The gradient of a strip: of its pixels, class by class, then gathered. WHOLE: all classes are there at once. */
template <bool WHOLE>
__device__ static inline void add_strip(const job &j, const shared &m, const strip &s, int image, tap of_row,
                                        int columns, const pixel &p, float factor)
{
    const bool in = s.x + (int)threadIdx.x < s.end;
    softmax sum = {-INFINITY, 0, 0};
    for (int k = 0; !WHOLE && k < j.classes; k += j.at_once) {
        __syncthreads();
        stage(j, s, image, of_row, k, m.column);
        __syncthreads();
        if (p.label >= 0) take(&sum, p, k + j.at_once < j.classes ? j.at_once : j.classes - k, -1);
    }
    for (int k = 0; k < j.classes; k += j.at_once) {
        const int n = k + j.at_once < j.classes ? j.at_once : j.classes - k;
        float *grad = m.grad + (int)threadIdx.x * j.stride;
        __syncthreads();
        stage(j, s, image, of_row, k, m.column);
        __syncthreads();
        if (p.label >= 0) put<WHOLE>(&sum, p, n, p.label - k, grad);
        for (int i = 0; in && p.label < 0 && i < n; i++) grad[i] = 0;
        if (in) {
            const float share = p.label >= 0 ? factor / sum.sum : p.label == -1 ? 0.0f : NAN;
            m.of_first[threadIdx.x] = share * (1.0f - p.weight);
            m.of_next[threadIdx.x] = share * p.weight;
        }
        __syncthreads();
        gather(j, m, s, columns, k, of_row.weight);
    }
}

/* A block: tile_rows x tile_columns of dlogits. blockIdx: columns, rows, image. */
template <bool WHOLE>
__global__ static void __launch_bounds__(BLOCK, WHOLE ? 6 : 5)
    gradient_kernel(job j, const float *count, const float *dloss, float *out)
{
    DRAM_SHARED_DYNAMIC(float, floats);
    shared m = shared_of(j, floats);
    const int thread = (int)threadIdx.x, image = (int)blockIdx.z;
    const int column = (int)blockIdx.x * j.tile_columns, row = (int)blockIdx.y * j.tile_rows;
    const int columns = column + j.tile_columns < j.w ? j.tile_columns : j.w - column;
    const int end_row = row + j.tile_rows < j.h ? row + j.tile_rows : j.h;
    const int x_begin = begin_of(column - 1, j.w, j.width), x_end = begin_of(column + columns, j.w, j.width);
    const int y_end = begin_of(end_row, j.h, j.height);
    const float factor = *count > 0 ? *dloss / *count : 0.0f;
    strip s = {-1, 0, 0, 0};
    tap of_column = {0, 0};
    int now = row - 1; /* the row of dlogits that is called above */
    for (int i = thread; i < 2 * j.tile_columns * j.classes; i += BLOCK) m.above[i] = 0;
    for (int i = thread; i < columns + 2; i += BLOCK) m.begin[i] = begin_of(column - 1 + i, j.w, j.width);
    for (int y = begin_of(row - 1, j.h, j.height); y < y_end; y++) {
        const tap of_row = tap_of(y, j.h, j.height);
        __syncthreads();
        for (; now < of_row.first; now++) next_row(j, &m, out, image, now, row, column, columns);
        for (int x = x_begin; x < x_end; x += j.pixels) {
            pixel p = {NULL, NULL, 0, -1};
            if (x != s.x) { /* mostly there is but one strip, the same in each row */
                s = strip_of(j, x, x_end);
                of_column = tap_of(x + thread, j.w, j.width);
            }
            if (x + thread < s.end) p = pixel_of(j, s, image, y, x + thread, of_column, m.column);
            add_strip<WHOLE>(j, m, s, image, of_row, columns, p, factor);
        }
    }
    __syncthreads();
    for (; now < end_row; now++) next_row(j, &m, out, image, now, row, column, columns);
}

DRAM_CUDA_KERNEL(cross_entropy_grad)
{
    job j = job_of(args);
    /* As many columns as the pixels of a strip touch, 3 at least. */
    const int64_t touched = (int64_t)(j.pixels - 1) * j.w / j.width - 1, room = TILE_FLOATS / (2 * j.classes);
    j.tile_columns = (int)(touched > 3 ? touched : 3);
    if (j.tile_columns > room) j.tile_columns = (int)(room > 1 ? room : 1);
    if (j.tile_columns > j.w) j.tile_columns = j.w;
    const int64_t across = dram_ceil_div(j.w, j.tile_columns);
    j.tile_columns = (int)dram_ceil_div(j.w, across);
    j.tile_rows = j.images * across * dram_ceil_div(j.h, 8) < FEW_BLOCKS ? 4 : 8;
    fit(&j, GRAD_FLOATS, 2, 1, 2 * j.tile_columns * j.classes + j.tile_columns + 2);
    return dram_launch(args, j.at_once == j.classes ? gradient_kernel<true> : gradient_kernel<false>,
                       dim3((unsigned)dram_ceil_div(j.w, j.tile_columns), (unsigned)dram_ceil_div(j.h, j.tile_rows),
                            (unsigned)j.images),
                       BLOCK, (size_t)floats_of_shared(j) * sizeof(float), j, (const float *)args->in[2].data,
                       (const float *)args->in[3].data, (float *)args->out[0].data);
}
