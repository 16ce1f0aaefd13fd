/* Convolution with narrow groups: a tile of the image with its border, a group at a time, times packed weights. */
#include "kernels/cpu/conv.h"
#include "kernels/cpu/panel.h"

/* Tiles are cut so that what they read and write of all groups stays near in the caches, and tasks so that the
 * packing of their weights is small beside their work. */
enum {
    TILE_BYTES = 384 << 10,
    TILE_ROWS = 8,
    TASK_PIXELS = 2048,
    TASKS_PER_WORKER = 4,
    MAX_PARTS = 16,
    MAX_STRIDE = 4,
    ROW_FLOATS = 4096 /* of a tile of results that are to be rounded */
};
enum { WIDEST = 128 }; /* channels in or out of a group; wider ones are the BLAS's */

typedef struct {
    const void *from; /* [n, h, w, c] */
    dram_dtype dtype;
    int64_t h, w, c;
    float *to; /* [rows, cols, channels] */
    int64_t rows, cols, channels;
} window;

/* Pixels of fp32, t->c apart, side by side. */
static void copy_pixels(const window *t, const float *from, int64_t count, float *to)
{
    if (t->channels == t->c)
        memcpy(to, from, (size_t)(count * t->channels) * sizeof *to);
    else if (t->channels == 8)
        for (int64_t i = 0; i < count; i++) {
            __builtin_prefetch(from + i * t->c + 16);
            memcpy(to + i * 8, from + i * t->c, 8 * sizeof *to);
        }
    else
        for (int64_t i = 0; i < count; i++)
            for (int64_t k = 0; k < t->channels; k++) to[i * t->channels + k] = from[i * t->c + k];
}

/* Copies rows y0 .., columns x0 .., channels c0 .. of image n, zero outside. */
static void copy_window(const window *t, int64_t n, int64_t y0, int64_t x0, int64_t c0)
{
    int64_t left = x0 < 0 ? dram_min(-x0, t->cols) : 0;
    int64_t inside = dram_min(t->cols, t->w - x0) - left, right;
    if (inside < 0) inside = 0;
    right = t->cols - left - inside;
    for (int64_t r = 0; r < t->rows; r++) {
        float *to = t->to + r * t->cols * t->channels;
        if (y0 + r < 0 || y0 + r >= t->h) {
            memset(to, 0, (size_t)(t->cols * t->channels) * sizeof *to);
            continue;
        }
        dram_pixels p = {.dtype = t->dtype, .step = t->c, .count = inside, .channels = t->channels};
        p.at = ((n * t->h + y0 + r) * t->w + x0 + left) * t->c + c0;
        memset(to, 0, (size_t)(left * t->channels) * sizeof *to);
        to += left * t->channels;
        if (t->dtype == DRAM_F32)
            copy_pixels(t, (const float *)t->from + p.at, inside, to);
        else
            DRAM_CPU(pixels_widen)(&p, t->from, to);
        memset(to + inside * t->channels, 0, (size_t)(right * t->channels) * sizeof *to);
    }
}

/* Source rows (or columns) that `count` destination ones from d0 on need: first, and how many. */
typedef struct {
    int64_t first, count;
} span;

/* Forward and dgrad are one loop: tiles of destination rows, and for each of a group's packed weights. */
typedef struct {
    const dram_conv *v;
    bool backward;
    int64_t dst_h, dst_w, dst_c, src_c;
    int64_t dst_g, src_g;                /* channels of a group */
    int64_t rows, tiles, tiles_per_task; /* of destination rows, over all images */
    int64_t group_chunk, group_chunks;
    int64_t packed; /* floats of a group's weights */
    int64_t row;    /* floats of a tile of results; 0 in fp32, which are written where they belong */
    int64_t phases; /* backward: destination rows and columns by their remainder by the stride; 1 forward */
} sweep;

static span source_of(const sweep *s, int64_t d0, int64_t count, int64_t k)
{
    const dram_conv *v = s->v;
    if (!s->backward) return (span){d0 * v->stride - v->pad, (count - 1) * v->stride + k};
    int64_t first = dram_floor_div(d0 + v->pad - (k - 1), v->stride);
    return (span){first, dram_floor_div(d0 + count - 1 + v->pad, v->stride) - first + 1};
}

