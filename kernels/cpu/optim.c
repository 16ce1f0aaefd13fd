/* sumsq, clip_factor, adamw, sgd, accumulate, weight_mean, clear, rank_shard. Bound by memory: bytes an element 4 (sumsq),
 * 28 (adamw), 20 (sgd), 12 (accumulate, weight_mean), 4 (clear), at 2, 15, 7, 1, 3 and 0 FLOPs (of adamw's a square root
 * and a division, still below the time of 28 bytes). adamw with 8-bit moments moves 16 bytes an element; its time is that of finding the codes.
 */
#include "scratch/optim.h"
#include "base/ranks.h"
#include "base/state8.h"
#include "kernels/cpu/cpu.h"

typedef struct {
    const float *g;
    float *w, *m, *v;
    double *part;
    int64_t n;
    int64_t kept;            /* elements that the state is laid out for: n, or those of a shard */
    float keep;              /* of the weight: 1 - lr decay (AdamW) */
    float decay;             /* of the weight into the gradient (SGD) */
    float factor;            /* of the gradient, from clipping */
    float beta1, beta2, eps; /* beta1 is SGD's momentum */
    float step;              /* lr / (1 - beta1^t), or lr */
    float root;              /* 1 / sqrt(1 - beta2^t) */
} job;

/* ---- sumsq, clip_factor ---- */

static void sumsq_piece(void *context, int64_t task, int worker)
{
    const job *j = context;
    const float *g = j->g + task * DRAM_PIECE;
    const int64_t n = dram_min(j->n - task * DRAM_PIECE, DRAM_PIECE);
    double sum = 0;
    (void)worker;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) sum += (double)g[i] * (double)g[i];
    j->part[task] = sum;
}

DRAM_CPU_KERNEL(sumsq)
{
    const bool squares = args->in[0].dtype == DRAM_U8;
    const int64_t n = dram_elements(&args->in[0].shape);
    job j = {.g = args->in[0].data, .n = n, .part = squares ? args->in[0].data : args->workspace};
    const float *acc = args->n_in > 1 ? args->in[1].data : NULL;
    const int64_t pieces = squares ? dram_ceil_div(n / (int64_t)sizeof(double), DRAM_PIECE / DRAM_SQUARES_PIECE_GPU)
                                   : dram_ceil_div(n, DRAM_PIECE);
    double sum = acc ? (double)*acc : 0;
    if (!squares) dram_pool_run(args->pool, pieces, sumsq_piece, &j);
    for (int64_t p = 0; p < pieces; p++) sum += j.part[p];
    *(float *)args->out[0].data = (float)sum;
    return DRAM_OK;
}

/* The squares have room for more pieces than are taken here. */
DRAM_CPU_KERNEL(rank_shard)
{
    job j = {.g = args->in[0].data, .n = dram_elements(&args->in[0].shape), .part = args->out[1].data};
    const int64_t first = dram_rank_first(j.n, args->attr->ranks, args->rank);
    const int64_t count = dram_rank_count(j.n, args->attr->ranks, args->rank);
    float *shard = args->out[0].data;
    memcpy(shard, j.g + first, (size_t)count * sizeof *shard);
    memset(shard + count, 0, (size_t)(dram_elements(&args->out[0].shape) - count) * sizeof *shard);
    memset(j.part, 0, (size_t)dram_elements(&args->out[1].shape));
    dram_pool_run(args->pool, dram_ceil_div(j.n, DRAM_PIECE), sumsq_piece, &j);
    return DRAM_OK;
}

DRAM_CPU_KERNEL(clip_factor)
{
    const bool scaled = args->n_in > 1 && args->in[1].data;
    const float unscale = scaled ? *(const float *)args->in[1].data : 1.0f;
    const float norm = sqrtf(*(const float *)args->in[0].data) * unscale, clip = args->attr->clip;
    float *out = args->out[0].data;
    out[0] = norm;
    out[1] = unscale * (!isfinite(norm) ? 0.0f : clip > 0 ? fminf(1.0f, clip / (norm + 1e-6f)) : 1.0f);
    return DRAM_OK;
}

/* ---- adamw ---- */

/* What an update moves: all of the weight, or this rank's shard. */
static job updated(const dram_kernel_args *args)
{
    const int64_t n = dram_elements(&args->in[0].shape);
    const int ranks = args->attr->ranks;
    job j = {.g = args->in[1].data, .w = args->out[0].data, .n = n, .kept = n};
    if (ranks < 2) return j;
    const int64_t first = dram_rank_first(n, ranks, args->rank);
    j.n = dram_rank_count(n, ranks, args->rank);
    j.kept = dram_rank_shard(n, ranks);
    j.w += first;
    if (dram_elements(&args->in[1].shape) == n) j.g += first;
    return j;
}

