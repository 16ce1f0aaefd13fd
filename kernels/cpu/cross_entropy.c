/* cross_entropy, cross_entropy_grad over logits [N,h,w,K] and labels [N,H,W].
 *
 * The upsampled logits exist for a chunk of pixels at a time, in a worker's scratch, as [pixel,K]. Only pixels with a
 * label enter a chunk. Bound by arithmetic: about 25 FLOPs a pixel and class forward, 35 backward, at one byte a pixel
 * (the logits stay in cache). Upsampling as F.interpolate does it with align_corners=False.
 */
#include "kernels/cpu/math.h"

enum { LABEL_ROWS = 8 }; /* rows of labels a task of the forward takes */

typedef struct {
    double sum;
    int64_t bad_label; /* -1: none */
} row_part;

typedef struct {
    const float *logits;
    const uint8_t *labels;
    float *out;
    row_part *part; /* [N, H / LABEL_ROWS] */
    char *chunks;   /* one for each worker */
    int64_t room;   /* pixels a chunk holds */
    int64_t h, w, classes, height, width;
    int64_t bands, band_rows; /* of an image's logits */
    int ignore;
    float factor; /* dloss / count */
} job;

/* Pixels of one row of labels. */
typedef struct {
    float *z;       /* [n,K] logits, then their exponentials */
    float *wx;      /* [n] weight of column x + 1 */
    int32_t *x;     /* [n] */
    int32_t *label; /* [n] */
    int64_t n;
} chunk;

/* Where output place `at` of `to` reads among `from`: first index, the next one (the same at the edge) and its weight.
 */
typedef struct {
    int64_t first, next;
    float weight;
} tap;

static inline tap tap_of(int64_t at, int64_t from, int64_t to)
{
    double place = ((double)at + 0.5) * (double)from / (double)to - 0.5;
    if (place < 0) place = 0;
    int64_t first = dram_min((int64_t)place, from - 1);
    return (tap){first, dram_min(first + 1, from - 1), (float)(place - (double)first)};
}

static job job_of(const dram_kernel_args *args, char *chunks, int64_t chunk_bytes)
{
    const int64_t *l = args->in[0].shape.dim, *y = args->in[1].shape.dim;
    job j = {.logits = args->in[0].data, .labels = args->in[1].data, .chunks = chunks, .ignore = args->attr->ignore};
    j.h = l[1];
    j.w = l[2];
    j.classes = l[3];
    j.height = y[1];
    j.width = y[2];
    j.room = chunk_bytes / dram_pool_workers(args->pool) / ((j.classes + 3) * (int64_t)sizeof(float));
    return j;
}

static chunk chunk_of(const job *j, int worker)
{
    chunk c = {.z = (float *)(j->chunks + worker * j->room * (j->classes + 3) * (int64_t)sizeof(float))};
    c.wx = c.z + j->room * j->classes;
    c.x = (int32_t *)(c.wx + j->room);
    c.label = c.x + j->room;
    return c;
}

/* In four chains: a maximum of floats is not vectorised by itself. */
static inline float largest(const float *z, int64_t n)
{
    float most[4] = {z[0], z[0], z[0], z[0]};
    int64_t k = 0;
    for (; k + 4 <= n; k += 4)
        for (int i = 0; i < 4; i++) most[i] = z[k + i] > most[i] ? z[k + i] : most[i];
    for (; k < n; k++) most[0] = z[k] > most[0] ? z[k] : most[0];
    most[0] = most[1] > most[0] ? most[1] : most[0];
    most[2] = most[3] > most[2] ? most[3] : most[2];
    return most[2] > most[0] ? most[2] : most[0];
}