/* Taps of phase a of an axis with k taps: backward k = a, a + stride, ... */
static int64_t taps_of(const sweep *s, int64_t a, int64_t k)
{
    return s->backward ? (a < k ? dram_ceil_div(k - a, s->v->stride) : 0) : k;
}

/* The group's weights w for phases (a, b); backward with taps in falling order, for then the sources rise. */
static void pack_phase(const sweep *s, const float *w, int64_t a, int64_t b, float *to)
{
    const dram_conv *v = s->v;
    dram_panel_source p = {
        .w = w, .segments = taps_of(s, a, v->kh), .columns = taps_of(s, b, v->kw), .channels = s->src_g, .n = s->dst_g};
    int64_t row = v->kw * v->ci, col = v->ci;
    if (s->backward) {
        p.w += (a + v->stride * (p.segments - 1)) * row + (b + v->stride * (p.columns - 1)) * col;
        p.seg_step = -v->stride * row;
        p.col_step = -v->stride * col;
        p.chan_step = v->k;
        p.n_step = 1;
    } else {
        p.seg_step = row;
        p.col_step = col;
        p.chan_step = 1;
        p.n_step = v->k;
    }
    if (p.segments > 0 && p.columns > 0) DRAM_CPU(panel_pack)(&p, to);
}

static int64_t phase_floats(const sweep *s, int64_t a, int64_t b)
{
    return dram_panel_floats(s->dst_g, taps_of(s, a, s->v->kh) * taps_of(s, b, s->v->kw) * s->src_g);
}

/* Remainder and first index of a phase of an axis of the destination. */
static int64_t first_of_phase(const sweep *s, int64_t b)
{
    int64_t from = b - s->v->pad;
    return s->backward ? from - dram_floor_div(from, s->v->stride) * s->v->stride : 0;
}

/* The product p, a few pixels at a time, rounded into the destination from element `at` on, pixels p->ldc apart. */
static void low_panel(const sweep *s, dram_panel p, int64_t at, float *row)
{
    const dram_conv *v = s->v;
    int64_t all = p.m, most = s->row / s->dst_g;
    dram_pixels to = {.dtype = v->dtype, .at = at, .step = p.ldc, .channels = s->dst_g};
    p.c = row;
    p.ldc = s->dst_g;
    for (int64_t i = 0; i < all; i += most, p.a += most * p.a_step, to.at += most * to.step) {
        p.m = to.count = dram_min(most, all - i);
        if (v->acc) {
            DRAM_CPU(pixels_widen)(&to, v->acc, row);
            p.acc = row;
        }
        DRAM_CPU(panel)(&p);
        DRAM_CPU(pixels_narrow)(&to, row, v->out);
    }
}

/* Destination row d of image n, group g, from the window t whose source rows begin at y0 and columns at x0; row: of
 * the worker. */
static void sweep_row(const sweep *s, const window *t, int64_t n, int64_t d, int64_t g, int64_t y0, int64_t x0,
                      const float *weights, float *row)
{
    const dram_conv *v = s->v;
    int64_t a = s->backward ? (d + v->pad) % v->stride : 0, step = s->backward ? v->stride : 1;
    for (int64_t i = 0; i < a; i++)
        for (int64_t b = 0; b < s->phases; b++) weights += phase_floats(s, i, b);
    for (int64_t b = 0; b < s->phases; b++) {
        int64_t segments = taps_of(s, a, v->kh), columns = taps_of(s, b, v->kw), d0 = first_of_phase(s, b);
        int64_t sy = s->backward ? (d + v->pad - a) / v->stride - (segments - 1) : d * v->stride - v->pad;
        int64_t sx = s->backward ? (d0 + v->pad - b) / v->stride - (columns - 1) : -v->pad;
        int64_t at = ((n * s->dst_h + d) * s->dst_w + d0) * s->dst_c + g * s->dst_g;
        if (columns == 0) segments = 0;
        dram_panel p = {.m = d0 < s->dst_w ? dram_ceil_div(s->dst_w - d0, step) : 0,
                        .n = s->dst_g,
                        .segments = segments,
                        .run = columns * s->src_g,
                        .a = segments == 0 ? t->to : t->to + ((sy - y0) * t->cols + sx - x0) * s->src_g,
                        .a_step = (s->backward ? 1 : v->stride) * s->src_g,
                        .segment_step = t->cols * s->src_g,
                        .b = weights,
                        .ldc = step * s->dst_c,
                        .bias = v->bias ? v->bias + g * s->dst_g : NULL};
        if (s->row > 0) {
            low_panel(s, p, at, row);
        } else {
            p.c = (float *)v->out + at;
            p.acc = v->acc ? (const float *)v->acc + at : NULL;
            DRAM_CPU(panel)(&p);
        }
        weights += phase_floats(s, a, b);
    }
}

