#include "kernels/cpu/gemm.h"

#include <cblas.h>

#include "kernels/cpu/activation.h"
#include "kernels/cpu/gemm_low.h"

/* A tile thinner than this spends its time in packing the other operand. */
enum { MIN_TILE = 128, MIN_PART = 512, MAX_PARTS = 16, TASKS_PER_WORKER = 4, ROWS_PER_SUM = 16 };

typedef struct {
    const dram_gemm *g;
    int64_t tile_m, tile_n, tile_k; /* size of a task's piece */
    int64_t tiles_m, tiles_n, parts;
    float *partial; /* [parts, M, N] when parts > 1 */
    char *scratch;  /* of worker 0, worker 1, ...; for types other than f32 */
    int64_t scratch_bytes;
} split;

static void fill_rows(const dram_gemm *g)
{
    for (int64_t r = 0; r < g->m; r++) {
        const float *acc = g->acc ? (const float *)g->acc + r * g->ldc : NULL, *from = g->bias ? g->bias : acc;
        float *to = (float *)g->c + r * g->ldc;
        if (g->bias && acc)
            for (int64_t i = 0; i < g->n; i++) to[i] = g->bias[i] + acc[i];
        else if (to != from)
            memcpy(to, from, (size_t)g->n * sizeof *to);
    }
}

static bool all_f32(const dram_gemm *g)
{
    return g->a_type == DRAM_F32 && g->b_type == DRAM_F32 && g->c_type == DRAM_F32;
}

void DRAM_CPU(gemm_one)(const dram_gemm *g)
{
    float beta = g->beta;
    if (!all_f32(g)) {
        if (!DRAM_CPU(gemm_dot)(g)) DRAM_CPU(gemm_widened)(g);
        return;
    }
    if (g->bias || g->acc) {
        fill_rows(g);
        beta = 1.0f;
    }
    cblas_sgemm(CblasRowMajor, g->trans_a ? CblasTrans : CblasNoTrans, g->trans_b ? CblasTrans : CblasNoTrans,
                (int)g->m, (int)g->n, (int)g->k, g->alpha, g->a, (int)g->lda, g->b, (int)g->ldb, beta, g->c,
                (int)g->ldc);
}

/* The piece of tile (tm, tn) and part p of K. */
static dram_gemm piece(const split *s, int64_t tm, int64_t tn, int64_t p, int worker)
{
    dram_gemm g = *s->g;
    int64_t m0 = tm * s->tile_m, n0 = tn * s->tile_n, k0 = p * s->tile_k;
    g.m = dram_min(s->tile_m, g.m - m0);
    g.n = dram_min(s->tile_n, g.n - n0);
    g.k = dram_min(s->tile_k, g.k - k0);
    g.a = dram_gemm_at(g.a, g.a_type, g.trans_a ? k0 * g.lda + m0 : m0 * g.lda + k0);
    g.b = dram_gemm_at(g.b, g.b_type, g.trans_b ? n0 * g.ldb + k0 : k0 * g.ldb + n0);
    g.scratch = s->scratch ? s->scratch + worker * s->scratch_bytes : NULL;
    g.scratch_bytes = s->scratch_bytes;
    if (s->parts == 1) {
        g.c = (void *)(uintptr_t)dram_gemm_at(g.c, g.c_type, m0 * g.ldc + n0);
        if (g.bias) g.bias += n0;
        if (g.acc) g.acc = dram_gemm_at(g.acc, g.c_type, m0 * g.ldc + n0);
        return g;
    }
    g.c = s->partial + p * s->g->m * s->g->n + m0 * s->g->n + n0;
    g.ldc = s->g->n;
    g.beta = 0.0f;
    g.bias = g.acc = NULL;
    return g;
}

