/* Convolution with wide groups: gathered rows times the BLAS. */
#include "kernels/cpu/conv.h"
#include "kernels/cpu/gemm.h"

/* TILE rows keep the BLAS's packing of the weight small beside the product. */
enum { TILE = 384, MIN_TILE = 64, TASKS_PER_WORKER = 4, MAX_PARTS = 16 };
enum { SUM_OUTPUTS = 512 }; /* at most, of a tile of sums that are to be rounded */

typedef struct {
    const dram_conv *v;
    int64_t pixels, tile, tiles;
    int64_t taps;     /* gathered at a time */
    int64_t sum_size; /* bytes of a pixel's sums in scratch; 0: a product gives the output itself */
    int64_t parts, tap_chunks, o_chunk, o_chunks;
} job;

/* Scratch for tiles. */
static int64_t room_of(const dram_conv *v)
{
    return v->scratch_bytes - v->gemm_bytes;
}

static char *scratch_of(const dram_conv *v, int worker)
{
    return v->scratch + worker * v->scratch_bytes;
}

/* The product with its types (C: as given) and the worker's scratch. */
static void multiply(const dram_conv *v, dram_gemm *g, int worker)
{
    g->a_type = g->b_type = v->dtype;
    g->scratch = scratch_of(v, worker) + room_of(v);
    g->scratch_bytes = v->gemm_bytes;
    DRAM_CPU(gemm_one)(g);
}

/* A tile of `pixels` rows: TILE, or less where that keeps workers idle or does not fit; bytes: of one row. */
static int64_t pick_tile(const dram_conv *v, int64_t pixels, int64_t bytes)
{
    int64_t share = dram_ceil_div(pixels, (int64_t)TASKS_PER_WORKER * dram_pool_workers(v->pool));
    int64_t room = room_of(v) / bytes;
    int64_t tile = dram_min(TILE, share < MIN_TILE ? MIN_TILE : share);
    tile = dram_min(tile, dram_min(room, pixels));
    return tile < 1 ? 1 : tile;
}

/* Row r of dst [count, taps ci] is what taps [t0, t0 + taps) of output pixel p0 + r read of group g. */
static void gather(const dram_conv *v, int64_t g, int64_t p0, int64_t count, int64_t t0, int64_t taps, char *dst)
{
    const int64_t pixel = v->ci * v->size, step = v->c * v->size;
    for (int64_t p = p0; p < p0 + count; p++) {
        int64_t ix0 = p % v->ow * v->stride - v->pad, rest = p / v->ow;
        int64_t iy0 = rest % v->oh * v->stride - v->pad;
        const char *image = dram_conv_at(v, v->x, rest / v->oh * v->h * v->w * v->c + g * v->ci);
        for (int64_t t = t0; t < t0 + taps;) {
            int64_t kx = t % v->kw, iy = iy0 + t / v->kw, ix = ix0 + kx;
            int64_t run = dram_min(v->kw - kx, t0 + taps - t); /* taps of this kernel row */
            int64_t left = ix < 0 ? dram_min(-ix, run) : 0;    /* of them outside */
            int64_t right = ix + run > v->w ? dram_min(ix + run - v->w, run) : 0;
            if (iy < 0 || iy >= v->h || left + right >= run) {
                memset(dst, 0, (size_t)(run * pixel));
            } else {
                const char *src = image + (iy * v->w + ix + left) * step;
                int64_t inside = run - left - right;
                memset(dst, 0, (size_t)(left * pixel));
                if (v->groups == 1)
                    memcpy(dst + left * pixel, src, (size_t)(inside * pixel));
                else
                    for (int64_t i = 0; i < inside; i++)
                        memcpy(dst + (left + i) * pixel, src + i * step, (size_t)pixel);
                memset(dst + (run - right) * pixel, 0, (size_t)(right * pixel));
            }
            dst += run * pixel;
            t += run;
        }
    }
}

/* ---- forward ---- */

