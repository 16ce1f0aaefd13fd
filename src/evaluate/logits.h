/* logits: what the task says of one image, asked at any point of it. Internal to src/evaluate. */
#ifndef DRAM_EVALUATE_LOGITS_H
#define DRAM_EVALUATE_LOGITS_H

#include "base/tensor.h"
#include "data/loader.h"

typedef struct {
    const float *logits; /* [h,w,K], over a square of which the image takes the top left */
    int h, w, classes;
    double square; /* its side in pixels of the original image */
} dram_logits;

/* Those of a sample: `logits` are its [h,w,K] of a program's [N,h,w,K], which has `shape`. */
dram_logits dram_logits_of(const dram_sample *sample, const float *logits, const dram_shape *shape);

/* The class with the largest logit at the point (y, x) of the original image, whose first pixel's middle is (0.5, 0.5):
 * bilinear, half-pixel centres, edges repeated. row: room for K floats. */
int dram_logits_class(const dram_logits *logits, double y, double x, float *row);

#endif
