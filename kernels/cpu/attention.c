/* attention and its gradient: SAM's, with decomposed relative position, global or in windows. See src/ops/attention.c
 * for the formula and ir/op_list.h for the shapes.
 *
 * Tiles of queries meet tiles of keys with an online softmax, and the backward makes the weights again from the saved
 * log-sum-exp (Dao et al., "FlashAttention", 2022). The relative terms are two factors of a query tile, [S, queries],
 * from one small product each with the tables. All of it lies in one worker's scratch.
 *
 * Score tiles are stored [keys, queries]: a key's row and column are then fixed along the vector dimension, so that the
 * bias is the sum of three rows, and maximum, sum and exponential run over queries side by side.
 *
 * In a window that reaches over the edge the padding keys are copies of the bias' k and v. Queries are real tokens
 * only.
 *
 * Limits, for L queries against S keys each and one head of d: 4 L S d FLOPs in the products (10 backward) and one exp,
 * about 12 cycles for 8 of them with AVX2, where the products of d = 64 take 64 (160 backward). Memory moved: q, out
 * once, k and v once for each tile of 256 queries, from cache. So bound by the products, which are dram's own (tile.h);
 * the small ones with the tables in the backward are the library's. */
#include <cblas.h>

#include "kernels/cpu/math.h"
#include "kernels/cpu/tile.h"

enum { LEAST_TILE = 16, QUERIES = 256, KEYS = 128, PARTIALS = 8 };

typedef struct {
    const float *qkv, *rel_h, *rel_w, *bias; /* qkv [N,H,W,3,heads,d] */
    const float *saved_out, *saved_lse, *dout;
    float *out, *lse; /* [N,H,W,heads,d], [N,heads,H,W] */
    float *dqkv, *partial;
    int64_t n, h, w, heads, d, dim, window;
    int64_t sh, sw;        /* grid of the keys */
    int64_t across, down;  /* windows in a row, in a column; 1 and 1 if global */
    int64_t bq, bk, tiles; /* most queries and keys of a tile; query tiles of a full region */
    int64_t ld;            /* from one row of d floats in scratch to the next */
    float scale;           /* d^-1/2 */
    float *scratch;
    int64_t scratch_row; /* floats a worker */
    int64_t groups, partial_floats;
} job;

/* The queries of one image, head and window: the rows x cols real tokens from (y0, x0) on, row by row. */
typedef struct {
    int64_t image, head, y0, x0, rows, cols, queries;
} region;

/* Part of a query tile that the passes over keys share. */
typedef struct {
    int64_t from, n, ld;  /* queries; ld: from one key's scores to the next */
    float *q;             /* [d, ld]: transposed, columns n .. are 0 up to a whole vector */
    float *rel_h, *rel_w; /* [sh, ld], [sw, ld] */
} queries;

/* ---- geometry ---- */

static region region_of(const job *j, int64_t index)
{
    int64_t windows = j->across * j->down, window = index % windows, head = index / windows % j->heads;
    region r = {.image = index / windows / j->heads, .head = head};
    r.y0 = window / j->across * j->sh;
    r.x0 = window % j->across * j->sw;
    r.rows = dram_min(j->sh, j->h - r.y0);
    r.cols = dram_min(j->sw, j->w - r.x0);
    r.queries = r.rows * r.cols;
    return r;
}

/* Token of the whole batch that is query i. */
static int64_t query_token(const job *j, const region *r, int64_t i)
{
    return (r->image * j->h + r->y0 + i / r->cols) * j->w + r->x0 + i % r->cols;
}

/* Token that is key k, -1 for padding. */
static int64_t key_token(const job *j, const region *r, int64_t k)
{
    int64_t y = k / j->sw, x = k % j->sw;
    return y < r->rows && x < r->cols ? (r->image * j->h + r->y0 + y) * j->w + r->x0 + x : -1;
}

/* part: 0 q, 1 k, 2 v */
static int64_t qkv_at(const job *j, const region *r, int64_t token, int part)
{
    return token * 3 * j->dim + part * j->dim + r->head * j->d;
}

