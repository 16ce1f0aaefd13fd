/* math: exp and erf of fp32 that vectorise: straight-line code for use inside `#pragma omp simd` loops.
 *
 * The coefficients are dram's own: weighted least squares at Chebyshev nodes in 40 digits, the weights moved until the
 * error was level (Lawson's iteration).
 */
#ifndef DRAM_KERNELS_CPU_MATH_H
#define DRAM_KERNELS_CPU_MATH_H

#include "kernels/cpu/cpu.h"

/* e^x to 1.1 ulp from -87.33 to 88.37. 0 from about -87.68 down (-inf too), inf from about 88.38 up, NaN for NaN.
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

/* erf(x) to 1e-7, absolute and relative: up to |x| = 1 as x + x p(x^2), beyond as 1 - exp(q(|x|)) with q fitted to log
 * erfc, so that an error of q counts by erfc alone; exactly 1 from about 3.9 on. Both are computed and one is taken
 * (the division in two after N. Juffa's public notes on erff). NaN for NaN. */
static inline float dram_erff(float x)
{
    float t = x * x;
    float p = 7.85379833413e-5F;
    p = DRAM_FMA(p, t, -8.01017453427e-4F);
    p = DRAM_FMA(p, t, 5.18832551207e-3F);
    p = DRAM_FMA(p, t, -2.6853810791e-2F);
    p = DRAM_FMA(p, t, 1.12835851213e-1F);
    p = DRAM_FMA(p, t, -3.76126258218e-1F);
    p = DRAM_FMA(p, t, 1.2837916573e-1F);
    float a = fabsf(x);
    a = a > 4.0F ? 4.0F : a;
    float q = 1.85606513684e-4F;
    q = DRAM_FMA(q, a, -2.94001737237e-3F);
    q = DRAM_FMA(q, a, 2.1807315436e-2F);
    q = DRAM_FMA(q, a, -1.03042270399e-1F);
    q = DRAM_FMA(q, a, -6.38219210095e-1F);
    q = DRAM_FMA(q, a, -1.12704441684F);
    q = DRAM_FMA(q, a, -3.525230739e-4F);
    float large = copysignf(1.0F - dram_expf(q), x);
    return a > 1.0F ? large : DRAM_FMA(x, p, x);
}

#endif
