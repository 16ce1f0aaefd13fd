/* cross_entropy, cross_entropy_grad over logits [N,h,w,K] and labels [N,H,W].
 *
 * The upsampled logits exist for a chunk of pixels of one row at a time, in a worker's scratch, as [pixel,KP], KP being
 * K rounded up to whole vectors of LANES. Only pixels with a label enter it. Bound by arithmetic: about 25 FLOPs a
 * pixel and class forward, 35 backward, at one byte a pixel (the logits stay in cache). Upsampling as F.interpolate
 * does it with align_corners=False, first vertically, for the columns that the chunk needs, then horizontally.
 */
#include "scratch/cross_entropy.h"
#include "kernels/cpu/math.h"

enum {
    LABEL_ROWS = DRAM_CROSS_ENTROPY_ROWS, /* of a task of the forward */
    LANES = DRAM_CROSS_ENTROPY_LANES
};

static const float NOTHING = -1e30F; /* logit of the classes that fill up KP: its exponential is 0 */

typedef struct {
    double sum;
    int64_t bad_label; /* -1: none */
} row_part;
_Static_assert(sizeof(row_part) == DRAM_CROSS_ENTROPY_PART_BYTES, "what the rule gives a part");

typedef struct {
    const float *logits;
    const uint8_t *labels;
    float *out;
    row_part *part;                               /* [N, H / LABEL_ROWS] */
    float *scratch;                               /* `scratch_floats` for each worker */
    int64_t scratch_floats, room;                 /* room: pixels a chunk holds */
    int64_t h, w, classes, padded, height, width; /* padded: KP */
    double scale_h, scale_w;                      /* h / H, w / W */
    int64_t bands, band_rows;                     /* of an image's logits */
    int ignore;
    float factor; /* dloss / count */
} job;

/* Pixels of one row of labels. */
typedef struct {
    float *z;       /* [n,KP] logits less their largest, then their exponentials */
    float *column;  /* [columns,KP] logits at this row of labels, from column `first` on */
    float *dcolumn; /* [columns,KP] their gradient */
    float *wx;      /* [n] weight of the next column */
    int32_t *x;     /* [n] first of the two columns, counted from `first` */
    int32_t *label; /* [n] */
    int64_t n, first, columns;
} chunk;

/* Where output place `at` reads among `from`: first index, the next one (the same at the edge) and its weight. */
typedef struct {
    int64_t first, next;
    float weight;
} tap;

static inline tap tap_of(int64_t at, int64_t from, double scale)
{
    double place = ((double)at + 0.5) * scale - 0.5;
    if (place < 0) place = 0;
    int64_t first = dram_min((int64_t)place, from - 1);
    return (tap){first, dram_min(first + 1, from - 1), (float)(place - (double)first)};
}

/* Columns of logits that `room` pixels of a row read at most. */
static int64_t most_columns(const job *j, int64_t room)
{
    return dram_cross_entropy_columns(j->w, j->width, room);
}

static job job_of(const dram_kernel_args *args, void *scratch, int64_t scratch_bytes)
{
    const int64_t *l = args->in[0].shape.dim, *y = args->in[1].shape.dim;
    job j = {.logits = args->in[0].data, .labels = args->in[1].data, .scratch = scratch, .ignore = args->attr->ignore};
    j.h = l[1];
    j.w = l[2];
    j.classes = l[3];
    j.padded = dram_cross_entropy_padded(j.classes);
    j.height = y[1];
    j.width = y[2];
    j.scale_h = (double)j.h / (double)j.height;
    j.scale_w = (double)j.w / (double)j.width;
    j.scratch_floats = scratch_bytes / dram_pool_workers(args->pool) / (int64_t)sizeof(float);
    j.room = dram_cross_entropy_pixels(j.w, j.width, j.classes, j.scratch_floats);
    return j;
}

static chunk chunk_of(const job *j, int worker)
{
    const int64_t columns = most_columns(j, j->room);
    chunk c = {.z = j->scratch + worker * j->scratch_floats};
    c.column = c.z + j->room * j->padded;
    c.dcolumn = c.column + columns * j->padded;
    c.wx = c.dcolumn + columns * j->padded;
    c.x = (int32_t *)(c.wx + j->room);
    c.label = c.x + j->room;
    return c;
}

static bool is_labelled(const job *j, int label)
{
    return label != j->ignore && label < j->classes;
}

/* The chunk's columns between the rows of logits above and below. */
static void fill_columns(const job *j, chunk *c, const float *above, const float *below, float wy)
{
    for (int64_t i = 0; i < c->columns; i++) {
        const float *a = above + (c->first + i) * j->classes, *b = below + (c->first + i) * j->classes;
        float *out = c->column + i * j->padded;
#pragma omp simd
        for (int64_t k = 0; k < j->classes; k++) out[k] = DRAM_FMA(b[k] - a[k], wy, a[k]);
        for (int64_t k = j->classes; k < j->padded; k++) out[k] = NOTHING;
    }
}