/* Outputs o0 .. o0 + n of the pixels p0 .. p0 + m: those of one group. */
static void forward_outputs(const job *j, int64_t p0, int64_t m, int64_t o0, int64_t n, int worker)
{
    const dram_conv *v = j->v;
    char *sum = scratch_of(v, worker), *col = sum + j->tile * j->sum_size;
    int64_t taps = v->kh * v->kw, out = p0 * v->o + o0;
    for (int64_t t = 0; t < taps; t += j->taps) {
        int64_t some = dram_min(j->taps, taps - t);
        gather(v, o0 / v->co, p0, m, t, some, col);
        dram_gemm product = {.trans_b = true,
                             .m = m,
                             .n = n,
                             .k = some * v->ci,
                             .alpha = 1.0f,
                             .beta = t > 0 ? 1.0f : 0.0f,
                             .a = col,
                             .lda = some * v->ci,
                             .b = dram_conv_at(v, v->weight, o0 * v->k + t * v->ci),
                             .ldb = v->k,
                             .c = j->sum_size > 0 ? sum : (char *)v->out + out * v->size,
                             .ldc = j->sum_size > 0 ? n : v->o,
                             .bias = t == 0 && v->bias ? v->bias + o0 : NULL,
                             .c_type = j->sum_size > 0 ? DRAM_F32 : v->dtype};
        multiply(v, &product, worker);
    }
    dram_pixels to = {.dtype = v->dtype, .at = out, .step = v->o, .count = m, .channels = n};
    if (j->sum_size > 0) DRAM_CPU(pixels_narrow)(&to, (const float *)(void *)sum, v->out);
}

static void forward_tile(void *context, int64_t task, int worker)
{
    const job *j = context;
    const dram_conv *v = j->v;
    int64_t p0 = task * j->tile, m = dram_min(j->tile, j->pixels - p0);
    int64_t most = j->sum_size > 0 ? dram_min(SUM_OUTPUTS, v->co) : v->co;
    for (int64_t g = 0; g < v->groups; g++)
        for (int64_t o = 0; o < v->co; o += most)
            forward_outputs(j, p0, m, g * v->co + o, dram_min(most, v->co - o), worker);
}

void DRAM_CPU(conv_gather_forward)(const dram_conv *v)
{
    job j = {.v = v, .pixels = v->n * v->oh * v->ow};
    int64_t tap = v->ci * v->size, taps = v->kh * v->kw;
    if (v->dtype != DRAM_F32 && taps > 1) j.sum_size = dram_min(SUM_OUTPUTS, v->co) * (int64_t)sizeof(float);
    j.tile = pick_tile(v, j.pixels, tap + j.sum_size);
    if (j.tile * taps * tap <= room_of(v)) j.sum_size = 0;
    j.taps = dram_min((room_of(v) - j.tile * j.sum_size) / (j.tile * tap), taps);
    dram_pool_run(v->pool, dram_ceil_div(j.pixels, j.tile), forward_tile, &j);
}

/* ---- dgrad: the pixels of x whose row and column leave the same remainders by the stride meet the same taps ---- */

typedef struct {
    const dram_conv *v;
    int64_t tile;
} dgrad_job;

typedef struct {
    int64_t a, b;   /* remainders of iy + pad, ix + pad */
    int64_t y0, x0; /* first pixel */
    int64_t h, w;   /* pixels */
} residue;

static residue pixels_of(const dram_conv *v, int64_t index)
{
    residue c = {.a = index / v->stride, .b = index % v->stride};
    c.y0 = c.a - v->pad - dram_floor_div(c.a - v->pad, v->stride) * v->stride;
    c.x0 = c.b - v->pad - dram_floor_div(c.b - v->pad, v->stride) * v->stride;
    c.h = c.y0 < v->h ? dram_ceil_div(v->h - c.y0, v->stride) : 0;
    c.w = c.x0 < v->w ? dram_ceil_div(v->w - c.x0, v->stride) : 0;
    return c;
}

static int64_t tiles_of(const dgrad_job *j, const residue *c)
{
    return dram_ceil_div(j->v->n * c->h * c->w, j->tile);
}

