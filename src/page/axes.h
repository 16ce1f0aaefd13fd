/* axes: the frame of a chart: grid, ticks and their labels. */
#ifndef DRAM_PAGE_AXES_H
#define DRAM_PAGE_AXES_H

#include "base/str.h"
#include "page/scale.h"

/* The plot within its drawing, in the drawing's units. */
typedef struct {
    dram_scale x, y;
    double left, top, width, height;
} dram_axes;

double dram_axes_x(const dram_axes *axes, double value);
double dram_axes_y(const dram_axes *axes, double value);

/* Grid, ticks and labels, and the name of the x axis under them. Looks are style.h's. */
void dram_axes_add(const dram_axes *axes, const char *x_name, dram_str *out);

#endif
