/* Tolerances: an exponential is off by 1.1 ulp and by what its argument is rounded by, some 4 times that at 4 in size;
 * sums are in fp64. A divergence is a difference of logarithms of such sums, so its error is absolute, and T^2 enlarges
 * it. A gradient is T / (N C) times a difference of two probabilities of about 1 / cells. */
#include <math.h>

#include "masks.h"

/* log of the sum of e^(x / T) over the valid cells of channel c of image n. */
static double log_sum(const optest_case *c, const double *x, const double *mask, int64_t n, int64_t channel)
{
    const int64_t *s = c->in[0].shape.dim, cells = s[1] * s[2];
    double most = -INFINITY, sum = 0;
    for (int64_t i = n * cells; i < (n + 1) * cells; i++)
        if (mask[i] != 0) most = fmax(most, x[i * s[3] + channel] / (double)c->attr.scale);
    for (int64_t i = n * cells; i < (n + 1) * cells; i++)
        if (mask[i] != 0) sum += exp(x[i * s[3] + channel] / (double)c->attr.scale - most);
    return most + log(sum);
}

static void cwd_loss_ref(const optest_case *c, const double *const in[], double *const out[])
{
    const int64_t *s = c->in[0].shape.dim, cells = s[1] * s[2];
    double temperature = (double)c->attr.scale, sum = 0;
    for (int64_t n = 0; n < s[0]; n++)
        for (int64_t k = 0; k < s[3]; k++) {
            double all_s = log_sum(c, in[0], in[2], n, k), all_t = log_sum(c, in[1], in[2], n, k);
            for (int64_t i = n * cells; i < (n + 1) * cells; i++) {
                if (in[2][i] == 0) continue;
                double log_s = in[0][i * s[3] + k] / temperature - all_s;
                double log_t = in[1][i * s[3] + k] / temperature - all_t;
                sum += exp(log_t) * (log_t - log_s);
            }
        }
    out[0][0] = sum * temperature * temperature / (double)(s[0] * s[3]);
}

/* One valid cell an image: both distributions are 1 there. */
static void single(const optest_case *c, dram_rng *rng, double *const in[])
{
    const int64_t *s = c->in[0].shape.dim;
    (void)rng;
    for (int64_t i = 0; i < dram_elements(&c->in[2].shape); i++) in[2][i] = i % (s[1] * s[2]) == 2;
}

static void the_same(const optest_case *c, dram_rng *rng, double *const in[])
{
    masks_padded(c, rng, in);
    for (int64_t i = 0; i < dram_elements(&c->in[0].shape); i++) in[1][i] = in[0][i];
}

/* Each channel of t as s, but for a constant of its own: the softmax takes it away. Powers of two keep it exact. */
static void shifted(const optest_case *c, dram_rng *rng, double *const in[])
{
    int64_t channels = c->in[0].shape.dim[3];
    masks_padded(c, rng, in);
    for (int64_t i = 0; i < dram_elements(&c->in[0].shape); i++) {
        in[0][i] = floor(in[0][i] * 64) / 64;
        in[1][i] = in[0][i] + (double)(1 << (i % channels));
    }
}

/* Numbers whose exponentials alone are infinite, or nothing. */
static void far_out(const optest_case *c, dram_rng *rng, double *const in[])
{
    int64_t channels = c->in[0].shape.dim[3];
    masks_padded(c, rng, in);
    for (int64_t i = 0; i < dram_elements(&c->in[0].shape); i++) {
        double at = i % channels % 2 ? 1000 : -1000;
        in[0][i] += at;
        in[1][i] -= at;
    }
}

#define SHAPES(N, H, W, C)                                                                                             \
    {OPTEST_SHAPE(N, H, W, C)}, {OPTEST_SHAPE(N, H, W, C)},                                                            \
    {                                                                                                                  \
        OPTEST_SHAPE(N, H, W)                                                                                          \
    }
#define IN(N, H, W, C)                                                                                                 \
    {OPTEST_SHAPE(N, H, W, C), .low = -2, .high = 2, .grad = true}, {OPTEST_SHAPE(N, H, W, C), .low = -2, .high = 2},  \
    {                                                                                                                  \
        OPTEST_SHAPE(N, H, W)                                                                                          \
    }