/* dy of group g where tap (ky, kx) met the pixels p0 .. of the residue: [count, co]; false if it met none of them. */
static bool gather_dy(const dram_conv *v, const residue *c, int64_t g, int64_t p0, int64_t count, int64_t ky,
                      int64_t kx, char *dst)
{
    const int64_t pixel = v->co * v->size;
    int64_t dy = (c->y0 + v->pad - ky) / v->stride, dx = (c->x0 + v->pad - kx) / v->stride; /* without remainder */
    bool any = false;
    for (int64_t p = p0; p < p0 + count; p++, dst += pixel) {
        int64_t ox = p % c->w + dx, rest = p / c->w;
        int64_t oy = rest % c->h + dy, n = rest / c->h;
        if (oy < 0 || oy >= v->oh || ox < 0 || ox >= v->ow) {
            memset(dst, 0, (size_t)pixel);
            continue;
        }
        any = true;
        memcpy(dst, dram_conv_at(v, v->y, ((n * v->oh + oy) * v->ow + ox) * v->o + g * v->co), (size_t)pixel);
    }
    return any;
}

/* out = sum (+ acc) for one pixel's channels of a group, from element `at` on. */
static void put_pixel(const dram_conv *v, int64_t at, float *sum)
{
    if (v->dtype == DRAM_F32) {
        float *out = (float *)v->out + at;
        const float *acc = v->acc;
        if (acc)
            for (int64_t i = 0; i < v->ci; i++) out[i] = acc[at + i] + sum[i];
        else
            memcpy(out, sum, (size_t)v->ci * sizeof *out);
        return;
    }
    float there[64];
    for (int64_t i = 0; v->acc && i < v->ci; i += 64) {
        int64_t n = dram_min(64, v->ci - i);
        dram_lowp_widen(v->acc, v->dtype, at + i, n, there);
        for (int64_t k = 0; k < n; k++) sum[i + k] += there[k];
    }
    dram_lowp_narrow(v->out, v->dtype, at, sum, v->ci);
}

static void dgrad_group(const dram_conv *v, const residue *c, int64_t g, int64_t p0, int64_t m, float *sum, char *col,
                        int worker)
{
    float beta = 0.0f;
    for (int64_t ky = c->a; ky < v->kh; ky += v->stride)
        for (int64_t kx = c->b; kx < v->kw; kx += v->stride) {
            if (!gather_dy(v, c, g, p0, m, ky, kx, col)) continue;
            dram_gemm product = {.m = m,
                                 .n = v->ci,
                                 .k = v->co,
                                 .alpha = 1.0f,
                                 .beta = beta,
                                 .a = col,
                                 .lda = v->co,
                                 .b = dram_conv_at(v, v->weight, g * v->co * v->k + (ky * v->kw + kx) * v->ci),
                                 .ldb = v->k,
                                 .c = sum,
                                 .ldc = v->ci};
            multiply(v, &product, worker);
            beta = 1.0f;
        }
    if (beta == 0.0f) memset(sum, 0, (size_t)(m * v->ci) * sizeof *sum);
    for (int64_t p = p0; p < p0 + m; p++, sum += v->ci) {
        int64_t ix = c->x0 + p % c->w * v->stride, rest = p / c->w;
        int64_t iy = c->y0 + rest % c->h * v->stride;
        put_pixel(v, ((rest / c->h * v->h + iy) * v->w + ix) * v->c + g * v->ci, sum);
    }
}

static void dgrad_tile(void *context, int64_t task, int worker)
{
    const dgrad_job *j = context;
    const dram_conv *v = j->v;
    float *sum = (float *)(void *)scratch_of(v, worker);
    char *col = (char *)(sum + j->tile * v->ci);
    int64_t index = 0;
    residue c = pixels_of(v, 0);
    while (task >= tiles_of(j, &c)) {
        task -= tiles_of(j, &c);
        c = pixels_of(v, ++index);
    }
    int64_t p0 = task * j->tile, m = dram_min(j->tile, v->n * c.h * c.w - p0);
    for (int64_t g = 0; g < v->groups; g++) dgrad_group(v, &c, g, p0, m, sum, col, worker);
}

void DRAM_CPU(conv_gather_dgrad)(const dram_conv *v)
{
    dgrad_job j = {.v = v};
    residue first = pixels_of(v, 0);
    int64_t tasks = 0, pixels = v->n * first.h * first.w;
    j.tile = pick_tile(v, pixels > 0 ? pixels : 1, v->co * v->size + v->ci * (int64_t)sizeof(float));
    for (int64_t i = 0; i < v->stride * v->stride; i++) {
        residue c = pixels_of(v, i);
        tasks += tiles_of(&j, &c);
    }
    dram_pool_run(v->pool, tasks, dgrad_tile, &j);
}