static void sweep_task(void *context, int64_t task, int worker)
{
    const sweep *s = context;
    const dram_conv *v = s->v;
    float *weights = (float *)(void *)(v->scratch + worker * v->scratch_bytes);
    float *row = weights + s->group_chunk * s->packed;
    window t = {.from = s->backward ? v->y : v->x,
                .dtype = v->dtype,
                .h = s->backward ? v->oh : v->h,
                .w = s->backward ? v->ow : v->w,
                .c = s->src_c,
                .to = row + s->row,
                .channels = s->src_g};
    int64_t g0 = task % s->group_chunks * s->group_chunk, g1 = dram_min(g0 + s->group_chunk, v->groups);
    int64_t tile0 = task / s->group_chunks * s->tiles_per_task;
    int64_t per_image = dram_ceil_div(s->dst_h, s->rows);
    span columns = source_of(s, 0, s->dst_w, v->kw);
    t.cols = columns.count;
    for (int64_t g = g0; g < g1; g++) {
        float *to = weights + (g - g0) * s->packed;
        const float *filter = dram_lowp_load(v->weight, v->dtype, g * v->co * v->k, v->co * v->k, t.to);
        for (int64_t a = 0; a < s->phases; a++)
            for (int64_t b = 0; b < s->phases; b++) {
                pack_phase(s, filter, a, b, to);
                to += phase_floats(s, a, b);
            }
    }
    for (int64_t i = tile0; i < dram_min(tile0 + s->tiles_per_task, v->n * per_image); i++) {
        int64_t n = i / per_image, d0 = i % per_image * s->rows, d1 = dram_min(d0 + s->rows, s->dst_h);
        span rows = source_of(s, d0, d1 - d0, v->kh);
        t.rows = rows.count;
        for (int64_t g = g0; g < g1; g++) {
            copy_window(&t, n, rows.first, columns.first, g * s->src_g);
            for (int64_t d = d0; d < d1; d++)
                sweep_row(s, &t, n, d, g, rows.first, columns.first, weights + (g - g0) * s->packed, row);
        }
    }
}

/* The most rows, TILE_ROWS or less, whose bytes (`row`: of one row, all groups; `window_row`: of one source row in the
 * window) stay small and fit; 0 if none. */
static int64_t pick_rows(int64_t rows, int64_t bytes_of_row, int64_t stride, int64_t k, int64_t window_row,
                         int64_t room)
{
    int64_t most = dram_min(dram_min(TILE_ROWS, rows), TILE_BYTES / bytes_of_row);
    if (most < 1) most = 1;
    while (most > 0 && ((most - 1) * stride + k) * window_row > room) most--;
    return most;
}

/* One group is worth it only where its channels are too few for the BLAS, as those of a picture. */
static bool applies(const dram_conv *v)
{
    return v->ci <= WIDEST && v->co <= WIDEST && (v->groups > 1 || v->ci < 16) && v->stride <= MAX_STRIDE;
}

