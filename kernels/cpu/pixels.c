#include "kernels/cpu/pixels.h"

/* Channels in whole vectors of 8, as those of most groups: a type and a length known when this is compiled leave two or
 * three instructions a vector. */
static inline __attribute__((always_inline)) void widen_eights(const dram_pixels *p, const void *base, dram_dtype dtype,
                                                               float *tile)
{
    for (int64_t i = 0; i < p->count; i++)
        for (int64_t c = 0; c < p->channels; c += 8, tile += 8)
            dram_lowp_widen(base, dtype, p->at + i * p->step + c, 8, tile);
}

static inline __attribute__((always_inline)) void narrow_eights(const dram_pixels *p, const float *tile,
                                                                dram_dtype dtype, void *base)
{
    for (int64_t i = 0; i < p->count; i++)
        for (int64_t c = 0; c < p->channels; c += 8, tile += 8)
            dram_lowp_narrow(base, dtype, p->at + i * p->step + c, tile, 8);
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