/* ---- wgrad ---- */

/* Task (part of the pixels, chunk of taps, chunk of a group's outputs): that piece of the part's dw. */
static void wgrad_piece(void *context, int64_t task, int worker)
{
    const job *j = context;
    const dram_conv *v = j->v;
    char *col = scratch_of(v, worker);
    int64_t part = task % j->parts, t0 = task / j->parts % j->tap_chunks * j->taps;
    int64_t o0 = task / j->parts / j->tap_chunks * j->o_chunk, n = dram_min(j->taps, v->kh * v->kw - t0);
    float *dw = j->parts > 1 ? v->partial + part * v->o * v->k : v->out;
    for (int64_t g = 0; g < v->groups; g++)
        for (int64_t t = part * j->tiles / j->parts; t < (part + 1) * j->tiles / j->parts; t++) {
            int64_t p0 = t * j->tile, m = dram_min(j->tile, j->pixels - p0);
            gather(v, g, p0, m, t0, n, col);
            dram_gemm product = {.trans_a = true,
                                 .m = dram_min(j->o_chunk, v->co - o0),
                                 .n = n * v->ci,
                                 .k = m,
                                 .alpha = 1.0f,
                                 .beta = t > part * j->tiles / j->parts ? 1.0f : 0.0f,
                                 .a = dram_conv_at(v, v->y, p0 * v->o + g * v->co + o0),
                                 .lda = v->o,
                                 .b = col,
                                 .ldb = n * v->ci,
                                 .c = dw + (g * v->co + o0) * v->k + t0 * v->ci,
                                 .ldc = v->k};
            multiply(v, &product, worker);
        }
}

static void sum_parts(void *context, int64_t task, int worker)
{
    const job *j = context;
    const dram_conv *v = j->v;
    (void)worker;
    for (int64_t i = task * v->k; i < (task + 1) * v->k; i++) {
        float sum = v->partial[i];
        for (int64_t p = 1; p < j->parts; p++) sum += v->partial[p * v->o * v->k + i];
        ((float *)v->out)[i] = sum;
    }
}

void DRAM_CPU(conv_gather_wgrad)(const dram_conv *v)
{
    enum { MIN_OUTPUTS = 64 };
    job j = {.v = v, .pixels = v->n * v->oh * v->ow, .o_chunk = v->co, .o_chunks = 1};
    int64_t taps = v->kh * v->kw, want = (int64_t)TASKS_PER_WORKER * dram_pool_workers(v->pool);
    int64_t room = v->partial_bytes / (v->o * v->k * (int64_t)sizeof(float));
    int64_t tap = v->ci * v->size;
    j.tile = pick_tile(v, j.pixels, tap);
    j.tiles = dram_ceil_div(j.pixels, j.tile);
    j.parts = dram_min(dram_min(room, want), dram_min(j.tiles, MAX_PARTS));
    if (j.parts < 1) j.parts = 1;
    /* What the parts lack in tasks, pieces of dw make up; each piece gathers again, so no more than needed. */
    j.taps = dram_min(room_of(v) / (j.tile * tap), taps);
    j.taps = dram_min(j.taps, dram_ceil_div(taps, dram_ceil_div(want, j.parts)));
    j.tap_chunks = dram_ceil_div(taps, j.taps);
    if (j.parts * j.tap_chunks < want && v->co >= 2 * MIN_OUTPUTS) {
        int64_t chunks = dram_min(dram_ceil_div(want, j.parts * j.tap_chunks), v->co / MIN_OUTPUTS);
        j.o_chunk = dram_ceil_div(v->co, chunks);
        j.o_chunks = dram_ceil_div(v->co, j.o_chunk);
    }
    dram_pool_run(v->pool, j.parts * j.tap_chunks * j.o_chunks, wgrad_piece, &j);
    if (j.parts > 1) dram_pool_run(v->pool, v->o, sum_parts, &j);
}
