/* attention: what the forward (attention.c) and the gradient (attention_grad.c) share; attention_tile.c has it. See
 * attention.c for the method.
 *
 * qkv, out and their gradients are f32, bf16 or f16. Rows of them are widened when they are gathered into scratch and
 * rounded when they are put back; between the two all is fp32.
 */
#ifndef DRAM_KERNELS_CPU_ATTENTION_H
#define DRAM_KERNELS_CPU_ATTENTION_H

#include "kernels/cpu/cpu.h"
#include "scratch/attention.h"

typedef struct {
    dram_dtype dtype; /* of qkv, out, dout and dqkv */
    const void *qkv;  /* [N,H,W,3,heads,d] */
    const float *rel_h, *rel_w, *bias;
    const void *saved_out, *dout;
    const float *saved_lse;
    void *out;  /* [N,H,W,heads,d] */
    float *lse; /* [N,heads,H,W] */
    void *dqkv;
    float *partial;
    int64_t n, h, w, heads, d, dim, window;
    int64_t sh, sw;        /* grid of the keys */
    int64_t across, down;  /* windows in a row, in a column; 1 and 1 if global */
    int64_t bq, bk, tiles; /* most queries and keys of a tile; query tiles of a full region */
    int64_t held;          /* backward: keys whose gradients are summed at a time */
    int64_t ld;            /* from one row of d floats in scratch to the next */
    float scale;           /* d^-1/2 */
    float *scratch;
    int64_t scratch_row; /* floats a worker */
    int64_t groups, partial_floats;
} dram_attention;

/* The queries of one image, head and window: the rows x cols real tokens from (y0, x0) on, row by row. */
typedef struct {
    int64_t image, head, y0, x0, rows, cols, queries;
} dram_region;

/* Part of a query tile that the passes over keys share. */
typedef struct {
    int64_t from, n, ld;  /* queries; ld: from one key's scores to the next */
    float *q;             /* [d, ld]: transposed, columns n .. are 0 up to a whole vector */
    float *rel_h, *rel_w; /* [sh, ld], [sw, ld] */
} dram_queries;

/* Row (or column) of query i in the region, and the rows of its table that a tile needs: from lowest on. */
typedef struct {
    bool vertical;
    int64_t size, lowest, count; /* size: sh or sw */
} dram_relative;

/* ---- geometry ---- */

static inline dram_region dram_region_of(const dram_attention *j, int64_t index)
{
    int64_t windows = j->across * j->down, window = index % windows, head = index / windows % j->heads;
    dram_region r = {.image = index / windows / j->heads, .head = head};
    r.y0 = window / j->across * j->sh;
    r.x0 = window % j->across * j->sw;
    r.rows = dram_min(j->sh, j->h - r.y0);
    r.cols = dram_min(j->sw, j->w - r.x0);
    r.queries = r.rows * r.cols;
    return r;
}

/* Token of the whole batch that is query i. */
static inline int64_t dram_query_token(const dram_attention *j, const dram_region *r, int64_t i)
{
    return (r->image * j->h + r->y0 + i / r->cols) * j->w + r->x0 + i % r->cols;
}

/* Token that is key k, -1 for padding. */
static inline int64_t dram_key_token(const dram_attention *j, const dram_region *r, int64_t k)
{
    int64_t y = k / j->sw, x = k % j->sw;
    return y < r->rows && x < r->cols ? (r->image * j->h + r->y0 + y) * j->w + r->x0 + x : -1;
}

/* part: 0 q, 1 k, 2 v */
static inline int64_t dram_qkv_at(const dram_attention *j, const dram_region *r, int64_t token, int part)
{
    return token * 3 * j->dim + part * j->dim + r->head * j->d;
}

static inline int64_t dram_out_at(const dram_attention *j, const dram_region *r, int64_t token)
{
    return token * j->dim + r->head * j->d;
}

static inline int64_t dram_lse_at(const dram_attention *j, const dram_region *r, int64_t i)
{
    return ((r->image * j->heads + r->head) * j->h + r->y0 + i / r->cols) * j->w + r->x0 + i % r->cols;
}

/* Rows of keys' scores in scratch: a product with a table needs them too. */
static inline int64_t dram_score_rows(const dram_attention *j)
{
    int64_t table = 2 * (j->sh > j->sw ? j->sh : j->sw) - 1;
    return j->bk > table ? j->bk : table;
}

static inline float *dram_take(float **room, int64_t floats)
{
    float *p = *room;
    *room += floats;
    return p;
}

/* ---- attention_tile.c ---- */

/* Sizes and inputs; no tiles yet. */
dram_attention DRAM_CPU(attention_of)(const dram_kernel_args *args);

/* The largest tiles that fit in so many floats. */
dram_status DRAM_CPU(attention_tiles)(dram_attention *j, int64_t floats, bool backward);

/* What the bytes of scratch depend on. */
static inline dram_attention_sizes dram_attention_sizes_of(const dram_attention *j)
{
    return (dram_attention_sizes){.low = j->dtype != DRAM_F32, .sh = j->sh, .sw = j->sw, .d = j->d};
}

/* Queries from .. from + n (of q, or of dout), or keys (part 1) or values (2), into room [n, ld]. */
void DRAM_CPU(attention_queries)(const dram_attention *j, const dram_region *r, int64_t from, int64_t n, float *room);
void DRAM_CPU(attention_dout)(const dram_attention *j, const dram_region *r, int64_t from, int64_t n, float *room);
void DRAM_CPU(attention_keys)(const dram_attention *j, const dram_region *r, int64_t from, int64_t n, int part,
                              float *room);

/* room [n, ld] to [d, ld_to] */
void DRAM_CPU(attention_transpose)(const dram_attention *j, const float *room, int64_t n, float *to, int64_t ld_to);

/* scores [m, ld] = alpha a [m, d] x transposed [d, ld] */
void DRAM_CPU(attention_scores)(const dram_attention *j, const dram_queries *q, int64_t m, float alpha, const float *a,
                                int64_t lda, const float *transposed, float *scores);

/* sum [queries, d] (+)= alpha weight^T x tokens, for weight [m, ld] of m keys and their tokens [m, d] */
void DRAM_CPU(attention_over_keys)(const dram_attention *j, const dram_queries *q, int64_t m, float alpha,
                                   const float *weight, const float *tokens, bool add, float *sum);

dram_relative DRAM_CPU(attention_relative)(const dram_attention *j, const dram_region *r, int64_t from, int64_t n,
                                           bool vertical);

/* Moves between factor [size, ld] (a row for each key position) and shifted [count, ld] (a row for each row of the
 * table): factor[k, i] = shifted[p(i) - k + size - 1 - lowest, i], or the other way round. */
void DRAM_CPU(attention_shift)(const dram_region *r, const dram_relative *a, const dram_queries *q, float *factor,
                               float *shifted, bool back);

/* factor [size, ld] = the products of the tile's queries with the table row of each key position. */
void DRAM_CPU(attention_factor)(const dram_attention *j, const dram_region *r, const dram_queries *q, bool vertical,
                                float *factor, float *room);

#endif