static int64_t out_at(const job *j, const region *r, int64_t token)
{
    return token * j->dim + r->head * j->d;
}

static int64_t lse_at(const job *j, const region *r, int64_t i)
{
    return ((r->image * j->heads + r->head) * j->h + r->y0 + i / r->cols) * j->w + r->x0 + i % r->cols;
}

static void copy_row(float *to, const float *from, int64_t d)
{
    memcpy(to, from, (size_t)d * sizeof *to);
}

/* Row of d floats into scratch, filled up to whole vectors. */
static void gather_row(const job *j, float *to, const float *from)
{
    copy_row(to, from, j->d);
    for (int64_t c = j->d; c < dram_tile_columns(j->d); c++) to[c] = 0;
}

/* Queries from .. from + n (out or dout: their rows) into room [n, ld]. */
static void gather_queries(const job *j, const region *r, int64_t from, int64_t n, float *room)
{
    for (int64_t i = 0; i < n; i++)
        gather_row(j, room + i * j->ld, j->qkv + qkv_at(j, r, query_token(j, r, from + i), 0));
}

static void gather_dout(const job *j, const region *r, int64_t from, int64_t n, float *room)
{
    for (int64_t i = 0; i < n; i++)
        gather_row(j, room + i * j->ld, j->dout + out_at(j, r, query_token(j, r, from + i)));
}

/* room [n, ld] to [d, ld_to] */
static void transpose(const job *j, const float *room, int64_t n, float *to, int64_t ld_to)
{
    for (int64_t i = 0; i < n; i++)
        for (int64_t c = 0; c < j->d; c++) to[c * ld_to + i] = room[i * j->ld + c];
    for (int64_t i = n; i < dram_tile_columns(n); i++)
        for (int64_t c = 0; c < j->d; c++) to[c * ld_to + i] = 0;
}

/* Keys (part 1) or values (2) from .. from + n into room [n, ld]. */
static void gather_keys(const job *j, const region *r, int64_t from, int64_t n, int part, float *room)
{
    const float *pad = j->bias + part * j->dim + r->head * j->d;
    for (int64_t k = 0; k < n; k++) {
        int64_t token = key_token(j, r, from + k);
        gather_row(j, room + k * j->ld, token < 0 ? pad : j->qkv + qkv_at(j, r, token, part));
    }
}

/* ---- products ---- */

/* scores [m, ld] = alpha a [m, d] x transposed [d, ld] */
static void score_product(const job *j, const queries *q, int64_t m, float alpha, const float *a, int64_t lda,
                          const float *transposed, float *scores)
{
    dram_tile t = {.m = m, .n = dram_tile_columns(q->n), .k = j->d, .alpha = alpha, .a = a, .a_row = lda};
    t.a_column = 1;
    t.b = transposed;
    t.c = scores;
    t.ldb = t.ldc = q->ld;
    DRAM_CPU(tile_product)(&t);
}

/* sum [queries, d] (+)= alpha weight^T x tokens, for weight [m, ld] of m keys and their tokens [m, d] */
static void sum_over_keys(const job *j, const queries *q, int64_t m, float alpha, const float *weight,
                          const float *tokens, bool add, float *sum)
{
    dram_tile t = {.m = q->n, .n = dram_tile_columns(j->d), .k = m, .alpha = alpha, .add = add, .a = weight};
    t.a_row = 1;
    t.a_column = q->ld;
    t.b = tokens;
    t.c = sum;
    t.ldb = t.ldc = j->ld;
    DRAM_CPU(tile_product)(&t);
}

/* sum [m, d] = alpha weight x tokens, for weight [m, ld] of m keys and tokens [queries, d] */
static void sum_over_queries(const job *j, const queries *q, int64_t m, float alpha, const float *weight,
                             const float *tokens, float *sum)
{
    dram_tile t = {.m = m, .n = dram_tile_columns(j->d), .k = q->n, .alpha = alpha, .a = weight, .a_row = q->ld};
    t.a_column = 1;
    t.b = tokens;
    t.c = sum;
    t.ldb = t.ldc = j->ld;
    DRAM_CPU(tile_product)(&t);
}

