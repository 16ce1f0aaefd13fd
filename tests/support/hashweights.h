/* hashweights: the weights and inputs of tests/golden/, from an integer hash of their names: the same numbers as
 * scripts/golden.py makes.
 *
 * Element i (row-major in the file's layout, which is PyTorch's: NCHW, OIHW) of the tensor called `name`:
 *
 *     h = mix64(fnv1a64(name) + i * 0x9e3779b97f4a7c15)         mix64: SplitMix64's finaliser without its increment
 *     u = (2 * (h >> 40) + 1 - 2^24) / 2^24                     in (-1, 1), a float exactly, never 0
 *     value = (float)(offset + scale * u)                       in double; scale and offset by hash_rule
 */
#ifndef DRAM_TESTS_HASHWEIGHTS_H
#define DRAM_TESTS_HASHWEIGHTS_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/rng.h"

/* h of element i. */
static inline uint64_t hash_u64(const char *name, int64_t i)
{
    /* dram_mix64 adds the increment first: take it away before */
    return dram_mix64(dram_hash_name(name) + (uint64_t)i * 0x9e3779b97f4a7c15u - 0x9e3779b97f4a7c15u);
}

/* An integer in [0, bound): labels, masks and the places that a golden entry keeps. */
static inline int64_t hash_index(const char *name, int64_t i, int64_t bound)
{
    return (int64_t)(hash_u64(name, i) % (uint64_t)bound);
}

static inline bool hash_ends_with(const char *name, const char *end)
{
    size_t n = strlen(name), m = strlen(end);
    return n >= m && strcmp(name + n - m, end) == 0;
}

/* Chosen so that activations stay near 1 and every tensor matters; the first line that fits holds. */
static inline void hash_rule(const char *name, int rank, const int64_t *dim, double *scale, double *offset)
{
    double fan_in = 1;
    *offset = 0;
    for (int k = 1; k < rank; k++) fan_in *= (double)dim[k];
    if (hash_ends_with(name, "running_var")) {
        *scale = 0.5, *offset = 1;
    } else if (hash_ends_with(name, "running_mean") || hash_ends_with(name, "bias")) {
        *scale = 0.1;
    } else if (strstr(name, "rel_pos_")) {
        *scale = 0.3;
    } else if (hash_ends_with(name, "pos_embed")) {
        *scale = 0.5;
    } else if (hash_ends_with(name, "conv3.bn.weight")) {
        *scale = 0.125, *offset = 0.25;
    } else if (hash_ends_with(name, "weight")) {
        *scale = rank == 1 ? 0.25 : sqrt(3.0 / fan_in);
        *offset = rank == 1 ? 1 : 0;
    } else {
        *scale = strcmp(name, "input") == 0 ? 2 : 1;
    }
}

static inline float hash_value(const char *name, int64_t i, double scale, double offset)
{
    double u = (double)(2 * (int64_t)(hash_u64(name, i) >> 40) + 1 - (1 << 24)) * 0x1p-24;
    return (float)(offset + scale * u);
}

/* Elements offset .. offset + count - 1 in the file's layout. */
static inline void hash_weight(const char *name, int rank, const int64_t *dim, int64_t offset, int64_t count,
                               float *out)
{
    double scale, shift;
    hash_rule(name, rank, dim, &scale, &shift);
    for (int64_t i = 0; i < count; i++) out[i] = hash_value(name, offset + i, scale, shift);
}

/* The whole of a rank-4 tensor with its second dimension moved to the end: NCHW to NHWC, OIHW to OHWI. dim is the
 * file's shape. */
static inline void hash_weight_nhwc(const char *name, const int64_t dim[4], float *out)
{
    double scale, shift;
    int64_t plane = dim[2] * dim[3];
    hash_rule(name, 4, dim, &scale, &shift);
    for (int64_t n = 0; n < dim[0]; n++)
        for (int64_t p = 0; p < plane; p++)
            for (int64_t c = 0; c < dim[1]; c++)
                out[(n * plane + p) * dim[1] + c] = hash_value(name, (n * dim[1] + c) * plane + p, scale, shift);
}

#endif