/* Loshchilov, Hutter 2019, as torch.optim.AdamW computes it: the decay first, eps after the bias correction. */
static void adamw_piece(void *context, int64_t task, int worker)
{
    const job *j = context;
    const int64_t from = task * DRAM_PIECE, n = dram_min(j->n - from, DRAM_PIECE);
    const float *g = j->g + from;
    float *w = j->w + from, *m = j->m + from, *v = j->v + from;
    const float keep = j->keep, factor = j->factor, beta1 = j->beta1, beta2 = j->beta2, eps = j->eps;
    const float take1 = 1.0f - beta1, take2 = 1.0f - beta2, step = j->step, root = j->root;
    (void)worker;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        float gi = g[i] * factor, mi = DRAM_FMA(beta1, m[i], take1 * gi), vi = DRAM_FMA(beta2, v[i], take2 * gi * gi);
        m[i] = mi;
        v[i] = vi;
        w[i] = keep * w[i] - step * (mi / DRAM_FMA(sqrtf(vi), root, eps));
    }
}

/* ---- adamw with moments of 8 bits (base/state8.h) ---- */

typedef struct {
    const job *j;
    uint8_t *m, *v;       /* codes */
    float *max_m, *max_v; /* of each block */
    float book_m[256], book_v[256];
} job8;

static void adamw8_block(const job8 *q, int64_t block)
{
    const job *j = q->j;
    const int64_t from = block * DRAM_STATE8_BLOCK, n = dram_min(j->n - from, DRAM_STATE8_BLOCK);
    const float *g = j->g + from;
    float *w = j->w + from, m[DRAM_STATE8_BLOCK], v[DRAM_STATE8_BLOCK];
    uint8_t *code_m = q->m + from, *code_v = q->v + from;
    const float keep = j->keep, factor = j->factor, beta1 = j->beta1, beta2 = j->beta2, eps = j->eps;
    const float take1 = 1.0f - beta1, take2 = 1.0f - beta2, step = j->step, root = j->root;
    const float old_m = q->max_m[block], old_v = q->max_v[block];
    float max_m = 0.0f, max_v = 0.0f;
    for (int64_t i = 0; i < n; i++) {
        m[i] = q->book_m[code_m[i]] * old_m;
        v[i] = q->book_v[code_v[i]] * old_v;
    }
#pragma omp simd reduction(max : max_m, max_v)
    for (int64_t i = 0; i < n; i++) {
        float gi = g[i] * factor, mi = DRAM_FMA(beta1, m[i], take1 * gi), vi = DRAM_FMA(beta2, v[i], take2 * gi * gi);
        m[i] = mi;
        v[i] = vi;
        w[i] = keep * w[i] - step * (mi / DRAM_FMA(sqrtf(vi), root, eps));
        max_m = fabsf(mi) > max_m ? fabsf(mi) : max_m;
        max_v = vi > max_v ? vi : max_v;
    }
    q->max_m[block] = max_m;
    q->max_v[block] = max_v;
    const float by_m = max_m > 0.0f ? max_m : 1.0f, by_v = max_v > 0.0f ? max_v : 1.0f; /* of zeros alone: code of 0 */
#pragma omp simd
    for (int64_t i = 0; i < n; i++) code_m[i] = dram_state8_signed_code(fabsf(m[i]) / by_m, m[i] < 0.0f);
#pragma omp simd
    for (int64_t i = 0; i < n; i++) code_v[i] = dram_state8_unsigned_code(v[i] / by_v);
}

static void adamw8_piece(void *context, int64_t task, int worker)
{
    const job8 *q = context;
    const int64_t each = DRAM_PIECE / DRAM_STATE8_BLOCK, from = task * each;
    const int64_t end = dram_min(from + each, dram_state8_blocks(q->j->n));
    (void)worker;
    for (int64_t block = from; block < end; block++) adamw8_block(q, block);
}

static void adamw8(const dram_kernel_args *args, const job *j)
{
    const int64_t maxima = dram_state8_maxima(j->kept);
    job8 q = {.j = j, .m = args->out[1].data, .v = args->out[2].data};
    q.max_m = (float *)(void *)(q.m + maxima);
    q.max_v = (float *)(void *)(q.v + maxima);
    for (int c = 0; c < 256; c++) {
        q.book_m[c] = dram_state8_signed_number(c);
        q.book_v[c] = dram_state8_unsigned_number(c);
    }
    dram_pool_run(args->pool, dram_ceil_div(j->n, DRAM_PIECE), adamw8_piece, &q);
}

