/* The gradient of attention: see attention.c.
 *
 * Query tiles follow each other, and each adds to the gradients of all keys. In fp32 these are summed in dqkv itself.
 * In bf16 and f16 that would round once a tile, so the gradients of as many keys as fit are held in scratch, in fp32,
 * while all query tiles pass. The first pass meets all keys and gives the gradients of the queries and tables; further
 * ones meet the keys that they hold. So a pair whose key the first pass holds takes five products, as in fp32, and
 * another seven: three there, and four later, two of them made again. */
#include <cblas.h>

#include "kernels/cpu/attention.h"
#include "kernels/cpu/lowp.h"
#include "kernels/cpu/math.h"
#include "kernels/cpu/tile.h"

enum { LEAST_TILE = DRAM_ATTENTION_LEAST_TILE };

/* What a query tile needs in the backward, beside its queries; all in scratch. */
typedef struct {
    float *q, *dout, *dq;   /* [n, ld] */
    float *dout_columns;    /* [d, ld] as queries.q */
    float *lse, *delta;     /* [n]; delta: sum over d of dout out */
    float *grad_h, *grad_w; /* gradients of the factors: [sh, ld], [sw, ld] */
    float *score, *dscore;  /* [score_rows, ld], [bk, ld] */
    float *keys, *values;   /* [bk, ld] each */
    float *grads;           /* fp32: [bk, ld], of the keys or values of a tile */
    float *held;            /* bf16, f16: [2, held, columns], of keys and values first .. first + held */
    int64_t first;
    float *drel_h, *drel_w, *dbias; /* partial sums of the group; dbias [2, heads, d]: k and v */
} backward;

/* sum [m, d], rows ld_sum apart, (+)= alpha weight x tokens, for weight [m, ld] of m keys and tokens [queries, d] */
static void sum_over_queries(const dram_attention *j, const dram_queries *q, int64_t m, float alpha,
                             const float *weight, const float *tokens, bool add, float *sum, int64_t ld_sum)
{
    dram_tile t = {.m = m, .n = dram_tile_columns(j->d), .k = q->n, .alpha = alpha, .add = add, .a = weight};
    t.a_row = q->ld;
    t.a_column = 1;
    t.b = tokens;
    t.c = sum;
    t.ldb = j->ld;
    t.ldc = ld_sum;
    DRAM_CPU(tile_product)(&t);
}

/* Adds what the gradient of a factor means for dq [n, ld] and for the table; rows: the queries, not transposed. */
static void relative_gradient(const dram_attention *j, const dram_region *r, const dram_queries *q,
                              const float *query_rows, bool vertical, float *factor, float *room, float *dq,
                              float *dtable)
{
    dram_relative a = DRAM_CPU(attention_relative)(j, r, q->from, q->n, vertical);
    const float *table = (vertical ? j->rel_h : j->rel_w) + a.lowest * j->d;
    int d = (int)j->d, n = (int)q->n, count = (int)a.count, ld = (int)j->ld, ld_room = (int)q->ld;
    memset(room, 0, (size_t)(a.count * q->ld) * sizeof *room);
    DRAM_CPU(attention_shift)(r, &a, q, factor, room, true);
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, n, d, count, 1, room, ld_room, table, d, 1, dq, ld);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, count, d, n, 1, room, ld_room, query_rows, ld, 1,
                dtable + a.lowest * j->d, d);
}

static void weights_again(const dram_attention *j, const dram_queries *q, const backward *b, int64_t k0, int64_t nk)
{
    for (int64_t k = 0; k < nk; k++) {
        const float *by_row = q->rel_h + (k0 + k) / j->sw * q->ld, *by_column = q->rel_w + (k0 + k) % j->sw * q->ld;
        float *s = b->score + k * q->ld;
#pragma omp simd
        for (int64_t i = 0; i < q->n; i++) s[i] = dram_expf(s[i] + by_row[i] + by_column[i] - b->lse[i]);
    }
}

