/* scatter: points of memory against quality, as a figure of a page or an SVG file of its own. */
#ifndef DRAM_PAGE_SCATTER_H
#define DRAM_PAGE_SCATTER_H

#include <stdbool.h>

#include "base/status.h"
#include "base/str.h"
#include "page/scale.h"

typedef struct {
    double x, y;
    double sd;        /* half of the bar through it; NAN: none */
    double seconds;   /* its area; NAN: not known, a small dot */
    bool hollow;      /* one seed: nothing is known of its spread */
    bool frontier;    /* on it: in colour, others are grey */
    int number;       /* written beside it where there is room; those of the frontier first */
    const char *text; /* under the pointer, lines */
} dram_dot;

typedef struct {
    const char *title, *x_name, *y_name;
    dram_unit x_unit, y_unit;
    bool less; /* less of y is better: the frontier falls */
    const dram_dot *dots;
    int n;
} dram_scatter;

/* Dots whose x or y is not finite are not drawn, and counted below. */
dram_status dram_scatter_figure(const dram_scatter *scatter, dram_str *out);
dram_status dram_scatter_picture(const dram_scatter *scatter, dram_str *out); /* a whole SVG document */

#endif