#define T(T_) .attr = {.scale = (T_)}
#define GRAD .grad_tol = {1e-9, 16 * FLT_EPSILON}

static const optest_case cwd_loss_cases[] = {
    {.name = "temperature 1", T(1), .in = {IN(3, 5, 7, 11)}, .fill = masks_padded, .tol = OPTEST_EPSILONS(2), GRAD},
    {.name = "temperature 4", T(4), .in = {IN(3, 5, 7, 11)}, .fill = masks_padded, .tol = OPTEST_EPSILONS(8), GRAD},
    {.name = "temperature 1/4",
     T(0.25F),
     .in = {IN(2, 5, 7, 11)},
     .fill = masks_padded,
     .tol = OPTEST_EPSILONS(4),
     GRAD},
    {.name = "one image", T(1), .in = {IN(1, 4, 3, 33)}, .fill = masks_padded, .tol = OPTEST_EPSILONS(2), GRAD},
    {.name = "256 channels", T(1), .in = {IN(2, 6, 7, 256)}, .fill = masks_padded, .tol = OPTEST_EPSILONS(2), GRAD},
    {.name = "many cells", T(1), .in = {IN(1, 40, 31, 3)}, .fill = masks_padded, .tol = OPTEST_EPSILONS(2), GRAD},
    {.name = "an image without cells",
     T(1),
     .in = {IN(3, 4, 3, 5)},
     .fill = masks_padded_one_empty,
     .tol = OPTEST_EPSILONS(2),
     GRAD},
    {.name = "no cells", T(1), .in = {IN(2, 4, 3, 5)}, .fill = masks_empty, .vanishes = true},
    {.name = "one cell", T(1), .in = {IN(2, 4, 3, 5)}, .fill = single, .vanishes = true},
    /* exactly 0, but for the reference's and the differences' own rounding */
    {.name = "the same",
     T(2),
     .in = {IN(2, 4, 3, 35)},
     .fill = the_same,
     .vanishes = true,
     .tol = {1e-14, 0},
     .grad_tol = {1e-10, 0}},
    {.name = "shifted",
     T(2),
     .in = {IN(2, 4, 3, 9)},
     .fill = shifted,
     .vanishes = true,
     .tol = {1e-13, 0},
     .grad_tol = {1e-9, 0}},
    {.name = "nan in the padding",
     T(1),
     .in = {SHAPES(2, 5, 7, 3)},
     .fill = masks_padded_with_nan,
     .tol = OPTEST_EPSILONS(2)},
    /* numbers of 1000 keep 2^-14 of what is behind the point */
    {.name = "far out", T(1), .in = {SHAPES(2, 5, 7, 4)}, .fill = far_out, .tol = OPTEST_EPSILONS(4)},
    {.name = "other grid",
     T(1),
     .in = {{OPTEST_SHAPE(2, 5, 7, 3)}, {OPTEST_SHAPE(2, 5, 6, 3)}, {OPTEST_SHAPE(2, 5, 7)}},
     .refused = true},
    {.name = "other mask",
     T(1),
     .in = {{OPTEST_SHAPE(2, 5, 7, 3)}, {OPTEST_SHAPE(2, 5, 7, 3)}, {OPTEST_SHAPE(2, 7, 5)}},
     .refused = true},
    {.name = "tokens",
     T(1),
     .in = {{OPTEST_SHAPE(2, 5, 3)}, {OPTEST_SHAPE(2, 5, 3)}, {OPTEST_SHAPE(2, 5)}},
     .refused = true},
    {.name = "temperature 0", .in = {IN(2, 5, 7, 3)}, .refused = true},
    {.name = "temperature below 0", T(-1), .in = {IN(2, 5, 7, 3)}, .refused = true},
    {.name = "temperature without end", T(INFINITY), .in = {IN(2, 5, 7, 3)}, .refused = true},
};
OPTEST(cwd_loss, cwd_loss_ref, cwd_loss_cases);
OPTEST_THROUGH(cwd_loss_grad, cwd_loss);
