/* conv: partial sums of a convolution's weights on a GPU, dw [O,kh,kw,I/groups]. */
#ifndef DRAM_SCRATCH_CONV_H
#define DRAM_SCRATCH_CONV_H

#include "scratch/pieces.h"

enum {
    DRAM_CONV_TILE = 64,   /* a block's numbers of dw on a side */
    DRAM_CONV_NARROW = 32, /* channels of a group, at most, of which a block takes several: */
    DRAM_CONV_BUNDLE = 48  /* channels of so many groups as it takes */
};

/* Of `taps` positions of the kernel, co and ci channels of a group, and `pixels` of y in all: as many as make 384 blocks
 * or so, none of fewer than 512 pixels, no more than 8 MiB of them. One part is none. */
static inline int64_t dram_conv_parts_gpu(int64_t groups, int64_t co, int64_t ci, int64_t taps, int64_t pixels)
{
    const int64_t bytes = groups * co * taps * ci * (int64_t)sizeof(float);
    int64_t blocks = dram_ceil_div(co, DRAM_CONV_TILE) * dram_ceil_div(taps * ci, DRAM_CONV_TILE) * groups;
    if (groups > 1 && co <= DRAM_CONV_NARROW && ci <= DRAM_CONV_NARROW)
        blocks = dram_ceil_div(groups * (co > ci ? co : ci), DRAM_CONV_BUNDLE);
    const int64_t parts = dram_min(dram_min(384 / blocks, pixels / 512), (8 << 20) / bytes);
    return parts > 1 ? parts : 0;
}

#endif