/* ---- relative position ---- */

/* Row (or column) of query i in the region, and the rows of its table that a tile needs: from lowest on. */
typedef struct {
    bool vertical;
    int64_t size, lowest, count; /* size: sh or sw */
} relative;

static relative relative_of(const job *j, const region *r, int64_t from, int64_t n, bool vertical)
{
    int64_t last = from + n - 1, low = 0, high = r->cols - 1;
    relative a = {.vertical = vertical, .size = vertical ? j->sh : j->sw};
    if (vertical || from / r->cols == last / r->cols) {
        low = vertical ? from / r->cols : from % r->cols;
        high = vertical ? last / r->cols : last % r->cols;
    }
    a.lowest = low; /* query position p and key position k use row p - k + size - 1 */
    a.count = high - low + a.size;
    return a;
}

/* Moves between factor [size, ld] (a row for each key position) and shifted [count, ld] (a row for each row of the
 * table): factor[k, i] = shifted[p(i) - k + size - 1 - lowest, i], or the other way round. */
static void shift(const region *r, const relative *a, const queries *q, float *factor, float *shifted, bool back)
{
    int64_t n;
    for (int64_t i = 0; i < q->n; i += n) {
        int64_t x = (q->from + i) % r->cols, y = (q->from + i) / r->cols;
        n = dram_min(r->cols - x, q->n - i); /* queries of one row */
        for (int64_t k = 0; k < a->size; k++) {
            float *f = factor + k * q->ld + i;
            float *s = shifted + ((a->vertical ? y : x) - k + a->size - 1 - a->lowest) * q->ld + i;
            int64_t step = a->vertical ? 1 : q->ld + 1;
            if (back)
                for (int64_t e = 0; e < n; e++) s[e * step] = f[e];
            else
                for (int64_t e = 0; e < n; e++) f[e] = s[e * step];
        }
    }
}

/* factor [size, ld] = the products of the tile's queries with the table row of each key position. */
static void relative_factor(const job *j, const region *r, const queries *q, bool vertical, float *factor, float *room)
{
    relative a = relative_of(j, r, q->from, q->n, vertical);
    const float *table = vertical ? j->rel_h : j->rel_w;
    score_product(j, q, a.count, 1, table + a.lowest * j->d, j->d, q->q, room);
    shift(r, &a, q, factor, room, false);
}

/* Adds what the gradient of a factor means for dq [n, ld] and for the table; rows: the queries, not transposed. */
static void relative_gradient(const job *j, const region *r, const queries *q, const float *query_rows, bool vertical,
                              float *factor, float *room, float *dq, float *dtable)
{
    relative a = relative_of(j, r, q->from, q->n, vertical);
    const float *table = (vertical ? j->rel_h : j->rel_w) + a.lowest * j->d;
    int d = (int)j->d, n = (int)q->n, count = (int)a.count, ld = (int)j->ld, ld_room = (int)q->ld;
    memset(room, 0, (size_t)(a.count * q->ld) * sizeof *room);
    shift(r, &a, q, factor, room, true);
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, n, d, count, 1, room, ld_room, table, d, 1, dq, ld);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, count, d, n, 1, room, ld_room, query_rows, ld, 1,
                dtable + a.lowest * j->d, d);
}

/* ---- scratch ---- */

/* Floats for a tile of bq queries and bk keys: as src/ops/attention.c asks for. */
static int64_t tile_floats(const job *j, int64_t bq, int64_t bk, bool backward)
{
    int64_t nq = dram_min(bq, j->sh * j->sw), nk = dram_min(bk, j->sh * j->sw), ld = dram_tile_stride(nq);
    int64_t table = 2 * (j->sh > j->sw ? j->sh : j->sw) - 1, first = nk > table ? nk : table;
    if (backward) return ld * (first + nk + 2 * (j->sh + j->sw + j->d + 1)) + 3 * (nq + nk) * j->ld;
    return ld * (first + j->sh + j->sw + j->d + 3) + (nq + nk) * j->ld;
}