/* Of the weights' gradients in dscore makes those of the scores, and sums them by the key's row and column. */
static void score_gradients(const dram_attention *j, const dram_queries *q, const backward *b, int64_t k0, int64_t nk)
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

/* Floats to hold the gradients of so many keys and values. */
static int64_t held_floats(const dram_attention *j, int64_t keys)
{
    return dram_attention_held(j->d, keys);
}

static void add_row(float *to, const float *from, int64_t d)
{
#pragma omp simd
    for (int64_t c = 0; c < d; c++) to[c] += from[c];
}

static void copy_row(float *to, const float *from, int64_t d)
{
    memcpy(to, from, (size_t)d * sizeof *to);
}

/* fp32: adds the gradient of keys (part 1) or values (part 2) k0 .. k0 + nk, which is in grads, to that of the query
 * tiles before. Padding goes to the bias. */
static void add_key_gradient(const dram_attention *j, const dram_region *r, const dram_queries *q, const backward *b,
                             int64_t k0, int64_t nk, int part)
{
    float *dqkv = j->dqkv;
    for (int64_t k = 0; k < nk; k++) {
        int64_t token = dram_key_token(j, r, k0 + k);
        const float *from = b->grads + k * j->ld;
        if (token < 0)
            add_row(b->dbias + (part - 1) * j->dim + r->head * j->d, from, j->d);
        else if (q->from > 0)
            add_row(dqkv + dram_qkv_at(j, r, token, part), from, j->d);
        else
            copy_row(dqkv + dram_qkv_at(j, r, token, part), from, j->d);
    }
}

/* The gradient of keys (part 1) or values (part 2) k0 .. k0 + nk: alpha weight x tokens, for all queries of the
 * tile. */
static void key_gradient(const dram_attention *j, const dram_region *r, const dram_queries *q, const backward *b,
                         int64_t k0, int64_t nk, int part, float alpha, const float *weight, const float *tokens)
{
    if (j->dtype == DRAM_F32) {
        sum_over_queries(j, q, nk, alpha, weight, tokens, false, b->grads, j->ld);
        add_key_gradient(j, r, q, b, k0, nk, part);
    } else {
        int64_t columns = dram_tile_columns(j->d);
        float *sum = b->held + ((part - 1) * j->held + k0 - b->first) * columns;
        sum_over_queries(j, q, nk, alpha, weight, tokens, q->from > 0, sum, columns);
    }
}

/* Rounds the gradients held into dqkv. Padding goes to the bias. */
static void put_held(const dram_attention *j, const dram_region *r, const backward *b)
{
    int64_t n = dram_min(j->held, j->sh * j->sw - b->first), columns = dram_tile_columns(j->d);
    for (int part = 1; part <= 2; part++)
        for (int64_t k = 0; k < n; k++) {
            int64_t token = dram_key_token(j, r, b->first + k);
            const float *from = b->held + ((part - 1) * j->held + k) * columns;
            if (token < 0)
                add_row(b->dbias + (part - 1) * j->dim + r->head * j->d, from, j->d);
            else
                dram_lowp_narrow(j->dqkv, j->dtype, dram_qkv_at(j, r, token, part), from, j->d);
        }
}

/* Sums over d of dout out, and lse again. */
static void saved_of_tile(const dram_attention *j, const dram_region *r, const dram_queries *q, const backward *b)
{
    for (int64_t i = 0; i < q->n; i++) {
        const float *dout = b->dout + i * j->ld;
        int64_t at = dram_out_at(j, r, dram_query_token(j, r, q->from + i));
        const float *out = dram_lowp_load(j->saved_out, j->dtype, at, j->d, b->dq); /* which is not in use yet */
        float sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t c = 0; c < j->d; c++) sum += dout[c] * out[c];
        b->delta[i] = sum;
        b->lse[i] = j->saved_lse[dram_lse_at(j, r, q->from + i)];
    }
}

