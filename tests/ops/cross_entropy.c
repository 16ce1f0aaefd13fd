/* Tolerances: the loss of a pixel is good to a few epsilon of the logits' range, here up to 10; a gradient is a sum
 * over the pixels near it, each with an error of a few epsilon / count. */
#include <math.h>

#include "optest.h"

/* Logit k at label pixel (y, x), as F.interpolate(bilinear, align_corners=False) gives it. */
static double upsampled(const optest_case *c, const double *logits, int64_t n, int64_t y, int64_t x, int64_t k)
{
    const int64_t *l = c->in[0].shape.dim, *to = c->in[1].shape.dim;
    double py = fmin(fmax(0, ((double)y + 0.5) * (double)l[1] / (double)to[1] - 0.5), (double)l[1] - 1);
    double px = fmin(fmax(0, ((double)x + 0.5) * (double)l[2] / (double)to[2] - 0.5), (double)l[2] - 1), sum = 0;
    for (int64_t i = (int64_t)py; i < l[1] && i <= (int64_t)py + 1; i++)
        for (int64_t j = (int64_t)px; j < l[2] && j <= (int64_t)px + 1; j++) /* hats of width 1 around (py, px) */
            sum += (1 - fabs(py - (double)i)) * (1 - fabs(px - (double)j)) *
                   logits[((n * l[1] + i) * l[2] + j) * l[3] + k];
    return sum;
}

static void cross_entropy_ref(const optest_case *c, const double *const in[], double *const out[])
{
    const int64_t *to = c->in[1].shape.dim, classes = c->in[0].shape.dim[3];
    double loss = 0;
    for (int64_t i = 0; i < to[0] * to[1] * to[2]; i++) {
        int64_t label = (int64_t)in[1][i], x = i % to[2], y = i / to[2] % to[1], n = i / to[2] / to[1];
        double sum = 0, at_label = 0;
        if (label == c->attr.ignore) continue;
        for (int64_t k = 0; k < classes; k++) {
            double z = upsampled(c, in[0], n, y, x, k);
            sum += exp(z);
            if (k == label) at_label = z;
        }
        loss += log(sum) - at_label;
    }
    out[0][0] = in[2][0] > 0 ? loss / in[2][0] : 0;
}

/* count: the labelled pixels of a batch twice as large. */
static void set_count(const optest_case *c, dram_rng *rng, double *const in[])
{
    (void)rng;
    in[2][0] = 0;
    for (int64_t i = 0; i < dram_elements(&c->in[1].shape); i++) in[2][0] += 2 * (in[1][i] != c->attr.ignore);
}

static void set_all_ignored(const optest_case *c, dram_rng *rng, double *const in[])
{
    for (int64_t i = 0; i < dram_elements(&c->in[1].shape); i++) in[1][i] = c->attr.ignore;
    set_count(c, rng, in);
}

static void set_half_255(const optest_case *c, dram_rng *rng, double *const in[])
{
    for (int64_t i = 0; i < dram_elements(&c->in[1].shape); i++)
        if (dram_rng_below(rng, 2)) in[1][i] = 255;
    set_count(c, rng, in);
}

/* One logit far above the others: exp must neither overflow nor lose the rest. */
static void set_far(const optest_case *c, dram_rng *rng, double *const in[])
{
    for (int64_t i = 0; i < dram_elements(&c->in[0].shape); i++)
        if (i % c->in[0].shape.dim[3] == 2) in[0][i] += 300;
    set_count(c, rng, in);
}

static void set_bad_label(const optest_case *c, dram_rng *rng, double *const in[])
{
    set_count(c, rng, in);
    in[1][dram_elements(&c->in[1].shape) - 1] = 77;
}

#define LOGITS(...)                                                                                                    \
    {                                                                                                                  \
        OPTEST_SHAPE(__VA_ARGS__), .low = -5, .high = 5, .grad = true                                                  \
    }
