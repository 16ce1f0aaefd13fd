/* math: exp and erf of fp32 that vectorise: straight-line code for use inside `#pragma omp simd` loops.
 *
 * The coefficients are dram's own: weighted least squares at Chebyshev nodes in 40 digits, the weights moved until the
 * relative error was level (Lawson's iteration; for the rational one on its linearised form).
 */
#ifndef DRAM_KERNELS_CPU_MATH_H
#define DRAM_KERNELS_CPU_MATH_H

#include "kernels/cpu/cpu.h"

/* e^x to 2 ulp from -87.33 to 88.37. 0 from about -87.68 down (-inf too), inf from about 88.38 up, NaN for NaN.
 *
 * Cody and Waite's reduction (Software Manual for the Elementary Functions, 1980): x = n log 2 + r with log 2 in two
 * parts, n rounded by adding 1.5 2^23, whose low bits then hold n; e^r = 1 + r + r^2 p(r); 2^n is put together from
 * bits. The bounds let n run from -127 to 128, whose exponent bits are those of 0 and of inf: no case apart. */
static inline float dram_expf(float x)
{
    const float magic = 0x1.8p23F;
    x = x < -88.0F ? -88.0F : x;
    x = x > 88.9F ? 88.9F : x;
    float shifted = DRAM_FMA(x, 0x1.715476p0F, magic);
    float n = shifted - magic;
    float r = DRAM_FMA(n, -0x1.62e4p-1F, x); /* log 2 to 15 bits: n times it is exact */
    r = DRAM_FMA(n, -0x1.7f7d1cp-20F, r);    /* the rest */
    float p = 1.39012855771e-3F;
    p = DRAM_FMA(p, r, 8.36317019267e-3F);
    p = DRAM_FMA(p, r, 4.1666853862e-2F);
    p = DRAM_FMA(p, r, 1.66665771414e-1F);
    p = DRAM_FMA(p, r, 4.99999995513e-1F);
    p = DRAM_FMA(p, r * r, r) + 1.0F;
    uint32_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits + 127U) << 23;
    float power;
    memcpy(&power, &bits, sizeof power);
    return p * power;
}

/* erf(x) to 2e-7 relative (the approximation itself to 2e-8): x P(x^2) / Q(x^2), and exactly 1 from 3.93 on, where it
 * is that in fp32: GELU multiplies 1 + erf of a large negative number by it. NaN for NaN. */
static inline float dram_erff(float x)
{
    const float end = 3.93F;
    x = x < -end ? -end : x;
    x = x > end ? end : x;
    float t = x * x;
    float p = 2.04199396636e-6F;
    p = DRAM_FMA(p, t, 2.8480567614e-4F);
    p = DRAM_FMA(p, t, 3.77947803711e-3F);
    p = DRAM_FMA(p, t, 5.2789877277e-2F);
    p = DRAM_FMA(p, t, 1.90780775776e-1F);
    p = DRAM_FMA(p, t, 1.12837914535F);
    float q = 3.80041632754e-5F;
    q = DRAM_FMA(q, t, 1.16518103565e-3F);
    q = DRAM_FMA(q, t, 1.49971731103e-2F);
    q = DRAM_FMA(q, t, 1.14256255782e-1F);
    q = DRAM_FMA(q, t, 5.02407780278e-1F);
    q = DRAM_FMA(q, t, 1.0F);
    float y = x * p / q;
    y = x <= -end ? -1.0F : y;
    return x >= end ? 1.0F : y;
}

#endif
