#include "kernels/cpu/pixels.h"

/* Whole vectors of 8 channels, as in most groups: a type and a number of channels that are known when this is compiled
 * leave a few instructions a vector. */
#define INLINE static inline __attribute__((always_inline))

INLINE void widen_some(const dram_pixels *p, const void *base, dram_dtype dtype, int64_t channels, float *tile)
{
    const uint16_t *from = (const uint16_t *)base + p->at;
    const int64_t step = p->step;
    for (int64_t i = 0; i < p->count; i++, from += step, tile += channels) {
        __builtin_prefetch(from + 32); /* of the groups to come */
        for (int64_t c = 0; c < channels; c += 8) dram_lowp_widen(from, dtype, c, 8, tile + c);
    }
}

INLINE void widen_eights(const dram_pixels *p, const void *base, dram_dtype dtype, float *tile)
{
    if (p->channels == 8)
        widen_some(p, base, dtype, 8, tile);
    else if (p->channels == 16)
        widen_some(p, base, dtype, 16, tile);
    else if (p->channels == 24)
        widen_some(p, base, dtype, 24, tile);
    else
        widen_some(p, base, dtype, p->channels, tile);
}

INLINE void narrow_eight(const float *tile, dram_dtype dtype, uint16_t *to)
{
#ifdef __AVX2__
    __m256 x = _mm256_loadu_ps(tile);
    if (dtype == DRAM_BF16 && !_mm256_movemask_ps(_mm256_cmp_ps(x, x, _CMP_UNORD_Q))) { /* no NaN */
        __m256i u = dram_lowp_round_bf16(x);
        __m128i both = _mm_packus_epi32(_mm256_castsi256_si128(u), _mm256_extracti128_si256(u, 1));
        _mm_storeu_si128((__m128i *)to, both);
        return;
    }
#endif
    dram_lowp_narrow(to, dtype, 0, tile, 8);
}

INLINE void narrow_some(const dram_pixels *p, const float *tile, dram_dtype dtype, int64_t channels, void *base)
{
    uint16_t *to = (uint16_t *)base + p->at;
    const int64_t step = p->step;
    for (int64_t i = 0; i < p->count; i++, to += step, tile += channels)
        for (int64_t c = 0; c < channels; c += 8) narrow_eight(tile + c, dtype, to + c);
}

INLINE void narrow_eights(const dram_pixels *p, const float *tile, dram_dtype dtype, void *base)
{
    if (p->channels == 8)
        narrow_some(p, tile, dtype, 8, base);
    else if (p->channels == 16)
        narrow_some(p, tile, dtype, 16, base);
    else if (p->channels == 24)
        narrow_some(p, tile, dtype, 24, base);
    else
        narrow_some(p, tile, dtype, p->channels, base);
}

void DRAM_CPU(pixels_widen)(const dram_pixels *p, const void *base, float *tile)
{
    if (p->channels == p->step)
        dram_lowp_widen(base, p->dtype, p->at, p->count * p->channels, tile);
    else if (p->channels % 8 != 0)
        for (int64_t i = 0; i < p->count; i++)
            dram_lowp_widen(base, p->dtype, p->at + i * p->step, p->channels, tile + i * p->channels);
    else if (p->dtype == DRAM_BF16)
        widen_eights(p, base, DRAM_BF16, tile);
    else
        widen_eights(p, base, DRAM_F16, tile);
}

void DRAM_CPU(pixels_narrow)(const dram_pixels *p, const float *tile, void *base)
{
    if (p->channels == p->step)
        dram_lowp_narrow(base, p->dtype, p->at, tile, p->count * p->channels);
    else if (p->channels % 8 != 0)
        for (int64_t i = 0; i < p->count; i++)
            dram_lowp_narrow(base, p->dtype, p->at + i * p->step, tile + i * p->channels, p->channels);
    else if (p->dtype == DRAM_BF16)
        narrow_eights(p, tile, DRAM_BF16, base);
    else
        narrow_eights(p, tile, DRAM_F16, base);
}