/* Fills the chunk from column *x of the row of labels on, as far as it has room: logits less their largest one. */
static void fill_chunk(const job *j, chunk *c, const uint8_t *labels, const float *above, const float *below, float wy,
                       int64_t *x)
{
    const int64_t classes = j->classes;
    for (c->n = 0; *x < j->width && c->n < j->room; ++*x) {
        int label = labels[*x];
        if (label == j->ignore || label >= classes) continue;
        const tap t = tap_of(*x, j->w, j->width);
        const float *a0 = above + t.first * classes, *a1 = above + t.next * classes;
        const float *b0 = below + t.first * classes, *b1 = below + t.next * classes;
        float *z = c->z + c->n * classes;
#pragma omp simd
        for (int64_t k = 0; k < classes; k++) {
            float a = DRAM_FMA(a1[k] - a0[k], t.weight, a0[k]), b = DRAM_FMA(b1[k] - b0[k], t.weight, b0[k]);
            z[k] = DRAM_FMA(b - a, wy, a);
        }
        const float most = largest(z, classes);
#pragma omp simd
        for (int64_t k = 0; k < classes; k++) z[k] -= most;
        c->x[c->n] = (int32_t)t.first;
        c->wx[c->n] = t.weight;
        c->label[c->n++] = label;
    }
}

static void exponentials(const job *j, chunk *c)
{
    float *z = c->z;
    const int64_t n = c->n * j->classes;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) z[i] = dram_expf(z[i]);
}

static inline float sum_of(const float *z, int64_t n)
{
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t k = 0; k < n; k++) sum += z[k];
    return sum;
}

/* ---- forward ---- */

/* Sum of log(sum_k exp z_k) - z_label. One logarithm a chunk, of the product of the sums: each is between 1 and K <=
 * 256, so that of 64 of them stays below 2^512. */
static double chunk_loss(const job *j, chunk *c)
{
    double product = 1, at_label = 0;
    for (int64_t p = 0; p < c->n; p++) at_label += (double)c->z[p * j->classes + c->label[p]];
    exponentials(j, c);
    for (int64_t p = 0; p < c->n; p++) product *= (double)sum_of(c->z + p * j->classes, j->classes);
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
        const tap t = tap_of(y, j->h, j->height);
        for (int64_t x = 0; x < j->width;) {
            fill_chunk(j, &c, labels, logits + t.first * stride, logits + t.next * stride, t.weight, &x);
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

/* out += weight g */
static inline void add_to(float *out, const float *g, float weight, int64_t n)
{
#pragma omp simd
    for (int64_t k = 0; k < n; k++) out[k] = DRAM_FMA(g[k], weight, out[k]);
}

/* Turns the chunk into its gradient, factor (softmax - 1 at the label), and adds it to the rows above and below it
 * (NULL: another task's). */
static void spread_chunk(const job *j, chunk *c, float *above, float *below, float wy)
{
    const int64_t classes = j->classes;
    exponentials(j, c);
    for (int64_t p = 0; p < c->n; p++) {
        float *g = c->z + p * classes, wx = c->wx[p], scale = j->factor / sum_of(g, classes);
        const int64_t first = c->x[p] * classes, next = dram_min(c->x[p] + 1, j->w - 1) * classes;
#pragma omp simd
        for (int64_t k = 0; k < classes; k++) g[k] *= scale;
        g[c->label[p]] -= j->factor;
        if (above) {
            add_to(above + first, g, (1 - wy) * (1 - wx), classes);
            add_to(above + next, g, (1 - wy) * wx, classes);
        }
        if (below) {
            add_to(below + first, g, wy * (1 - wx), classes);
            add_to(below + next, g, wy * wx, classes);
        }
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
        const tap t = tap_of(y, j->h, j->height);
        float *above = t.first >= begin && t.first < end ? out + t.first * stride : NULL;
        float *below = t.next >= begin && t.next < end ? out + t.next * stride : NULL;
        if (!above && !below) continue;
        for (int64_t x = 0; x < j->width;) {
            fill_chunk(j, &c, j->labels + (image * j->height + y) * j->width, logits + t.first * stride,
                       logits + t.next * stride, t.weight, &x);
            spread_chunk(j, &c, above, below, t.weight);
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