#define LABELS(MOST, ...)                                                                                              \
    {                                                                                                                  \
        OPTEST_SHAPE(__VA_ARGS__), .dtype = DRAM_U8, .low = 0, .high = MOST                                            \
    }
#define COUNT                                                                                                          \
    {                                                                                                                  \
        OPTEST_SHAPE(1)                                                                                                \
    }
#define TOLERANCES .tol = {1e-6, 4 * FLT_EPSILON}, .grad_tol = {1e-7, 64 * FLT_EPSILON}

static const optest_case cross_entropy_cases[] = {
    {.name = "same size",
     .attr = {.ignore = 255},
     .in = {LOGITS(2, 5, 7, 3), LABELS(2, 2, 5, 7), COUNT},
     .fill = set_count,
     TOLERANCES},
    {.name = "four times",
     .attr = {.ignore = 11},
     .in = {LOGITS(1, 4, 3, 11), LABELS(11, 1, 16, 12), COUNT},
     .fill = set_count,
     TOLERANCES},
    {.name = "odd factors",
     .attr = {.ignore = 5},
     .in = {LOGITS(2, 5, 7, 5), LABELS(5, 2, 13, 11), COUNT},
     .fill = set_count,
     TOLERANCES},
    {.name = "smaller than the logits",
     .attr = {.ignore = 1},
     .in = {LOGITS(1, 7, 9, 3), LABELS(2, 1, 3, 4), COUNT},
     .fill = set_count,
     TOLERANCES},
    {.name = "one cell",
     .attr = {.ignore = 255},
     .in = {LOGITS(3, 1, 1, 4), LABELS(3, 3, 5, 6), COUNT},
     .fill = set_count,
     TOLERANCES},
    {.name = "several bands, wide",
     .attr = {.ignore = 3},
     .in = {LOGITS(1, 33, 5, 3), LABELS(3, 1, 67, 67), COUNT},
     .fill = set_count,
     TOLERANCES},
    {.name = "256 classes, less scratch",
     .attr = {.ignore = -1},
     .in = {LOGITS(1, 2, 2, 256), LABELS(255, 1, 3, 40), COUNT},
     .fill = set_count,
     TOLERANCES},
    {.name = "half ignored",
     .attr = {.ignore = 255},
     .in = {LOGITS(2, 3, 5, 7), LABELS(6, 2, 9, 15), COUNT},
     TOLERANCES,
     .fill = set_half_255},
    {.name = "all ignored",
     .attr = {.ignore = 0},
     .in = {LOGITS(1, 3, 3, 3), LABELS(2, 1, 6, 6), COUNT},
     TOLERANCES,
     .fill = set_all_ignored,
     .vanishes = true},
    {.name = "far logit",
     .attr = {.ignore = 255},
     .in = {LOGITS(1, 3, 3, 4), LABELS(3, 1, 6, 6), COUNT},
     .fill = set_far,
     .step = 1e-4, /* of a loss of some 100 */
     .tol = OPTEST_EPSILONS(4),
     .grad_tol = {1e-6, 1e-5}},
    {.name = "label out of range",
     .attr = {.ignore = 255},
     .in = {LOGITS(1, 3, 3, 4), LABELS(3, 1, 6, 6), COUNT},
     .fill = set_bad_label,
     .fails = "a label is 77, but the logits have 4 classes"},
    {.name = "other batch", .in = {LOGITS(1, 3, 3, 4), LABELS(3, 2, 6, 6), COUNT}, .refused = true},
    {.name = "labels in floats", .in = {LOGITS(1, 3, 3, 4), {OPTEST_SHAPE(1, 6, 6)}, COUNT}, .refused = true},
    {.name = "counts", .in = {LOGITS(1, 3, 3, 4), LABELS(3, 1, 6, 6), {OPTEST_SHAPE(2)}}, .refused = true},
};
OPTEST(cross_entropy, cross_entropy_ref, cross_entropy_cases);
OPTEST_THROUGH(cross_entropy_grad, cross_entropy);