/* One pixel: z = a + w (b - a), less the largest of them. n is a multiple of LANES. */
static inline void fill_pixel(float *z, const float *a, const float *b, float w, int64_t n)
{
    float most[LANES];
    for (int i = 0; i < LANES; i++) most[i] = -INFINITY;
    for (int64_t k = 0; k < n; k += LANES) {
#pragma omp simd
        for (int i = 0; i < LANES; i++) {
            float zi = DRAM_FMA(b[k + i] - a[k + i], w, a[k + i]);
            most[i] = zi > most[i] ? zi : most[i];
            z[k + i] = zi;
        }
    }
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++) most[i] = most[i + half] > most[i] ? most[i + half] : most[i];
    for (int64_t k = 0; k < n; k += LANES) {
#pragma omp simd
        for (int i = 0; i < LANES; i++) z[k + i] -= most[0];
    }
}

/* Fills the chunk with the labelled ones among the pixels from column `from` of the row of labels on. */
static void fill_chunk(const job *j, chunk *c, const uint8_t *labels, int64_t from, const float *above,
                       const float *below, float wy)
{
    const int64_t end = dram_min(j->width, from + j->room), n = j->padded;
    c->n = 0;
    for (int64_t x = from; x < end; x++) c->n += is_labelled(j, labels[x]);
    if (c->n == 0) return;
    c->first = tap_of(from, j->w, j->scale_w).first;
    c->columns = tap_of(end - 1, j->w, j->scale_w).next - c->first + 1;
    fill_columns(j, c, above, below, wy);
    c->n = 0;
    for (int64_t x = from; x < end; x++) {
        if (!is_labelled(j, labels[x])) continue;
        const tap t = tap_of(x, j->w, j->scale_w);
        fill_pixel(c->z + c->n * n, c->column + (t.first - c->first) * n, c->column + (t.next - c->first) * n, t.weight,
                   n);
        c->x[c->n] = (int32_t)(t.first - c->first);
        c->wx[c->n] = t.weight;
        c->label[c->n++] = labels[x];
    }
}

static void exponentials(const job *j, chunk *c)
{
    float *z = c->z;
    const int64_t n = c->n * j->padded;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) z[i] = dram_expf(z[i]);
}

static inline float sum_of(const float *z, int64_t n)
{
    float sum[LANES] = {0};
    for (int64_t k = 0; k < n; k += LANES) {
#pragma omp simd
        for (int i = 0; i < LANES; i++) sum[i] += z[k + i];
    }
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++) sum[i] += sum[i + half];
    return sum[0];
}

/* ---- forward ---- */

/* Sum of log(sum_k exp z_k) - z_label. One logarithm a chunk, of the product of the sums: each is between 1 and K <=
 * 256, so that of 64 of them stays below 2^513. */
static double chunk_loss(const job *j, chunk *c)
{
    double product = 1, at_label = 0;
    for (int64_t p = 0; p < c->n; p++) at_label += (double)c->z[p * j->padded + c->label[p]];
    exponentials(j, c);
    for (int64_t p = 0; p < c->n; p++) product *= (double)sum_of(c->z + p * j->padded, j->padded);
    return log(product) - at_label;
}

static void loss_rows(void *context, int64_t task, int worker)
{
    const job *j = context;
    const int64_t tasks = dram_ceil_div(j->height, LABEL_ROWS), image = task / tasks, from = task % tasks * LABEL_ROWS;
    const int64_t stride = j->w * j->classes;
    const float *logits = j->logits + image * j->h * stride;
    chunk c = chunk_of(j, worker);
    row_part part = {.bad_label = -1};
    for (int64_t y = from; y < dram_min(from + LABEL_ROWS, j->height); y++) {
        const uint8_t *labels = j->labels + (image * j->height + y) * j->width;
        const tap t = tap_of(y, j->h, j->scale_h);
        for (int64_t x = 0; x < j->width; x += j->room) {
            fill_chunk(j, &c, labels, x, logits + t.first * stride, logits + t.next * stride, t.weight);
            part.sum += chunk_loss(j, &c);
        }
        for (int64_t x = 0; x < j->width; x++)
            if (labels[x] >= j->classes && labels[x] != j->ignore) part.bad_label = labels[x];
    }
    j->part[task] = part;
}

