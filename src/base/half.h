/* half: IEEE binary16 (F16) and bfloat16 (BF16) from and to float, one number at a time.
 *
 * Widening is exact. Narrowing rounds to nearest, ties to even; what is too large becomes an infinity, subnormals are
 * kept, a NaN stays a quiet NaN with its sign. The same bits come out with and without F16C.
 */
#ifndef DRAM_BASE_HALF_H
#define DRAM_BASE_HALF_H

#include <stdint.h>
#include <string.h>
#ifdef __F16C__
#include <immintrin.h>
#endif

static inline uint32_t dram_float_bits(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

static inline float dram_bits_float(uint32_t u)
{
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

static inline float dram_bf16_to_f32(uint16_t h)
{
    return dram_bits_float((uint32_t)h << 16);
}

static inline uint16_t dram_f32_to_bf16(float x)
{
    uint32_t u = dram_float_bits(x);
    if ((u & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(u >> 16 | 0x40u); /* a payload must not round to infinity */
    return (uint16_t)((u + 0x7fffu + (u >> 16 & 1u)) >> 16);
}

/* The portable F16 pair, always present so that tests can hold it against F16C. */
static inline float dram_f16_to_f32_soft(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16;
    uint32_t exponent = h >> 10 & 0x1fu, fraction = h & 0x3ffu;
    if (exponent == 31) return dram_bits_float(sign | 0x7f800000u | fraction << 13 | (fraction ? 0x400000u : 0u));
    if (exponent == 0) { /* zero or subnormal: fraction * 2^-24, exact in float */
        float x = (float)fraction * 0x1.0p-24f;
        return sign ? -x : x;
    }
    return dram_bits_float(sign | (exponent + 112u) << 23 | fraction << 13);
}

static inline uint16_t dram_f32_to_f16_soft(float x)
{
    uint32_t u = dram_float_bits(x);
    uint32_t sign = u >> 16 & 0x8000u, a = u & 0x7fffffffu;
    if (a > 0x7f800000u) return (uint16_t)(sign | 0x7e00u | (a >> 13 & 0x1ffu));
    if (a >= 0x477ff000u) return (uint16_t)(sign | 0x7c00u); /* 65520 and more round to infinity */
    if (a >= 0x38800000u) {                                  /* normal: rebias by 112, drop 13 bits */
        a += 0xfffu + (a >> 13 & 1u);
        return (uint16_t)(sign | ((a >> 13) - (112u << 10)));
    }
    if (a < 0x33000000u) return (uint16_t)sign; /* below half of 2^-24 */
    uint32_t shift = 126u - (a >> 23);          /* 14..24 */
    uint32_t m = (a & 0x7fffffu) | 0x800000u;
    uint32_t half = 1u << (shift - 1), rest = m & ((1u << shift) - 1u), q = m >> shift;
    if (rest > half || (rest == half && (q & 1u))) q++;
    return (uint16_t)(sign | q);
}

static inline float dram_f16_to_f32(uint16_t h)
{
#ifdef __F16C__
    return _cvtsh_ss(h);
#else
    return dram_f16_to_f32_soft(h);
#endif
}

static inline uint16_t dram_f32_to_f16(float x)
{
#ifdef __F16C__
    return (uint16_t)_cvtss_sh(x, _MM_FROUND_TO_NEAREST_INT);
#else
    return dram_f32_to_f16_soft(x);
#endif
}

/* half[0..n-1], apart from x. Returns the place of the first finite number that fp16 has none for, n without one: what
 * lies behind it may not have been rounded. */
int64_t dram_floats_to_f16(const float *x, int64_t n, uint16_t *half);

#endif
