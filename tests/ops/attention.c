/* The reference materialises the padded windows, as SAM's code does, one query at a time in double.
 *
 * Tolerances: a logit is a sum of d <= 80 products in fp32, of size up to about 5, so good to 5 epsilon or so, which is
 * then the relative error of a weight; out and dv are weighted means of numbers up to 1: 16 epsilon. The gradients of q
 * and k multiply that by another sum over d; those of tables and bias are sums over all queries: 64.
 *
 * In bf16 and f16 the gradients also see that `out` was rounded, through the sum over d of dout out that is taken from
 * each weight's gradient. With numbers up to 1 its error is about sqrt(d) / 3 roundings of a mean over the keys: less
 * than one up to d = 8, a few for wide heads and few keys, and a fraction where there are very many keys. *
 * Where no gradient comes by, attr.rounded, a GPU rounds each weight once to bf16 or f16: by u of it at most, 2^-8 or
 * 2^-11. That moves `out` by u times the weighted mean of |v|, which is at most u here. The relative tables are 16 bits
 * then, which is less than a twentieth of u. */
#include <math.h>

#include "optest.h"

typedef struct {
    const double *qkv, *bias;
    int64_t h, w, dim, d, window;
} grid;

/* q (part 0), k or v of a token of the padded grid */
OPTEST_UNCHECKED
static const double *token_of(const grid *g, int64_t image, int64_t head, int64_t y, int64_t x, int part)
{
    int64_t at = part * g->dim + head * g->d;
    if (y >= g->h || x >= g->w) return g->bias + at;
    return g->qkv + ((image * g->h + y) * g->w + x) * 3 * g->dim + at;
}

