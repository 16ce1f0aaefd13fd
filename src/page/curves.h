/* curves: the charts of one or several runs, from what their directories hold. */
#ifndef DRAM_PAGE_CURVES_H
#define DRAM_PAGE_CURVES_H

#include "page/chart.h"
#include "page/history.h"

/* Points of a series; owned by whom filled it. */
typedef struct {
    double *x, *y; /* [n] */
    int n;
} dram_points;

/* A column of metrics.jsonl over updates, from 1. Where lines are missing there is a gap. A null is a number that was
 * not finite in what every step has, and is left out elsewhere. */
dram_status dram_points_metric(const dram_history *history, int column, dram_points *points);

/* A column of evaluations.jsonl over updates, of memory.jsonl over the seconds of training. */
dram_status dram_points_evaluation(const dram_history *history, int column, dram_points *points);
dram_status dram_points_memory(const dram_history *history, int column, dram_points *points);
void dram_points_free(dram_points *points); /* leaves {0} */

/* To how many updates on either side a line is smoothed; 0: it is short enough to be shown as it is. */
double dram_points_reach(const dram_points *points);

/* The charts of a run's training, of its evaluations, of its memory, as figures. */
dram_status dram_curves_training(const dram_history *history, dram_str *out);
dram_status dram_curves_evaluations(const dram_history *history, dram_str *out);
dram_status dram_curves_memory(const dram_history *history, dram_str *out);

/* Several runs over each other, by their names: loss, quality, images/s. */
dram_status dram_curves_runs(const dram_history *histories, int n, dram_str *out);

#endif
