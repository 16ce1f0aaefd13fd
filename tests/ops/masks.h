/* masks: fillings of the losses' inputs s, t [N,H,W,C] and mask [N,H,W]. */
#ifndef TESTS_OPS_MASKS_H
#define TESTS_OPS_MASKS_H

#include <math.h>

#include "optest.h"

/* A valid rectangle, another for each image; image `none` has no valid cell. */
static inline void masks_set(const optest_case *c, double *const in[], int64_t none)
{
    const int64_t *s = c->in[0].shape.dim;
    for (int64_t i = 0; i < s[0] * s[1] * s[2]; i++) {
        int64_t n = i / s[2] / s[1], y = i / s[2] % s[1], x = i % s[2];
        in[2][i] = n != none && y <= s[1] * (n + 1) / (s[0] + 1) && x <= s[2] * (s[0] - n) / (s[0] + 1);
    }
}

static inline void masks_padded(const optest_case *c, dram_rng *rng, double *const in[])
{
    (void)rng;
    masks_set(c, in, -1);
}

static inline void masks_padded_one_empty(const optest_case *c, dram_rng *rng, double *const in[])
{
    (void)rng;
    masks_set(c, in, 1);
}

/* What is in the padding must not be read. */
static inline void masks_padded_with_nan(const optest_case *c, dram_rng *rng, double *const in[])
{
    int64_t channels = c->in[0].shape.dim[3];
    masks_padded(c, rng, in);
    for (int64_t i = 0; i < dram_elements(&c->in[0].shape); i++)
        if (in[2][i / channels] == 0) in[0][i] = in[1][i] = NAN;
}

static inline void masks_empty(const optest_case *c, dram_rng *rng, double *const in[])
{
    (void)rng;
    for (int64_t i = 0; i < dram_elements(&c->in[2].shape); i++) in[2][i] = 0;
}

#endif