/* The largest tiles that fit. */
static dram_status choose_tiles(job *j, int64_t floats, bool backward)
{
    int64_t all = j->sh * j->sw;
    j->bq = dram_min(QUERIES, all);
    j->bk = dram_min(KEYS, all);
    while (tile_floats(j, j->bq, j->bk, backward) > floats) {
        if (j->bq <= LEAST_TILE && j->bk <= LEAST_TILE)
            return dram_fail(DRAM_ERR_INTERNAL, "attention: the workspace does not hold the smallest tile");
        int64_t *larger = j->bk >= j->bq ? &j->bk : &j->bq;
        *larger = *larger > 21 ? *larger * 3 / 4 : LEAST_TILE;
    }
    j->bk = dram_ceil_div(all, dram_ceil_div(all, j->bk)); /* evenly */
    j->tiles = dram_ceil_div(all, j->bq);
    return DRAM_OK;
}

static float *take(float **room, int64_t floats)
{
    float *p = *room;
    *room += floats;
    return p;
}

static int64_t score_rows(const job *j)
{
    int64_t table = 2 * (j->sh > j->sw ? j->sh : j->sw) - 1;
    return j->bk > table ? j->bk : table;
}

static job job_of(const dram_kernel_args *args)
{
    const dram_shape *x = &args->in[0].shape;
    job j = {.qkv = args->in[0].data, .rel_h = args->in[1].data, .rel_w = args->in[2].data, .bias = args->in[3].data};
    j.n = x->dim[0];
    j.h = x->dim[1];
    j.w = x->dim[2];
    j.dim = x->dim[3] / 3;
    j.heads = args->attr->heads;
    j.window = args->attr->window;
    j.d = j.dim / j.heads;
    j.sh = j.window ? j.window : j.h;
    j.sw = j.window ? j.window : j.w;
    j.down = dram_ceil_div(j.h, j.sh);
    j.across = dram_ceil_div(j.w, j.sw);
    j.ld = dram_tile_stride(j.d);
    j.scale = 1.0F / sqrtf((float)j.d);
    j.scratch = args->workspace;
    j.scratch_row = args->workspace_bytes / (int64_t)sizeof(float) / dram_pool_workers(args->pool);
    return j;
}

/* ---- forward ---- */

/* Adds the relative terms to the scores of keys k0 .. k0 + nk and raises the maxima. */
static void bias_and_maximum(const job *j, const queries *q, int64_t k0, int64_t nk, float *score, float *maximum)
{
    for (int64_t k = 0; k < nk; k++) {
        const float *by_row = q->rel_h + (k0 + k) / j->sw * q->ld, *by_column = q->rel_w + (k0 + k) % j->sw * q->ld;
        float *s = score + k * q->ld;
#pragma omp simd
        for (int64_t i = 0; i < q->n; i++) {
            s[i] = s[i] + by_row[i] + by_column[i];
            maximum[i] = s[i] > maximum[i] ? s[i] : maximum[i];
        }
    }
}

static void weights_and_sum(const queries *q, int64_t nk, float *score, const float *maximum, float *sum)
{
    for (int64_t k = 0; k < nk; k++) {
        float *s = score + k * q->ld;
#pragma omp simd
        for (int64_t i = 0; i < q->n; i++) {
            s[i] = dram_expf(s[i] - maximum[i]);
            sum[i] += s[i];
        }
    }
}

static void scale_row(float *row, float factor, int64_t d)
{
#pragma omp simd
    for (int64_t c = 0; c < d; c++) row[c] *= factor;
}

