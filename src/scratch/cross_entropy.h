/* cross_entropy: chunks of upsampled logits, and the loss's parts. Logits [N,h,w,K], labels [N,H,W]. */
#ifndef DRAM_SCRATCH_CROSS_ENTROPY_H
#define DRAM_SCRATCH_CROSS_ENTROPY_H

#include "scratch/pieces.h"

enum {
    DRAM_CROSS_ENTROPY_LANES = 8,      /* classes are filled up to whole vectors of so many */
    DRAM_CROSS_ENTROPY_ROWS = 8,       /* rows of labels of a part */
    DRAM_CROSS_ENTROPY_ROWS_GPU = 2,   /* the same on a GPU, a double each */
    DRAM_CROSS_ENTROPY_PART_BYTES = 16 /* of a part on the CPU */
};

static inline int64_t dram_cross_entropy_padded(int64_t classes)
{
    return dram_ceil_div(classes, DRAM_CROSS_ENTROPY_LANES) * DRAM_CROSS_ENTROPY_LANES;
}

/* Columns of w logits that `pixels` of a row of `width` labels read at most. */
static inline int64_t dram_cross_entropy_columns(int64_t w, int64_t width, int64_t pixels)
{
    return dram_min(w, pixels * w / width + 3);
}

/* Floats of a worker's chunk: of each pixel the logits, weight, column and label, and twice the columns of logits. */
static inline int64_t dram_cross_entropy_floats(int64_t w, int64_t width, int64_t classes, int64_t pixels)
{
    const int64_t padded = dram_cross_entropy_padded(classes);
    return pixels * (padded + 3) + 2 * dram_cross_entropy_columns(w, width, pixels) * padded;
}

/* Pixels of a chunk for which so many floats are enough: 64 at most, 1 at least. */
static inline int64_t dram_cross_entropy_pixels(int64_t w, int64_t width, int64_t classes, int64_t floats)
{
    int64_t pixels = 64;
    while (pixels > 1 && dram_cross_entropy_floats(w, width, classes, pixels) > floats) pixels--;
    return pixels;
}

#endif
