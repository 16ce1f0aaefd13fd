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
#include "kernels/cpu/attention.h"
#include "kernels/cpu/lowp.h"
#include "kernels/cpu/math.h"
#include "kernels/cpu/tile.h"

/* Adds the relative terms to the scores of keys k0 .. k0 + nk and raises the maxima. */
static void bias_and_maximum(const dram_attention *j, const dram_queries *q, int64_t k0, int64_t nk, float *score,
                             float *maximum)
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

static void weights_and_sum(const dram_queries *q, int64_t nk, float *score, const float *maximum, float *sum)
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
    const dram_attention *j = context;
    dram_region r = dram_region_of(j, task / j->tiles);
    int64_t each = dram_ceil_div(r.queries, dram_ceil_div(r.queries, j->bq)), all = j->sh * j->sw, d = j->d;
    dram_queries q = {.from = task % j->tiles * each, .ld = dram_tile_stride(j->bq)};
    if (q.from >= r.queries) return;
    q.n = dram_min(each, r.queries - q.from);

    float *room = j->scratch + worker * j->scratch_row, *score = dram_take(&room, dram_score_rows(j) * q.ld);
    float *maximum = dram_take(&room, q.ld), *before = dram_take(&room, q.ld), *sum = dram_take(&room, q.ld);
    float *keys = dram_take(&room, j->bk * j->ld), *out = dram_take(&room, j->bq * j->ld);
    q.q = dram_take(&room, d * q.ld);
    q.rel_h = dram_take(&room, j->sh * q.ld);
    q.rel_w = dram_take(&room, j->sw * q.ld);

    DRAM_CPU(attention_queries)(j, &r, q.from, q.n, out);
    DRAM_CPU(attention_transpose)(j, out, q.n, q.q, q.ld);
    DRAM_CPU(attention_factor)(j, &r, &q, true, q.rel_h, score);
    DRAM_CPU(attention_factor)(j, &r, &q, false, q.rel_w, score);
    for (int64_t i = 0; i < q.n; i++) {
        maximum[i] = -INFINITY;
        sum[i] = 0;
    }
    for (int64_t k0 = 0; k0 < all; k0 += j->bk) {
        int64_t nk = dram_min(j->bk, all - k0);
        DRAM_CPU(attention_keys)(j, &r, k0, nk, 1, keys);
        DRAM_CPU(attention_scores)(j, &q, nk, j->scale, keys, j->ld, q.q, score);
        memcpy(before, maximum, (size_t)q.n * sizeof *before);
        bias_and_maximum(j, &q, k0, nk, score, maximum);
        for (int64_t i = 0; k0 > 0 && i < q.n; i++) {
            float factor = dram_expf(before[i] - maximum[i]);
            sum[i] *= factor;
            if (factor != 1.0F) scale_row(out + i * j->ld, factor, d);
        }
        weights_and_sum(&q, nk, score, maximum, sum);
        DRAM_CPU(attention_keys)(j, &r, k0, nk, 2, keys);
        DRAM_CPU(attention_over_keys)(j, &q, nk, 1, score, keys, k0 > 0, out);
    }
    for (int64_t i = 0; i < q.n; i++) {
        scale_row(out + i * j->ld, 1.0F / sum[i], d);
        dram_lowp_narrow(j->out, j->dtype, dram_out_at(j, &r, dram_query_token(j, &r, q.from + i)), out + i * j->ld, d);
        j->lse[dram_lse_at(j, &r, q.from + i)] = maximum[i] + logf(sum[i]);
    }
}

DRAM_CPU_KERNEL(attention)
{
    dram_attention j = DRAM_CPU(attention_of)(args);
    j.out = args->out[0].data;
    j.lse = args->out[1].data;
    TRY(DRAM_CPU(attention_tiles)(&j, j.scratch_row, false));
    dram_pool_run(args->pool, j.n * j.heads * j.down * j.across * j.tiles, forward_tile, &j);
    return DRAM_OK;
}