/* One query tile against all keys. */
static void forward_tile(void *context, int64_t task, int worker)
{
    const job *j = context;
    region r = region_of(j, task / j->tiles);
    int64_t each = dram_ceil_div(r.queries, dram_ceil_div(r.queries, j->bq)), all = j->sh * j->sw, d = j->d;
    queries q = {.from = task % j->tiles * each, .ld = dram_tile_stride(j->bq)};
    if (q.from >= r.queries) return;
    q.n = dram_min(each, r.queries - q.from);

    float *room = j->scratch + worker * j->scratch_row, *score = take(&room, score_rows(j) * q.ld);
    float *maximum = take(&room, q.ld), *before = take(&room, q.ld), *sum = take(&room, q.ld);
    float *keys = take(&room, j->bk * j->ld), *out = take(&room, j->bq * j->ld);
    q.q = take(&room, d * q.ld);
    q.rel_h = take(&room, j->sh * q.ld);
    q.rel_w = take(&room, j->sw * q.ld);

    gather_queries(j, &r, q.from, q.n, out);
    transpose(j, out, q.n, q.q, q.ld);
    relative_factor(j, &r, &q, true, q.rel_h, score);
    relative_factor(j, &r, &q, false, q.rel_w, score);
    for (int64_t i = 0; i < q.n; i++) {
        maximum[i] = -INFINITY;
        sum[i] = 0;
    }
    for (int64_t k0 = 0; k0 < all; k0 += j->bk) {
        int64_t nk = dram_min(j->bk, all - k0);
        gather_keys(j, &r, k0, nk, 1, keys);
        score_product(j, &q, nk, j->scale, keys, j->ld, q.q, score);
        copy_row(before, maximum, q.n);
        bias_and_maximum(j, &q, k0, nk, score, maximum);
        for (int64_t i = 0; k0 > 0 && i < q.n; i++) {
            float factor = dram_expf(before[i] - maximum[i]);
            sum[i] *= factor;
            if (factor != 1.0F) scale_row(out + i * j->ld, factor, d);
        }
        weights_and_sum(&q, nk, score, maximum, sum);
        gather_keys(j, &r, k0, nk, 2, keys);
        sum_over_keys(j, &q, nk, 1, score, keys, k0 > 0, out);
    }
    for (int64_t i = 0; i < q.n; i++) {
        float *to = j->out + out_at(j, &r, query_token(j, &r, q.from + i));
        const float *from = out + i * j->ld;
        float factor = 1.0F / sum[i];
#pragma omp simd
        for (int64_t c = 0; c < d; c++) to[c] = from[c] * factor;
        j->lse[lse_at(j, &r, q.from + i)] = maximum[i] + logf(sum[i]);
    }
}

DRAM_CPU_KERNEL(attention)
{
    job j = job_of(args);
    j.out = args->out[0].data;
    j.lse = args->out[1].data;
    TRY(choose_tiles(&j, j.scratch_row, false));
    dram_pool_run(args->pool, j.n * j.heads * j.down * j.across * j.tiles, forward_tile, &j);
    return DRAM_OK;
}

/* ---- backward ---- */

/* What a query tile needs in the backward, beside its queries; all in scratch. */
typedef struct {
    float *q, *dout, *dq;           /* [n, ld] */
    float *dout_columns;            /* [d, ld] as queries.q */
    float *lse, *delta;             /* [n]; delta: sum over d of dout out */
    float *grad_h, *grad_w;         /* gradients of the factors: [sh, ld], [sw, ld] */
    float *score, *dscore;          /* [score_rows, ld], [bk, ld] */
    float *keys, *values, *grads;   /* [bk, ld] each */
    float *drel_h, *drel_w, *dbias; /* partial sums of the group; dbias [2, heads, d]: k and v */
} backward;

static void weights_again(const job *j, const queries *q, const backward *b, int64_t k0, int64_t nk)
{
    for (int64_t k = 0; k < nk; k++) {
        const float *by_row = q->rel_h + (k0 + k) / j->sw * q->ld, *by_column = q->rel_w + (k0 + k) % j->sw * q->ld;
        float *s = b->score + k * q->ld;
#pragma omp simd
        for (int64_t i = 0; i < q->n; i++) s[i] = dram_expf(s[i] + by_row[i] + by_column[i] - b->lse[i]);
    }
}

/* Of the weights' gradients in dscore makes those of the scores, and sums them by the key's row and column. */
static void score_gradients(const job *j, const queries *q, const backward *b, int64_t k0, int64_t nk)
{
    for (int64_t k = 0; k < nk; k++) {
        float *by_row = b->grad_h + (k0 + k) / j->sw * q->ld, *by_column = b->grad_w + (k0 + k) % j->sw * q->ld;
        const float *p = b->score + k * q->ld;
        float *ds = b->dscore + k * q->ld;
#pragma omp simd
        for (int64_t i = 0; i < q->n; i++) {
            ds[i] = p[i] * (ds[i] - b->delta[i]);
            by_row[i] += ds[i];
            by_column[i] += ds[i];
        }
    }
}

