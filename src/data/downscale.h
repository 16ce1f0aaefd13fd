/* downscale: makes an image smaller while it is decoded, by area averaging. Internal to src/data.
 *
 * It is fed row by row, so that a source larger than memory never exists whole. Output pixel (i, j) is the mean of the
 * source over [i,i+1) x [j,j+1) scaled; edges that cut a source pixel weigh it by its part. resize.h is for any size,
 * up or down, of an image that is whole in memory.
 */
#ifndef DRAM_DATA_DOWNSCALE_H
#define DRAM_DATA_DOWNSCALE_H

#include <stdint.h>

#include "base/status.h"

/* Largest size of the same shape with height * width <= max_pixels (0: no limit), sides at least 1. */
void dram_downscaled_size(int height, int width, int64_t max_pixels, int *out_height, int *out_width);

typedef struct {
    int sh, sw, dh, dw;
    int source_row, out_row; /* next of each */
    float *row, *sum;        /* [dw,3] each, one block owned by row */
    uint8_t *out;            /* [dh,dw,3], the caller's */
} dram_downscale;

/* sh >= dh, sw >= dw: sizes of the source and of `out`. out may be the buffer that holds the source rows: a row is
 * written only after every row that it overwrites is read. DRAM_ERR_MEMORY only. */
dram_status dram_downscale_begin(dram_downscale *s, int sh, int sw, int dh, int dw, uint8_t *out);
void dram_downscale_push(dram_downscale *s, const uint8_t *row); /* [sw,3]; exactly sh times */
void dram_downscale_end(dram_downscale *s);                      /* {0} is allowed */

/* Makes [dh,dw,3] of pixels [sh,sw,3], in place. DRAM_ERR_MEMORY only. */
dram_status dram_downscale_in_place(uint8_t *pixels, int sh, int sw, int dh, int dw);

/* Bytes that dram_downscale_begin takes. */
int64_t dram_downscale_bytes(int dw);

#endif
