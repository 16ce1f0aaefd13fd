/* Tolerances: the error of a cell is a sum of C fp32 terms, in lanes; sums over cells are in fp64. 1 - cos loses what
 * cos rounds, so its error is absolute. */
#include <math.h>

#include "masks.h"

static double cell_error(const optest_case *c, const double *s, const double *t)
{
    int64_t n = c->in[0].shape.dim[3];
    double sum = 0, ss = 0, tt = 0;
    for (int64_t k = 0; k < n; k++) {
        double d = fabs(s[k] - t[k]);
        ss += s[k] * s[k];
        tt += t[k] * t[k];
        if (c->attr.mode == DRAM_EMBED_COSINE) sum += s[k] * t[k];
        if (c->attr.mode == DRAM_EMBED_MSE) sum += d * d;
        if (c->attr.mode == DRAM_EMBED_HUBER) sum += d < 1 ? 0.5 * d * d : d - 0.5;
    }
    if (c->attr.mode == DRAM_EMBED_COSINE) return ss * tt == 0 ? 1 : 1 - sum / sqrt(ss * tt);
    return sum / (double)n;
}

static void embed_loss_ref(const optest_case *c, const double *const in[], double *const out[])
{
    const int64_t *s = c->in[0].shape.dim, cells = s[1] * s[2];
    out[0][0] = 0;
    for (int64_t n = 0; n < s[0]; n++) {
        double error = 0, mask = 0;
        for (int64_t i = n * cells; i < (n + 1) * cells; i++) {
            if (in[2][i] != 0) error += in[2][i] * cell_error(c, in[0] + i * s[3], in[1] + i * s[3]);
            mask += in[2][i];
        }
        if (mask > 0) out[0][0] += error / mask / (double)s[0];
    }
}

/* A cell of s and one of t have no direction. */
static void no_direction(const optest_case *c, dram_rng *rng, double *const in[])
{
    masks_padded(c, rng, in);
    for (int64_t k = 0; k < c->in[0].shape.dim[3]; k++) in[0][k] = in[1][c->in[0].shape.dim[3] + k] = 0;
}

#define IN(N, H, W, C)                                                                                                 \
    {OPTEST_SHAPE(N, H, W, C), .low = -2, .high = 2, .grad = true},                                                    \
        {OPTEST_SHAPE(N, H, W, C), .low = -2, .high = 2, .grad = true},                                                \
    {                                                                                                                  \
        OPTEST_SHAPE(N, H, W)                                                                                          \
    }
#define MODE(MODE_) .attr = {.mode = DRAM_EMBED_##MODE_}
#define TOLERANCES .tol = OPTEST_EPSILONS(8), .grad_tol = {4e-9, 16 * FLT_EPSILON}

static const optest_case embed_loss_cases[] = {
    {.name = "mse", MODE(MSE), .in = {IN(3, 5, 7, 11)}, .fill = masks_padded, TOLERANCES},
    {.name = "huber", MODE(HUBER), .in = {IN(3, 5, 7, 11)}, .fill = masks_padded, TOLERANCES},
    {.name = "cosine", MODE(COSINE), .in = {IN(3, 5, 7, 11)}, .fill = masks_padded, TOLERANCES},
    {.name = "mse, one image", MODE(MSE), .in = {IN(1, 4, 3, 13)}, .fill = masks_padded, TOLERANCES},
    {.name = "mse, an image without cells",
     MODE(MSE),
     .in = {IN(2, 4, 3, 5)},
     .fill = masks_padded_one_empty,
     TOLERANCES},
    {.name = "mse, no cells", MODE(MSE), .in = {IN(2, 4, 3, 5)}, .fill = masks_empty, .vanishes = true, TOLERANCES},
    {.name = "cosine, one channel",
     MODE(COSINE),
     .in = {IN(1, 4, 3, 1)},
     .fill = masks_padded,
     .vanishes = true,
     .grad_tol = {1e-6, 0}}, /* two terms of about 1 that cancel */
    {.name = "mse, 256 channels", MODE(MSE), .in = {IN(2, 6, 7, 256)}, .fill = masks_padded, TOLERANCES},
    {.name = "huber, 256 channels", MODE(HUBER), .in = {IN(2, 6, 7, 256)}, .fill = masks_padded, TOLERANCES},
    {.name = "cosine, 256 channels", MODE(COSINE), .in = {IN(2, 6, 7, 256)}, .fill = masks_padded, TOLERANCES},
    {.name = "mse, nan in the padding",
     MODE(MSE),
     .in = {{OPTEST_SHAPE(2, 5, 7, 3)}, {OPTEST_SHAPE(2, 5, 7, 3)}, {OPTEST_SHAPE(2, 5, 7)}},
     .fill = masks_padded_with_nan,
     TOLERANCES},
    {.name = "cosine, no direction",
     MODE(COSINE),
     .in = {{OPTEST_SHAPE(2, 5, 7, 3)}, {OPTEST_SHAPE(2, 5, 7, 3)}, {OPTEST_SHAPE(2, 5, 7)}},
     .fill = no_direction,
     TOLERANCES},
    {.name = "other grid",
     .in = {{OPTEST_SHAPE(2, 5, 7, 3)}, {OPTEST_SHAPE(2, 5, 6, 3)}, {OPTEST_SHAPE(2, 5, 7)}},
     .refused = true},
    {.name = "other mask",
     .in = {{OPTEST_SHAPE(2, 5, 7, 3)}, {OPTEST_SHAPE(2, 5, 7, 3)}, {OPTEST_SHAPE(2, 7, 5)}},
     .refused = true},
    {.name = "other mode", .attr = {.mode = 3}, .in = {IN(2, 5, 7, 3)}, .refused = true},
};
OPTEST(embed_loss, embed_loss_ref, embed_loss_cases);
OPTEST_THROUGH(embed_loss_grad, embed_loss);