static void run_piece(void *context, int64_t task, int worker)
{
    const split *s = context;
    dram_gemm g = piece(s, task / s->parts / s->tiles_n, task / s->parts % s->tiles_n, task % s->parts, worker);
    DRAM_CPU(gemm_one)(&g);
    if (g.act == DRAM_ACT_GELU) DRAM_CPU(gelu_rows)(g.c, g.c_type, 0, g.m, g.n, g.ldc);
}

static void sum_parts(void *context, int64_t task, int worker)
{
    const split *s = context;
    const dram_gemm *g = s->g;
    const float *acc = g->acc;
    (void)worker;
    int64_t end = dram_min((task + 1) * ROWS_PER_SUM, g->m);
    for (int64_t r = task * ROWS_PER_SUM; r < end; r++) {
        float *c = (float *)g->c + r * g->ldc;
        for (int64_t i = 0; i < g->n; i++) {
            const float *part = s->partial + r * g->n + i;
            float sum = part[0];
            for (int64_t p = 1; p < s->parts; p++) sum += part[p * g->m * g->n];
            if (g->bias) sum += g->bias[i];
            if (acc) sum += acc[r * g->ldc + i];
            c[i] = g->beta != 0.0f ? g->beta * c[i] + sum : sum;
        }
    }
}

static int64_t round_up(int64_t a, int64_t multiple)
{
    return dram_ceil_div(a, multiple) * multiple;
}

/* Cuts `size` into at most `want` tiles of no less than MIN_TILE, and gives the tile. */
static int64_t cut(int64_t size, int64_t want)
{
    int64_t tile = round_up(dram_ceil_div(size, want), 16);
    return dram_min(size, tile < MIN_TILE ? MIN_TILE : tile);
}

/* What each worker gets of a workspace. */
static int64_t scratch_share(int64_t bytes, int64_t workers)
{
    return dram_min(bytes / workers / 64 * 64, DRAM_GEMM_SCRATCH_BEST);
}

void DRAM_CPU(gemm)(dram_pool *pool, const dram_gemm *g, void *workspace, int64_t workspace_bytes)
{
    split s = {.g = g, .tile_k = g->k, .parts = 1, .partial = workspace};
    bool low = !all_f32(g);
    int workers = dram_pool_workers(pool);
    int64_t want = workers == 1 ? 1 : (int64_t)TASKS_PER_WORKER * workers;
    int64_t worth = 1 + g->m * g->n / 1024 * g->k / 1024; /* of a pool call: a million multiply-adds a task */
    want = dram_min(want, worth);
    s.tile_m = cut(g->m, want);
    s.tiles_m = dram_ceil_div(g->m, s.tile_m);
    s.tile_n = cut(g->n, dram_ceil_div(want, s.tiles_m));
    s.tiles_n = dram_ceil_div(g->n, s.tile_n);
    int64_t tiles = s.tiles_m * s.tiles_n;
    int64_t share = low ? scratch_share(workspace_bytes / 2, workers) : 0;
    int64_t room = workspace ? (workspace_bytes - workers * share) / (g->m * g->n * (int64_t)sizeof(float)) : 0;
    int64_t parts = dram_min(dram_min(want / tiles, g->k / MIN_PART), dram_min(room, MAX_PARTS));
    if (parts > 1 && g->c_type == DRAM_F32 && g->act == DRAM_ACT_NONE && (!low || share >= DRAM_GEMM_SCRATCH)) {
        s.tile_k = dram_ceil_div(g->k, parts);
        s.parts = dram_ceil_div(g->k, s.tile_k);
    }
    if (low) {
        s.scratch = workspace;
        s.scratch_bytes = s.parts > 1 ? share : scratch_share(workspace_bytes, workers);
        s.partial = (float *)(void *)(s.scratch + workers * s.scratch_bytes);
    }
    dram_pool_run(pool, tiles * s.parts, run_piece, &s);
    if (s.parts > 1) dram_pool_run(pool, dram_ceil_div(g->m, ROWS_PER_SUM), sum_parts, &s);
}