DRAM_CPU_KERNEL(cross_entropy)
{
    const int64_t *labels = args->in[1].shape.dim;
    const int64_t tasks = labels[0] * dram_ceil_div(labels[1], LABEL_ROWS);
    const int64_t part_bytes = tasks * (int64_t)sizeof(row_part);
    const float count = *(const float *)args->in[2].data;
    job j = job_of(args, (char *)args->workspace + part_bytes, args->workspace_bytes - part_bytes);
    double loss = 0;
    j.part = args->workspace;
    dram_pool_run(args->pool, tasks, loss_rows, &j);
    for (int64_t t = 0; t < tasks; t++) {
        if (j.part[t].bad_label >= 0)
            return dram_fail(DRAM_ERR_RUN, "a label is %d, but the logits have %d classes", (int)j.part[t].bad_label,
                             (int)j.classes);
        loss += j.part[t].sum;
    }
    *(float *)args->out[0].data = count > 0 ? (float)(loss / (double)count) : 0.0f;
    return DRAM_OK;
}

/* ---- gradient ---- */

/* Turns the chunk into its gradient, factor (softmax - 1 at the label), and adds that to the gradient of the
 * columns. */
static void gather_columns(const job *j, chunk *c)
{
    const int64_t n = j->padded;
    exponentials(j, c);
    memset(c->dcolumn, 0, (size_t)(c->columns * n) * sizeof *c->dcolumn);
    for (int64_t p = 0; p < c->n; p++) {
        float *g = c->z + p * n, wx = c->wx[p], sum = sum_of(g, n), scale = j->factor / sum;
        float *a = c->dcolumn + c->x[p] * n, *b = c->x[p] + 1 < c->columns ? a + n : a;
        g[c->label[p]] -= sum;
        for (int64_t k = 0; k < n; k += LANES) {
#pragma omp simd
            for (int i = 0; i < LANES; i++) a[k + i] = DRAM_FMA(g[k + i], scale * (1 - wx), a[k + i]);
        }
        for (int64_t k = 0; k < n; k += LANES) {
#pragma omp simd
            for (int i = 0; i < LANES; i++) b[k + i] = DRAM_FMA(g[k + i], scale * wx, b[k + i]);
        }
    }
}

/* row += weight times the gradient of the columns */
static void add_columns(const job *j, const chunk *c, float *row, float weight)
{
    for (int64_t i = 0; i < c->columns; i++) {
        const float *g = c->dcolumn + i * j->padded;
        float *out = row + (c->first + i) * j->classes;
#pragma omp simd
        for (int64_t k = 0; k < j->classes; k++) out[k] = DRAM_FMA(g[k], weight, out[k]);
    }
}

/* A band of rows of dlogits, from all rows of labels that touch it. Those at its edges touch two bands and are computed
 * for both, so that no two tasks write the same row. */
static void gradient_band(void *context, int64_t task, int worker)
{
    const job *j = context;
    const int64_t image = task / j->bands, begin = task % j->bands * j->band_rows;
    const int64_t end = dram_min(j->h, begin + j->band_rows), stride = j->w * j->classes;
    const float *logits = j->logits + image * j->h * stride;
    float *out = j->out + image * j->h * stride;
    chunk c = chunk_of(j, worker);
    if (begin >= end) return;
    memset(out + begin * stride, 0, (size_t)((end - begin) * stride) * sizeof *out);
    for (int64_t y = 0; y < j->height; y++) {
        const tap t = tap_of(y, j->h, j->scale_h);
        float *above = t.first >= begin && t.first < end ? out + t.first * stride : NULL;
        float *below = t.next >= begin && t.next < end ? out + t.next * stride : NULL;
        if (!above && !below) continue;
        for (int64_t x = 0; x < j->width; x += j->room) {
            fill_chunk(j, &c, j->labels + (image * j->height + y) * j->width, x, logits + t.first * stride,
                       logits + t.next * stride, t.weight);
            if (c.n == 0) continue;
            gather_columns(j, &c);
            if (above) add_columns(j, &c, above, 1 - t.weight);
            if (below) add_columns(j, &c, below, t.weight);
        }
    }
}

DRAM_CPU_KERNEL(cross_entropy_grad)
{
    const float count = *(const float *)args->in[2].data, dloss = *(const float *)args->in[3].data;
    const int64_t images = args->in[0].shape.dim[0];
    job j = job_of(args, args->workspace, args->workspace_bytes);
    j.out = args->out[0].data;
    j.factor = count > 0 ? dloss / count : 0.0f;
    /* About 16 tasks; a band of b rows computes (b + 1) / b of its share. */
    j.bands = dram_min(dram_ceil_div(16, images), dram_ceil_div(j.h, 4));
    j.band_rows = dram_ceil_div(j.h, j.bands);
    dram_pool_run(args->pool, images * j.bands, gradient_band, &j);
    return DRAM_OK;
}
