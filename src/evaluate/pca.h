/* pca: the first three principal components of the cells of an embedding. Internal to src/evaluate.
 *
 * Covariance and eigenvectors in double, by BLAS dsyrk and LAPACK dsyev. An axis is turned so that its largest
 * component (by size; the first of equals) is positive: the same numbers give the same picture.
 */
#ifndef DRAM_EVALUATE_PCA_H
#define DRAM_EVALUATE_PCA_H

#include <stdint.h>

#include "base/status.h"

enum { DRAM_PCA_AXES = 3 };

typedef struct {
    int channels;                    /* C, DRAM_PCA_AXES or more */
    double *mean;                    /* [C], owned */
    double *axis;                    /* [3,C], unit length, by falling variance; owned */
    double deviation[DRAM_PCA_AXES]; /* standard deviation along each; 0: nothing varies there */
    double explained;                /* share of the variance that the three hold; NAN where nothing varies */
} dram_pca;

/* Fits cells x [n,channels] whose mask [n] is not 0. DRAM_ERR_NUMERIC for numbers that are not finite. */
dram_status dram_pca_fit(const float *x, const float *mask, int64_t n, int channels, dram_pca *pca);
void dram_pca_free(dram_pca *pca); /* {0} is allowed */

/* Where a cell [channels] lies along the axes, in standard deviations of what was fitted; 0 where nothing varies. */
void dram_pca_project(const dram_pca *pca, const float *x, double out[DRAM_PCA_AXES]);

#endif
