/* shrink: area averaging, fed row by row, so that a source larger than memory never exists whole. Internal to src/data.
 *
 * Output pixel (i, j) is the mean of the source over [i,i+1) x [j,j+1) scaled; edges that cut a source pixel weigh it
 * by its part. Sizes only shrink.
 */
#ifndef DRAM_DATA_SHRINK_H
#define DRAM_DATA_SHRINK_H

#include <stdint.h>

#include "base/status.h"

typedef struct {
    int sh, sw, dh, dw;
    int source_row, out_row; /* next of each */
    float *row, *sum;        /* [dw,3] each, one block owned by row */
    uint8_t *out;            /* [dh,dw,3], the caller's */
} dram_shrink;

/* out may be the buffer that holds the source rows: a row is written only after every row that it overwrites is read.
 */
dram_status dram_shrink_begin(dram_shrink *s, int sh, int sw, int dh, int dw, uint8_t *out);
void dram_shrink_push(dram_shrink *s, const uint8_t *row); /* [sw,3]; exactly sh times */
void dram_shrink_end(dram_shrink *s);                      /* {0} is allowed */

/* Shrinks pixels [sh,sw,3] to [dh,dw,3] in place. */
dram_status dram_shrink_in_place(uint8_t *pixels, int sh, int sw, int dh, int dw);

/* Bytes that dram_shrink_begin takes. */
int64_t dram_shrink_bytes(int dw);

#endif
