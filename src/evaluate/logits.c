#include "evaluate/logits.h"

dram_logits dram_logits_of(const dram_sample *sample, const float *logits, const dram_shape *shape)
{
    return (dram_logits){.logits = logits,
                         .h = (int)shape->dim[1],
                         .w = (int)shape->dim[2],
                         .classes = (int)shape->dim[3],
                         .square = sample->geometry.square};
}

/* Place of a coordinate among n cells. */
static double cell_of(double at, double square, int n)
{
    double cell = at / square * n - 0.5;
    return cell < 0 ? 0 : cell > n - 1 ? n - 1 : cell;
}

int dram_logits_class(const dram_logits *l, double y, double x, float *row)
{
    int h = l->h, w = l->w, classes = l->classes, best = 0;
    double fy = cell_of(y, l->square, h), fx = cell_of(x, l->square, w);
    int y0 = (int)fy, x0 = (int)fx;
    int y1 = y0 + 1 < h ? y0 + 1 : y0, x1 = x0 + 1 < w ? x0 + 1 : x0;
    float ay = (float)(fy - y0), ax = (float)(fx - x0);
    const float *a = l->logits + (int64_t)(y0 * w + x0) * classes, *b = l->logits + (int64_t)(y0 * w + x1) * classes;
    const float *c = l->logits + (int64_t)(y1 * w + x0) * classes, *d = l->logits + (int64_t)(y1 * w + x1) * classes;
    for (int k = 0; k < classes; k++)
        row[k] = (1 - ay) * ((1 - ax) * a[k] + ax * b[k]) + ay * ((1 - ax) * c[k] + ax * d[k]);
    for (int k = 1; k < classes; k++)
        if (row[k] > row[best]) best = k;
    return best;
}