OPTEST_UNCHECKED
static double dot(const double *a, const double *b, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

OPTEST_UNCHECKED
static void attend(const optest_case *c, const double *const in[], const grid *g, int64_t image, int64_t head,
                   int64_t y, int64_t x, double *out, double *lse)
{
    int64_t sh = g->window ? g->window : g->h, sw = g->window ? g->window : g->w;
    int64_t y0 = y / sh * sh, x0 = x / sw * sw;
    double logit[1024], largest = -INFINITY, sum = 0;
    const double *q = token_of(g, image, head, y, x, 0);
    (void)c;
    for (int64_t k = 0; k < sh * sw; k++) {
        int64_t ky = k / sw, kx = k % sw;
        logit[k] = dot(q, token_of(g, image, head, y0 + ky, x0 + kx, 1), g->d) / sqrt((double)g->d) +
                   dot(q, in[1] + (y - y0 - ky + sh - 1) * g->d, g->d) +
                   dot(q, in[2] + (x - x0 - kx + sw - 1) * g->d, g->d);
        largest = fmax(largest, logit[k]);
    }
    for (int64_t k = 0; k < sh * sw; k++) sum += logit[k] = exp(logit[k] - largest);
    *lse = largest + log(sum);
    for (int64_t e = 0; e < g->d; e++) out[e] = 0;
    for (int64_t k = 0; k < sh * sw; k++) {
        const double *v = token_of(g, image, head, y0 + k / sw, x0 + k % sw, 2);
        for (int64_t e = 0; e < g->d; e++) out[e] += logit[k] / sum * v[e];
    }
}

static void attention_ref(const optest_case *c, const double *const in[], double *const out[])
{
    const dram_shape *s = &c->in[0].shape;
    grid g = {.qkv = in[0], .bias = in[3], .h = s->dim[1], .w = s->dim[2], .dim = s->dim[3] / 3};
    int64_t heads = c->attr.heads;
    g.d = g.dim / heads;
    g.window = c->attr.window;
    for (int64_t n = 0; n < s->dim[0]; n++)
        for (int64_t head = 0; head < heads; head++)
            for (int64_t y = 0; y < g.h; y++)
                for (int64_t x = 0; x < g.w; x++)
                    attend(c, in, &g, n, head, y, x, out[0] + ((n * g.h + y) * g.w + x) * g.dim + head * g.d,
                           out[1] + ((n * heads + head) * g.h + y) * g.w + x);
}

/* Sharp weights: logits up to about 60, so that a missing maximum overflows or a wrong rescaling shows. Their errors,
 * and those of the weights, grow as much. */
static void sharpen(const optest_case *c, dram_rng *rng, double *const in[])
{
    (void)rng;
    for (int64_t i = 0; i < dram_elements(&c->in[0].shape); i++) in[0][i] *= 4;
}

#define TOL                                                                                                            \
    {                                                                                                                  \
        16 * FLT_EPSILON, 16 * FLT_EPSILON                                                                             \
    }
#define GRAD_TOL                                                                                                       \
    {                                                                                                                  \
        64 * FLT_EPSILON, 64 * FLT_EPSILON                                                                             \
    }

#define CASE(NAME, N, H, W, HEADS, D, WINDOW, SH, SW, BIAS, VANISHES)                                                  \
    {                                                                                                                  \
        .name = NAME, .attr = {.heads = HEADS, .window = WINDOW}, .tol = TOL, .grad_tol = GRAD_TOL,                    \
        .vanishes = VANISHES,                                                                                          \
        .grad_roundings = D >= 32         ? 3                                                                          \
                          : SH * SW > 300 ? 0.5                                                                        \
                                          : 1,                                                                         \
        .in = {                                                                                                        \
            {OPTEST_SHAPE(N, H, W, 3 * HEADS * D), .grad = true},                                                      \
            {OPTEST_SHAPE(2 * SH - 1, D), .low = -0.3, .high = 0.3, .grad = true},                                     \
            {OPTEST_SHAPE(2 * SW - 1, D), .low = -0.3, .high = 0.3, .grad = true},                                     \
            {OPTEST_SHAPE(3 * HEADS * D), .grad = BIAS}                                                                \
        }                                                                                                              \
    }

#define GLOBAL(NAME, N, H, W, HEADS, D) CASE(NAME, N, H, W, HEADS, D, 0, H, W, false, false)
#define WINDOWS(NAME, N, H, W, HEADS, D, S) CASE(NAME, N, H, W, HEADS, D, S, S, S, true, false)
/* With no padding the bias has no part in it; nor has the position along an axis of length 1. */
#define GLOBAL_ZERO(NAME, N, H, W, HEADS, D) CASE(NAME, N, H, W, HEADS, D, 0, H, W, true, true)
#define WINDOWS_ZERO(NAME, N, H, W, HEADS, D, S) CASE(NAME, N, H, W, HEADS, D, S, S, S, true, true)

/* Forward alone: a kernel's tiles, with heads that have kernels of their own. */
#define FORWARD(NAME, H, W, D, WINDOW, S_H, S_W)                                                                       \
    {                                                                                                                  \
        .name = NAME, .attr = {.heads = 1, .window = WINDOW}, .tol = TOL, .in = {                                      \
            {OPTEST_SHAPE(1, H, W, 3 * D)},                                                                            \
            {OPTEST_SHAPE(2 * S_H - 1, D), .low = -0.3, .high = 0.3},                                                  \
            {OPTEST_SHAPE(2 * S_W - 1, D), .low = -0.3, .high = 0.3},                                                  \
            {OPTEST_SHAPE(3 * D)}                                                                                      \
        }                                                                                                              \
    }
#define ROUNDED(NAME, TYPE, H, W, D, WINDOW, S_H, S_W)                                                                 \
    {                                                                                                                  \
        .name = NAME, .attr = {.heads = 1, .window = WINDOW, .rounded = 1},                                            \
        .tol = {1.05 * ((TYPE) == DRAM_BF16 ? 0x1p-8 : 0x1p-11), (TYPE) == DRAM_BF16 ? 0x1p-8 : 0x1p-11}, .in = {      \
            {OPTEST_SHAPE(1, H, W, 3 * D), .dtype = TYPE},                                                             \
            {OPTEST_SHAPE(2 * S_H - 1, D), .low = -0.3, .high = 0.3},                                                  \
            {OPTEST_SHAPE(2 * S_W - 1, D), .low = -0.3, .high = 0.3},                                                  \
            {OPTEST_SHAPE(3 * D)}                                                                                      \
        }                                                                                                              \
    }

static const optest_case attention_cases[] = {
    FORWARD("chunks of 32 and 3 columns, 5 rows, d 64", 5, 35, 64, 0, 5, 35),
    FORWARD("chunks of 32 and 1 rows, d 80", 33, 4, 80, 0, 33, 4),
    FORWARD("SAM's window, d 64", 14, 17, 64, 14, 14, 14),
    ROUNDED("rounded, chunks of 32 and 3 columns, 5 rows, d 64", DRAM_BF16, 5, 35, 64, 0, 5, 35),
    ROUNDED("rounded, chunks of 32 and 1 rows, d 80", DRAM_F16, 33, 4, 80, 0, 33, 4),
    ROUNDED("rounded, SAM's window, d 80", DRAM_BF16, 15, 14, 80, 14, 14, 14),
    ROUNDED("rounded, SAM's window, d 64", DRAM_F16, 14, 15, 64, 14, 14, 14),
    ROUNDED("rounded, a head of another size", DRAM_BF16, 6, 5, 24, 0, 6, 5),
    GLOBAL("global 5x7, d 8", 3, 5, 7, 2, 8),
    GLOBAL("global 3x11, d 64", 1, 3, 11, 1, 64),
    GLOBAL("global 4x3, d 80", 1, 4, 3, 2, 80),
    GLOBAL("several tiles 19x16", 1, 19, 16, 1, 4),
    GLOBAL_ZERO("global, bias too", 2, 3, 4, 2, 4),
    GLOBAL_ZERO("one token", 2, 1, 1, 2, 4),
    GLOBAL_ZERO("one row", 1, 1, 13, 1, 3),
    WINDOWS("padding on both axes, d 32", 3, 5, 7, 2, 32, 3),
    WINDOWS("padding on both axes, d 64", 1, 7, 5, 1, 64, 4),
    WINDOWS("padding on both axes, d 80", 1, 3, 4, 1, 80, 2),
    WINDOWS_ZERO("no padding", 2, 4, 6, 2, 5, 2),
    WINDOWS("padding below", 1, 5, 6, 3, 4, 3),
    WINDOWS("padding at the right", 1, 6, 5, 1, 4, 3),
    WINDOWS("window larger than the grid", 1, 3, 2, 2, 8, 5),
    WINDOWS("SAM's window", 1, 16, 15, 1, 4, 14),
    WINDOWS("several tiles 18", 1, 19, 17, 1, 2, 18),
    {.name = "sharp, several tiles",
     .attr = {.heads = 1},
     .in = {{OPTEST_SHAPE(1, 18, 16, 24)}, {OPTEST_SHAPE(35, 8)}, {OPTEST_SHAPE(31, 8)}, {OPTEST_SHAPE(24)}},
     .fill = sharpen,
     .tol = {128 * FLT_EPSILON, 64 * FLT_EPSILON}},
    {.name = "heads do not divide",
     .attr = {.heads = 4},
     .in = {{OPTEST_SHAPE(1, 2, 2, 18)}, {OPTEST_SHAPE(3, 2)}, {OPTEST_SHAPE(3, 2)}, {OPTEST_SHAPE(18)}},
     .refused = true},
    {.name = "no heads",
     .in = {{OPTEST_SHAPE(1, 2, 2, 12)}, {OPTEST_SHAPE(3, 4)}, {OPTEST_SHAPE(3, 4)}, {OPTEST_SHAPE(12)}},
     .refused = true},
    {.name = "table of another grid",
     .attr = {.heads = 1},
     .in = {{OPTEST_SHAPE(1, 2, 3, 12)}, {OPTEST_SHAPE(5, 4)}, {OPTEST_SHAPE(5, 4)}, {OPTEST_SHAPE(12)}},
     .refused = true},
    {.name = "table of another width",
     .attr = {.heads = 1},
     .in = {{OPTEST_SHAPE(1, 2, 3, 12)}, {OPTEST_SHAPE(3, 4)}, {OPTEST_SHAPE(3, 4)}, {OPTEST_SHAPE(12)}},
     .refused = true},
    {.name = "bias of another size",
     .attr = {.heads = 1},
     .in = {{OPTEST_SHAPE(1, 2, 2, 12)}, {OPTEST_SHAPE(3, 4)}, {OPTEST_SHAPE(3, 4)}, {OPTEST_SHAPE(4)}},
     .refused = true},
};
OPTEST_STORED(attention, attention_ref, attention_cases, .stored = 0x1, .f32_out = 0x2);
OPTEST_THROUGH(attention_grad, attention);