static bool run_sweep(sweep *s)
{
    const dram_conv *v = s->v;
    int64_t filter = 0; /* the window holds a group's weights before they are packed */
    if (!applies(v)) return false;
    for (int64_t a = 0; a < s->phases; a++)
        for (int64_t b = 0; b < s->phases; b++) s->packed += phase_floats(s, a, b);
    int64_t floats = v->scratch_bytes / (int64_t)sizeof(float), cols = source_of(s, 0, s->dst_w, v->kw).count;
    if (v->dtype != DRAM_F32) {
        s->row = dram_min(ROW_FLOATS, s->dst_w * s->dst_g);
        floats -= s->row;
        filter = v->co * v->k;
        if (filter > floats - s->packed) return false;
    }
    int64_t stride = s->backward ? 1 : v->stride; /* no more source rows than that a destination row, and kh */
    int64_t bytes = v->size * (s->dst_w * s->dst_c + stride * cols * s->src_c);
    s->rows = pick_rows(s->dst_h, bytes, stride, v->kh, cols * s->src_g, floats - s->packed);
    if (s->rows < 1) return false;
    int64_t window_floats = ((s->rows - 1) * stride + v->kh) * cols * s->src_g;
    if (window_floats < filter) window_floats = filter;
    s->tiles = v->n * dram_ceil_div(s->dst_h, s->rows);
    s->tiles_per_task = dram_min(s->tiles, dram_ceil_div(TASK_PIXELS, s->rows * s->dst_w));
    int64_t chunks = dram_ceil_div((int64_t)TASKS_PER_WORKER * dram_pool_workers(v->pool),
                                   dram_ceil_div(s->tiles, s->tiles_per_task));
    s->group_chunk = dram_min(dram_ceil_div(v->groups, chunks), (floats - window_floats) / s->packed);
    s->group_chunks = dram_ceil_div(v->groups, s->group_chunk);
    dram_pool_run(v->pool, dram_ceil_div(s->tiles, s->tiles_per_task) * s->group_chunks, sweep_task, s);
    return true;
}

bool DRAM_CPU(conv_direct_forward)(const dram_conv *v)
{
    sweep s = {.v = v,
               .dst_h = v->oh,
               .dst_w = v->ow,
               .dst_c = v->o,
               .src_c = v->c,
               .dst_g = v->co,
               .src_g = v->ci,
               .phases = 1};
    return run_sweep(&s);
}

bool DRAM_CPU(conv_direct_dgrad)(const dram_conv *v)
{
    sweep s = {.v = v,
               .backward = true,
               .dst_h = v->h,
               .dst_w = v->w,
               .dst_c = v->c,
               .src_c = v->o,
               .dst_g = v->ci,
               .src_g = v->co,
               .phases = v->stride};
    return run_sweep(&s);
}

/* ---- wgrad ---- */

typedef struct {
    const dram_conv *v;
    int64_t rows, tiles, parts, group_chunk, group_chunks;
    int64_t vectors; /* of 8 that hold kw ci, the taps of a kernel row */
    int64_t window;  /* floats of it; behind it, of bf16 and f16, lies the group's dy [rows, ow, co] */
} wgrad_job;

