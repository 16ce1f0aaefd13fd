/* chart: lines over steps or time, as a figure of a page: a caption, a key to the lines, an SVG, a note. */
#ifndef DRAM_PAGE_CHART_H
#define DRAM_PAGE_CHART_H

#include "base/status.h"
#include "base/str.h"
#include "page/scale.h"

typedef enum { DRAM_LINE_PLAIN, DRAM_LINE_DOTTED, DRAM_LINE_STAIRS } dram_line_kind; /* DOTTED: a marker a point */

/* x rises. y NaN: no number, a gap in the line; y an infinity: a number that was not finite, a gap and a cross at the
 * upper edge. */
typedef struct {
    const char *name;
    const double *x, *y; /* [n] */
    int n;
    int style; /* colour and dashes, from 0: style.h */
    dram_line_kind kind;
    double reach; /* above 0: the line is pale, and a strong one is the mean over `reach` to either side */
} dram_series;

typedef struct {
    const char *title, *x_name;
    dram_unit x_unit, y_unit;
    bool from_zero, may_log; /* may_log: numbers that span a factor of 50 or more are on a log axis */
    bool wide;               /* over the whole page */
    const dram_series *series;
    int n_series;
    const double *marks; /* [n_marks] x at which a line stands, NULL: none */
    int n_marks;
    const char *marks_name; /* in the key */
    const char *note;       /* below; NULL: none */
} dram_chart;

/* Adds the figure; one without any number is a line that says so. The same chart gives the same bytes. */
dram_status dram_chart_add(const dram_chart *chart, dram_str *out);

#endif
