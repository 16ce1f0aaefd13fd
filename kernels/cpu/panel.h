/* panel: products of narrow matrices, for which packing the large operand (as a BLAS does) would cost as much as the
 * product: the large one is read where it lies, only the small one is packed.
 */
#ifndef DRAM_KERNELS_CPU_PANEL_H
#define DRAM_KERNELS_CPU_PANEL_H

#include "kernels/cpu/cpu.h"
#include "scratch/linear.h"

/* C [M,N] = A B (+ bias) (+ acc). Row r of A is `segments` runs of `run` floats: run s begins at a + r a_step +
 * s segment_step. So the pixels of an image row under a convolution kernel are a matrix as they lie. */
typedef struct {
    int64_t m, n, segments, run;
    const float *a;
    int64_t a_step, segment_step;
    const float *b; /* packed by panel_pack, K = segments run */
    float *c;
    int64_t ldc;
    const float *bias; /* [N] or NULL */
    const float *acc;  /* laid out like C, may be C; or NULL */
} dram_panel;

void DRAM_CPU(panel)(const dram_panel *p);

/* B [K,N] to pack: K counts segments, then columns, then channels; element (s, t, i, n) is at
 * w + s seg_step + t col_step + i chan_step + n n_step. */
typedef struct {
    const float *w;
    int64_t segments, columns, channels, n;
    int64_t seg_step, col_step, chan_step, n_step;
} dram_panel_source;

void DRAM_CPU(panel_pack)(const dram_panel_source *from, float *b);

/* D [O, 8 vectors] += sum over pixels of dy [O] times x [8 vectors], where pixel (r, j) of `rows` by `m` is at
 * dy + r dy_row + j dy_step and x + r x_row + j x_step. Reads whole vectors of x. */
typedef struct {
    int64_t rows, m, o, vectors;
    const float *x, *dy;
    int64_t x_row, x_step, dy_row, dy_step;
    float *d;
    int64_t ldd;
} dram_outer;

void DRAM_CPU(outer)(const dram_outer *p);

#endif