/* Task (part of the tiles, chunk of groups): the part's sum [O, kh, 8 vectors]. */
static void wgrad_task(void *context, int64_t task, int worker)
{
    const wgrad_job *j = context;
    const dram_conv *v = j->v;
    int64_t part = task % j->parts, g0 = task / j->parts * j->group_chunk,
            g1 = dram_min(g0 + j->group_chunk, v->groups);
    int64_t per_image = dram_ceil_div(v->oh, j->rows), ldd = v->kh * j->vectors * 8;
    float *sum = v->partial + part * v->o * ldd;
    bool low = v->dtype != DRAM_F32;
    window t = {.from = v->x,
                .dtype = v->dtype,
                .h = v->h,
                .w = v->w,
                .c = v->c,
                .channels = v->ci,
                .to = (float *)(void *)(v->scratch + worker * v->scratch_bytes)};
    float *dy = t.to + j->window;
    t.cols = (v->ow - 1) * v->stride + v->kw;
    memset(sum + g0 * v->co * ldd, 0, (size_t)((g1 - g0) * v->co * ldd) * sizeof *sum);
    for (int64_t i = part * j->tiles / j->parts; i < (part + 1) * j->tiles / j->parts; i++) {
        int64_t n = i / per_image, y0 = i % per_image * j->rows, y1 = dram_min(y0 + j->rows, v->oh);
        t.rows = (y1 - y0 - 1) * v->stride + v->kh;
        for (int64_t g = g0; g < g1; g++) {
            int64_t at = (n * v->oh + y0) * v->ow * v->o + g * v->co, pixels = (y1 - y0) * v->ow;
            dram_pixels p_dy = {.dtype = v->dtype, .at = at, .step = v->o, .count = pixels, .channels = v->co};
            copy_window(&t, n, y0 * v->stride - v->pad, -v->pad, g * v->ci);
            if (low) DRAM_CPU(pixels_widen)(&p_dy, v->y, dy);
            for (int64_t ky = 0; ky < v->kh; ky++) {
                dram_outer p = {.rows = y1 - y0,
                                .m = v->ow,
                                .o = v->co,
                                .vectors = j->vectors,
                                .x = t.to + ky * t.cols * v->ci,
                                .x_row = v->stride * t.cols * v->ci,
                                .x_step = v->stride * v->ci,
                                .dy_row = v->ow * (low ? v->co : v->o),
                                .dy_step = low ? v->co : v->o,
                                .dy = low ? dy : (const float *)v->y + at,
                                .ldd = ldd,
                                .d = sum + g * v->co * ldd + ky * j->vectors * 8};
                DRAM_CPU(outer)(&p);
            }
        }
    }
}

static void wgrad_sum(void *context, int64_t o, int worker)
{
    const wgrad_job *j = context;
    const dram_conv *v = j->v;
    int64_t run = v->kw * v->ci, row = j->vectors * 8;
    (void)worker;
    for (int64_t ky = 0; ky < v->kh; ky++) {
        const float *from = v->partial + (o * v->kh + ky) * row;
        float *to = (float *)v->out + o * v->k + ky * run;
        for (int64_t i = 0; i < run; i++) {
            float sum = from[i];
            for (int64_t p = 1; p < j->parts; p++) sum += from[p * v->o * v->kh * row + i];
            to[i] = sum;
        }
    }
}

bool DRAM_CPU(conv_direct_wgrad)(const dram_conv *v)
{
    wgrad_job j = {.v = v, .vectors = dram_ceil_div(v->kw * v->ci, 8)};
    int64_t cols = (v->ow - 1) * v->stride + v->kw, f = (int64_t)sizeof(float);
    int64_t room = v->partial_bytes / (v->o * v->kh * j.vectors * 8 * f);
    if (!applies(v) || room < 1) return false;
    int64_t bytes_of_row = v->size * (v->ow * v->o + v->stride * cols * v->c);
    int64_t dy_row = v->dtype == DRAM_F32 ? 0 : v->ow * v->co, floats = v->scratch_bytes / f;
    /* A vector may reach 7 floats beyond the last pixel; what they add is not read. */
    j.rows = pick_rows(v->oh, bytes_of_row, v->stride, v->kh, cols * v->ci, floats - 8);
    for (; j.rows > 0; j.rows--) {
        j.window = ((j.rows - 1) * v->stride + v->kh) * cols * v->ci + 8;
        if (j.window + j.rows * dy_row <= floats) break;
    }
    if (j.rows < 1) return false;
    int64_t want = (int64_t)TASKS_PER_WORKER * dram_pool_workers(v->pool);
    j.tiles = v->n * dram_ceil_div(v->oh, j.rows);
    j.parts = dram_min(dram_min(room, want), dram_min(j.tiles, MAX_PARTS));
    j.group_chunk = dram_ceil_div(v->groups, dram_ceil_div(want, j.parts));
    j.group_chunks = dram_ceil_div(v->groups, j.group_chunk);
    dram_pool_run(v->pool, j.parts * j.group_chunks, wgrad_task, &j);
    dram_pool_run(v->pool, v->o, wgrad_sum, &j);
    return true;
}
