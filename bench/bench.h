/* bench: what the benchmarks share. */
#ifndef DRAM_BENCH_BENCH_H
#define DRAM_BENCH_BENCH_H

#include <stdlib.h>

#include "base/half.h"
#include "base/rng.h"
#include "ir/graph.h"

static inline int bench_by_size(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

/* Sorts the numbers. */
static inline double bench_median(double *numbers, int n)
{
    qsort(numbers, (size_t)n, sizeof *numbers, bench_by_size);
    return numbers[n / 2];
}

/* Fills a value of f32, bf16 or f16 at `to` with numbers between -range and range, by its name. */
static inline void bench_draw(const dram_value *value, double range, void *to)
{
    dram_rng rng = dram_rng_make(1, DRAM_RNG_TEST, dram_hash_name(value->name));
    for (int64_t i = 0; i < dram_elements(&value->shape); i++) {
        float x = (float)dram_rng_range(&rng, -range, range);
        if (value->dtype == DRAM_F32)
            ((float *)to)[i] = x;
        else
            ((uint16_t *)to)[i] = value->dtype == DRAM_BF16 ? dram_f32_to_bf16(x) : dram_f32_to_f16(x);
    }
}

#endif