static void add_row(float *to, const float *from, int64_t d)
{
#pragma omp simd
    for (int64_t c = 0; c < d; c++) to[c] += from[c];
}

/* Adds the gradient of keys (part 1) or values (part 2) k0 .. k0 + nk, which is in grads, to that of the query tiles
 * before. Padding goes to the bias. */
static void add_key_gradient(const job *j, const region *r, const queries *q, const backward *b, int64_t k0, int64_t nk,
                             int part)
{
    for (int64_t k = 0; k < nk; k++) {
        int64_t token = key_token(j, r, k0 + k);
        const float *from = b->grads + k * j->ld;
        if (token < 0)
            add_row(b->dbias + (part - 1) * j->dim + r->head * j->d, from, j->d);
        else if (q->from > 0)
            add_row(j->dqkv + qkv_at(j, r, token, part), from, j->d);
        else
            copy_row(j->dqkv + qkv_at(j, r, token, part), from, j->d);
    }
}

static void backward_tile(const job *j, const region *r, const queries *q, const backward *b)
{
    int64_t all = j->sh * j->sw, d = j->d;
    for (int64_t i = 0; i < q->n; i++) {
        const float *dout = b->dout + i * j->ld;
        const float *out = j->saved_out + out_at(j, r, query_token(j, r, q->from + i));
        float sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t c = 0; c < d; c++) sum += dout[c] * out[c];
        b->delta[i] = sum;
        b->lse[i] = j->saved_lse[lse_at(j, r, q->from + i)];
    }
    relative_factor(j, r, q, true, q->rel_h, b->score);
    relative_factor(j, r, q, false, q->rel_w, b->score);
    memset(b->grad_h, 0, (size_t)(j->sh * q->ld) * sizeof(float));
    memset(b->grad_w, 0, (size_t)(j->sw * q->ld) * sizeof(float));
    for (int64_t k0 = 0; k0 < all; k0 += j->bk) {
        int64_t nk = dram_min(j->bk, all - k0);
        gather_keys(j, r, k0, nk, 1, b->keys);
        score_product(j, q, nk, j->scale, b->keys, j->ld, q->q, b->score);
        weights_again(j, q, b, k0, nk);
        gather_keys(j, r, k0, nk, 2, b->values);
        score_product(j, q, nk, 1, b->values, j->ld, b->dout_columns, b->dscore);
        sum_over_queries(j, q, nk, 1, b->score, b->dout, b->grads);
        add_key_gradient(j, r, q, b, k0, nk, 2);
        score_gradients(j, q, b, k0, nk);
        sum_over_queries(j, q, nk, j->scale, b->dscore, b->q, b->grads);
        add_key_gradient(j, r, q, b, k0, nk, 1);
        sum_over_keys(j, q, nk, j->scale, b->dscore, b->keys, k0 > 0, b->dq);
    }
    relative_gradient(j, r, q, b->q, true, b->grad_h, b->score, b->dq, b->drel_h);
    relative_gradient(j, r, q, b->q, false, b->grad_w, b->score, b->dq, b->drel_w);
    for (int64_t i = 0; i < q->n; i++)
        copy_row(j->dqkv + qkv_at(j, r, query_token(j, r, q->from + i), 0), b->dq + i * j->ld, d);
}