DRAM_CPU_KERNEL(adamw)
{
    const dram_attr *attr = args->attr;
    const float *hyper = args->in[4].data, *clip = args->in[5].data;
    job j = updated(args);
    j.factor = clip[1];
    if (j.factor == 0) return DRAM_OK; /* the outputs are the inputs' bytes: nothing changes */
    j.eps = attr->eps;
    j.keep = (float)(1.0 - (double)hyper[0] * (double)attr->decay);
    j.step = hyper[0] * hyper[1];
    j.root = sqrtf(hyper[2]);
    j.beta1 = attr->beta1;
    j.beta2 = attr->beta2;
    if (args->in[2].dtype == DRAM_U8) {
        adamw8(args, &j);
        return DRAM_OK;
    }
    j.m = args->out[1].data;
    j.v = args->out[2].data;
    dram_pool_run(args->pool, dram_ceil_div(j.n, DRAM_PIECE), adamw_piece, &j);
    return DRAM_OK;
}

/* ---- sgd ---- */

static void sgd_piece(void *context, int64_t task, int worker)
{
    const job *j = context;
    const int64_t from = task * DRAM_PIECE, n = dram_min(j->n - from, DRAM_PIECE);
    const float *g = j->g + from;
    float *w = j->w + from, *m = j->m + from;
    const float factor = j->factor, momentum = j->beta1, decay = j->decay, step = j->step;
    (void)worker;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        float mi = DRAM_FMA(momentum, m[i], DRAM_FMA(decay, w[i], g[i] * factor));
        m[i] = mi;
        w[i] -= step * mi;
    }
}

DRAM_CPU_KERNEL(sgd)
{
    const float *hyper = args->in[3].data, *clip = args->in[4].data;
    job j = updated(args);
    j.factor = clip[1];
    j.step = hyper[0];
    if (j.factor == 0) return DRAM_OK;
    j.m = args->out[1].data;
    j.beta1 = args->attr->momentum;
    j.decay = args->attr->decay;
    dram_pool_run(args->pool, dram_ceil_div(j.n, DRAM_PIECE), sgd_piece, &j);
    return DRAM_OK;
}

/* ---- accumulate, weight_mean, clear ---- */

static void accumulate_piece(void *context, int64_t task, int worker)
{
    const job *j = context;
    const int64_t from = task * DRAM_PIECE, n = dram_min(j->n - from, DRAM_PIECE);
    const float *g = j->g + from;
    float *sum = j->w + from;
    (void)worker;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) sum[i] += g[i];
}

DRAM_CPU_KERNEL(accumulate)
{
    job j = {.g = args->in[1].data, .w = args->out[0].data, .n = dram_elements(&args->in[0].shape)};
    dram_pool_run(args->pool, dram_ceil_div(j.n, DRAM_PIECE), accumulate_piece, &j);
    return DRAM_OK;
}

static void weight_mean_piece(void *context, int64_t task, int worker)
{
    const job *j = context;
    const int64_t from = task * DRAM_PIECE, n = dram_min(j->n - from, DRAM_PIECE);
    const float *w = j->g + from;
    float *mean = j->w + from;
    const float take = j->step;
    (void)worker;
    if (take == 1.0f) { /* which m + 1 (w - m) need not come to */
        memcpy(mean, w, (size_t)n * sizeof *mean);
        return;
    }
#pragma omp simd
    for (int64_t i = 0; i < n; i++) mean[i] = DRAM_FMA(take, w[i] - mean[i], mean[i]);
}

DRAM_CPU_KERNEL(weight_mean)
{
    const float *hyper = args->in[2].data, *clip = args->in[3].data;
    job j = {.g = args->in[1].data, .w = args->out[0].data, .n = dram_elements(&args->in[0].shape), .step = hyper[3]};
    if (clip[1] == 0) return DRAM_OK; /* the weight did not move either */
    dram_pool_run(args->pool, dram_ceil_div(j.n, DRAM_PIECE), weight_mean_piece, &j);
    return DRAM_OK;
}

static void clear_piece(void *context, int64_t task, int worker)
{
    const job *j = context;
    const int64_t from = task * DRAM_PIECE;
    (void)worker;
    memset(j->w + from, 0, (size_t)dram_min(j->n - from, DRAM_PIECE) * sizeof *j->w);
}

DRAM_CPU_KERNEL(clear)
{
    job j = {.w = args->out[0].data, .n = dram_elements(&args->in[0].shape)};
    dram_pool_run(args->pool, dram_ceil_div(j.n, DRAM_PIECE), clear_piece, &j);
    return DRAM_OK;
}