static void backward_tile(const dram_attention *j, const dram_region *r, const dram_queries *q, const backward *b)
{
    int64_t all = j->sh * j->sw, end = b->first + j->held;
    bool all_keys = b->first == 0; /* this pass gives dq and what the tables get */
    saved_of_tile(j, r, q, b);
    DRAM_CPU(attention_factor)(j, r, q, true, q->rel_h, b->score);
    DRAM_CPU(attention_factor)(j, r, q, false, q->rel_w, b->score);
    memset(b->grad_h, 0, (size_t)(j->sh * q->ld) * sizeof(float));
    memset(b->grad_w, 0, (size_t)(j->sw * q->ld) * sizeof(float));
    for (int64_t k0 = b->first; k0 < (all_keys ? all : dram_min(all, end)); k0 += j->bk) {
        int64_t nk = dram_min(j->bk, all - k0);
        DRAM_CPU(attention_keys)(j, r, k0, nk, 1, b->keys);
        DRAM_CPU(attention_scores)(j, q, nk, j->scale, b->keys, j->ld, q->q, b->score);
        weights_again(j, q, b, k0, nk);
        DRAM_CPU(attention_keys)(j, r, k0, nk, 2, b->values);
        DRAM_CPU(attention_scores)(j, q, nk, 1, b->values, j->ld, b->dout_columns, b->dscore);
        if (k0 < end) key_gradient(j, r, q, b, k0, nk, 2, 1, b->score, b->dout);
        score_gradients(j, q, b, k0, nk);
        if (k0 < end) key_gradient(j, r, q, b, k0, nk, 1, j->scale, b->dscore, b->q);
        if (all_keys) DRAM_CPU(attention_over_keys)(j, q, nk, j->scale, b->dscore, b->keys, k0 > 0, b->dq);
    }
    if (!all_keys) return;
    relative_gradient(j, r, q, b->q, true, b->grad_h, b->score, b->dq, b->drel_h);
    relative_gradient(j, r, q, b->q, false, b->grad_w, b->score, b->dq, b->drel_w);
    for (int64_t i = 0; i < q->n; i++) {
        int64_t at = dram_qkv_at(j, r, dram_query_token(j, r, q->from + i), 0);
        dram_lowp_narrow(j->dqkv, j->dtype, at, b->dq + i * j->ld, j->d);
    }
}

static void backward_region(const dram_attention *j, const dram_region *r, float *room, float *partial)
{
    bool low = j->dtype != DRAM_F32;
    int64_t each = dram_ceil_div(r->queries, dram_ceil_div(r->queries, j->bq));
    dram_queries q = {.ld = dram_tile_stride(j->bq)};
    backward b = {.score = dram_take(&room, dram_score_rows(j) * q.ld), .drel_h = partial};
    b.drel_w = b.drel_h + (2 * j->sh - 1) * j->d;
    b.dbias = b.drel_w + (2 * j->sw - 1) * j->d;
    b.dscore = dram_take(&room, j->bk * q.ld);
    b.lse = dram_take(&room, q.ld);
    b.delta = dram_take(&room, q.ld);
    q.rel_h = dram_take(&room, j->sh * q.ld);
    q.rel_w = dram_take(&room, j->sw * q.ld);
    b.grad_h = dram_take(&room, j->sh * q.ld);
    b.grad_w = dram_take(&room, j->sw * q.ld);
    q.q = dram_take(&room, j->d * q.ld);
    b.dout_columns = dram_take(&room, j->d * q.ld);
    b.keys = dram_take(&room, j->bk * j->ld);
    b.values = dram_take(&room, j->bk * j->ld);
    if (!low) b.grads = dram_take(&room, j->bk * j->ld);
    b.q = dram_take(&room, j->bq * j->ld);
    b.dout = dram_take(&room, j->bq * j->ld);
    b.dq = dram_take(&room, j->bq * j->ld);
    if (low) b.held = dram_take(&room, held_floats(j, j->held));
    for (; b.first < j->sh * j->sw; b.first += j->held) {
        for (q.from = 0; q.from < r->queries; q.from += each) {
            q.n = dram_min(each, r->queries - q.from);
            DRAM_CPU(attention_queries)(j, r, q.from, q.n, b.q);
            DRAM_CPU(attention_dout)(j, r, q.from, q.n, b.dout);
            DRAM_CPU(attention_transpose)(j, b.q, q.n, q.q, q.ld);
            DRAM_CPU(attention_transpose)(j, b.dout, q.n, b.dout_columns, q.ld);
            backward_tile(j, r, &q, &b);
        }
        if (low) put_held(j, r, &b);
    }
}