static void backward_region(const job *j, const region *r, float *room, float *partial)
{
    int64_t each = dram_ceil_div(r->queries, dram_ceil_div(r->queries, j->bq));
    queries q = {.ld = dram_tile_stride(j->bq)};
    backward b = {.score = take(&room, score_rows(j) * q.ld), .drel_h = partial};
    b.drel_w = b.drel_h + (2 * j->sh - 1) * j->d;
    b.dbias = b.drel_w + (2 * j->sw - 1) * j->d;
    b.dscore = take(&room, j->bk * q.ld);
    b.lse = take(&room, q.ld);
    b.delta = take(&room, q.ld);
    q.rel_h = take(&room, j->sh * q.ld);
    q.rel_w = take(&room, j->sw * q.ld);
    b.grad_h = take(&room, j->sh * q.ld);
    b.grad_w = take(&room, j->sw * q.ld);
    q.q = take(&room, j->d * q.ld);
    b.dout_columns = take(&room, j->d * q.ld);
    b.keys = take(&room, j->bk * j->ld);
    b.values = take(&room, j->bk * j->ld);
    b.grads = take(&room, j->bk * j->ld);
    b.q = take(&room, j->bq * j->ld);
    b.dout = take(&room, j->bq * j->ld);
    b.dq = take(&room, j->bq * j->ld);
    for (; q.from < r->queries; q.from += each) {
        q.n = dram_min(each, r->queries - q.from);
        gather_queries(j, r, q.from, q.n, b.q);
        gather_dout(j, r, q.from, q.n, b.dout);
        transpose(j, b.q, q.n, q.q, q.ld);
        transpose(j, b.dout, q.n, b.dout_columns, q.ld);
        backward_tile(j, r, &q, &b);
    }
}

/* A group is a run of regions (image, head, window) with a partial sum of its own for tables and bias. */
static void backward_group(void *context, int64_t group, int worker)
{
    const job *j = context;
    int64_t regions = j->n * j->heads * j->down * j->across;
    float *partial = j->partial + group * j->partial_floats;
    memset(partial, 0, (size_t)j->partial_floats * sizeof *partial);
    for (int64_t i = group * regions / j->groups; i < (group + 1) * regions / j->groups; i++) {
        region r = region_of(j, i);
        backward_region(j, &r, j->scratch + worker * j->scratch_row, partial);
    }
}

/* out [n] = sum over the groups, in their order, of what lies at that place of their partial sums. */
static void add_groups(const job *j, int64_t at, int64_t n, float *out)
{
    for (int64_t i = 0; i < n; i++) {
        double sum = 0;
        for (int64_t g = 0; g < j->groups; g++) sum += (double)j->partial[g * j->partial_floats + at + i];
        out[i] = (float)sum;
    }
}

/* Divides each worker's share of the workspace into partial sums and a tile. */
static dram_status divide(job *j, int workers)
{
    int64_t floats = j->scratch_row, smallest = tile_floats(j, LEAST_TILE, LEAST_TILE, true), partials = PARTIALS;
    j->partial_floats = 2 * (j->sh + j->sw - 1) * j->d + (j->window ? 2 * j->dim : 0);
    while (partials > 1 &&
           (partials * j->partial_floats > floats / 4 || smallest + partials * j->partial_floats > floats))
        partials--;
    j->scratch_row = (floats - partials * j->partial_floats) / 16 * 16;
    j->partial = j->scratch + workers * j->scratch_row;
    j->groups = dram_min(partials * workers, j->n * j->heads * j->down * j->across);
    return choose_tiles(j, j->scratch_row, true);
}

DRAM_CPU_KERNEL(attention_grad)
{
    job j = job_of(args);
    j.saved_out = args->in[4].data;
    j.saved_lse = args->in[5].data;
    j.dout = args->in[6].data;
    j.dqkv = args->out[0].data;
    TRY(divide(&j, dram_pool_workers(args->pool)));
    dram_pool_run(args->pool, j.groups, backward_group, &j);
    int64_t h_floats = (2 * j.sh - 1) * j.d, w_floats = (2 * j.sw - 1) * j.d;
    float *dbias = args->out[3].data;
    add_groups(&j, 0, h_floats, args->out[1].data);
    add_groups(&j, h_floats, w_floats, args->out[2].data);
    memset(dbias, 0, (size_t)(3 * j.dim) * sizeof *dbias); /* q of a padding token takes no part */
    if (j.window) add_groups(&j, h_floats + w_floats, 2 * j.dim, dbias + j.dim);
    return DRAM_OK;
}
