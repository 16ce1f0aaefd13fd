/* Query tiles: what the forward and the gradient of attention share (attention.h). */
#include "kernels/cpu/attention.h"

#include "kernels/cpu/lowp.h"
#include "kernels/cpu/tile.h"

enum { LEAST_TILE = DRAM_ATTENTION_LEAST_TILE };

/* ---- gathering ---- */

/* d elements of a tensor from `at` on into scratch, filled up to whole vectors. */
static void gather_row(const dram_attention *j, float *to, const void *base, dram_dtype dtype, int64_t at)
{
    dram_lowp_widen(base, dtype, at, j->d, to);
    for (int64_t c = j->d; c < dram_tile_columns(j->d); c++) to[c] = 0;
}

void DRAM_CPU(attention_queries)(const dram_attention *j, const dram_region *r, int64_t from, int64_t n, float *room)
{
    for (int64_t i = 0; i < n; i++)
        gather_row(j, room + i * j->ld, j->qkv, j->dtype, dram_qkv_at(j, r, dram_query_token(j, r, from + i), 0));
}

void DRAM_CPU(attention_dout)(const dram_attention *j, const dram_region *r, int64_t from, int64_t n, float *room)
{
    for (int64_t i = 0; i < n; i++)
        gather_row(j, room + i * j->ld, j->dout, j->dtype, dram_out_at(j, r, dram_query_token(j, r, from + i)));
}

void DRAM_CPU(attention_transpose)(const dram_attention *j, const float *room, int64_t n, float *to, int64_t ld_to)
{
    for (int64_t i = 0; i < n; i++)
        for (int64_t c = 0; c < j->d; c++) to[c * ld_to + i] = room[i * j->ld + c];
    for (int64_t i = n; i < dram_tile_columns(n); i++)
        for (int64_t c = 0; c < j->d; c++) to[c * ld_to + i] = 0;
}

void DRAM_CPU(attention_keys)(const dram_attention *j, const dram_region *r, int64_t from, int64_t n, int part,
                              float *room)
{
    for (int64_t k = 0; k < n; k++) {
        int64_t token = dram_key_token(j, r, from + k);
        if (token < 0)
            gather_row(j, room + k * j->ld, j->bias, DRAM_F32, part * j->dim + r->head * j->d);
        else
            gather_row(j, room + k * j->ld, j->qkv, j->dtype, dram_qkv_at(j, r, token, part));
    }
}

/* ---- products ---- */

void DRAM_CPU(attention_scores)(const dram_attention *j, const dram_queries *q, int64_t m, float alpha, const float *a,
                                int64_t lda, const float *transposed, float *scores)
{
    dram_tile t = {.m = m, .n = dram_tile_columns(q->n), .k = j->d, .alpha = alpha, .a = a, .a_row = lda};
    t.a_column = 1;
    t.b = transposed;
    t.c = scores;
    t.ldb = t.ldc = q->ld;
    DRAM_CPU(tile_product)(&t);
}

void DRAM_CPU(attention_over_keys)(const dram_attention *j, const dram_queries *q, int64_t m, float alpha,
                                   const float *weight, const float *tokens, bool add, float *sum)
{
    dram_tile t = {.m = q->n, .n = dram_tile_columns(j->d), .k = m, .alpha = alpha, .add = add, .a = weight};
    t.a_row = 1;
    t.a_column = q->ld;
    t.b = tokens;
    t.c = sum;
    t.ldb = t.ldc = j->ld;
    DRAM_CPU(tile_product)(&t);
}

/* ---- relative position ---- */

dram_relative DRAM_CPU(attention_relative)(const dram_attention *j, const dram_region *r, int64_t from, int64_t n,
                                           bool vertical)
{
    int64_t last = from + n - 1, low = 0, high = r->cols - 1;
    dram_relative a = {.vertical = vertical, .size = vertical ? j->sh : j->sw};
    if (vertical || from / r->cols == last / r->cols) {
        low = vertical ? from / r->cols : from % r->cols;
        high = vertical ? last / r->cols : last % r->cols;
    }
    a.lowest = low; /* query position p and key position k use row p - k + size - 1 */
    a.count = high - low + a.size;
    return a;
}

void DRAM_CPU(attention_shift)(const dram_region *r, const dram_relative *a, const dram_queries *q, float *factor,
                               float *shifted, bool back)
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

void DRAM_CPU(attention_factor)(const dram_attention *j, const dram_region *r, const dram_queries *q, bool vertical,
                                float *factor, float *room)
{
    dram_relative a = DRAM_CPU(attention_relative)(j, r, q->from, q->n, vertical);
    const float *table = vertical ? j->rel_h : j->rel_w;
    DRAM_CPU(attention_scores)(j, q, a.count, 1, table + a.lowest * j->d, j->d, q->q, room);
    DRAM_CPU(attention_shift)(r, &a, q, factor, room, false);
}

/* ---- scratch ---- */

dram_status DRAM_CPU(attention_tiles)(dram_attention *j, int64_t floats, bool backward)
{
    const dram_attention_sizes s = dram_attention_sizes_of(j);
    int64_t all = j->sh * j->sw;
    j->bq = dram_min(DRAM_ATTENTION_QUERIES, all);
    j->bk = dram_min(DRAM_ATTENTION_KEYS, all);
    while (dram_attention_floats(&s, j->bq, j->bk, backward) > floats) {
        if (j->bq <= LEAST_TILE && j->bk <= LEAST_TILE)
            return dram_fail(DRAM_ERR_INTERNAL, "attention: the workspace does not hold the smallest tile");
        int64_t *larger = j->bk >= j->bq ? &j->bk : &j->bq;
        *larger = *larger > 21 ? *larger * 3 / 4 : LEAST_TILE;
    }
    j->bk = dram_ceil_div(all, dram_ceil_div(all, j->bk)); /* evenly */
    j->tiles = dram_ceil_div(all, j->bq);
    return DRAM_OK;
}

dram_attention DRAM_CPU(attention_of)(const dram_kernel_args *args)
{
    const dram_shape *x = &args->in[0].shape;
    dram_attention j = {
        .qkv = args->in[0].data, .rel_h = args->in[1].data, .rel_w = args->in[2].data, .bias = args->in[3].data};
    j.dtype = args->in[0].dtype;
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