/* A group is a run of regions (image, head, window) with a partial sum of its own for tables and bias. */
static void backward_group(void *context, int64_t group, int worker)
{
    const dram_attention *j = context;
    int64_t regions = j->n * j->heads * j->down * j->across;
    float *partial = j->partial + group * j->partial_floats;
    memset(partial, 0, (size_t)j->partial_floats * sizeof *partial);
    for (int64_t i = group * regions / j->groups; i < (group + 1) * regions / j->groups; i++) {
        dram_region r = dram_region_of(j, i);
        backward_region(j, &r, j->scratch + worker * j->scratch_row, partial);
    }
}

/* out [n] = sum over the groups, in their order, of what lies at that place of their partial sums. */
static void add_groups(const dram_attention *j, int64_t at, int64_t n, float *out)
{
    for (int64_t i = 0; i < n; i++) {
        double sum = 0;
        for (int64_t g = 0; g < j->groups; g++) sum += (double)j->partial[g * j->partial_floats + at + i];
        out[i] = (float)sum;
    }
}

/* Tiles, and the keys whose gradients are held: all of them, or about half of the scratch, in whole tiles. */
static dram_status divide_tile(dram_attention *j)
{
    const dram_attention_sizes s = dram_attention_sizes_of(j);
    int64_t all = j->sh * j->sw, room = j->scratch_row, row = held_floats(j, 1);
    j->held = all;
    if (j->dtype == DRAM_F32) return DRAM_CPU(attention_tiles)(j, room, true);
    int64_t most = (room - dram_attention_floats(&s, LEAST_TILE, LEAST_TILE, true)) / row;
    most = dram_min(room / 2 / row, most);
    if (most < LEAST_TILE) most = LEAST_TILE;
    most = dram_min(most, all);
    TRY(DRAM_CPU(attention_tiles)(j, room - most * row, true));
    if (most < all) {
        j->bk = dram_min(j->bk, most);
        j->held = dram_min(all, (room - dram_attention_floats(&s, j->bq, j->bk, true)) / row / j->bk * j->bk);
    }
    return DRAM_OK;
}

/* Divides each worker's share of the workspace into partial sums and a tile with what it holds. */
static dram_status divide(dram_attention *j, int workers)
{
    const dram_attention_sizes s = dram_attention_sizes_of(j);
    bool low = s.low;
    int64_t floats = j->scratch_row, partials = DRAM_ATTENTION_PARTIALS, part = low ? 8 : 4;
    int64_t smallest = dram_attention_floats(&s, LEAST_TILE, LEAST_TILE, true);
    if (low) smallest += held_floats(j, dram_min(LEAST_TILE, j->sh * j->sw));
    j->partial_floats = dram_attention_partial(j->sh, j->sw, j->d, j->dim, j->window);
    while (partials > 1 &&
           (partials * j->partial_floats > floats / part || smallest + partials * j->partial_floats > floats))
        partials--;
    j->scratch_row = (floats - partials * j->partial_floats) / 16 * 16;
    j->partial = j->scratch + workers * j->scratch_row;
    j->groups = dram_min(partials * workers, j->n * j->heads * j->down * j->across);
    return divide_tile(j);
}

DRAM_CPU_KERNEL(attention_grad)
{
    dram_attention j = DRAM_CPU(attention_of)(args);
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
