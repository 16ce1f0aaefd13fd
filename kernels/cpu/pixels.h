/* pixels: some channels of each of many pixels, between a tensor of bf16 or f16 and a tile of fp32.
 *
 * In the tensor they begin at element `at` and are `step` elements apart, in the tile they lie side by side:
 * [count, channels]. Rounding is that of lowp.h. */
#ifndef DRAM_KERNELS_CPU_PIXELS_H
#define DRAM_KERNELS_CPU_PIXELS_H

#include "kernels/cpu/lowp.h"

typedef struct {
    dram_dtype dtype; /* bf16 or f16 */
    int64_t at, step, count, channels;
} dram_pixels;

void DRAM_CPU(pixels_widen)(const dram_pixels *p, const void *base, float *tile);
void DRAM_CPU(pixels_narrow)(const dram_pixels *p, const float *tile, void *base);

#endif
