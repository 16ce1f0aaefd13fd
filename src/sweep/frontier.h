/* frontier: which points are worth their bytes and their time. */
#ifndef DRAM_SWEEP_FRONTIER_H
#define DRAM_SWEEP_FRONTIER_H

#include "sweep/sweep.h"

/* A quality over n runs; sd is that of a sample, and of no use where n is 1. */
typedef struct {
    double mean, sd;
    int n;
} dram_quality_sample;

/* Probability that a sample with a's mean or a higher one comes of a quality that is b's: Welch's one-sided t. Where one
 * of the two is a single run, it is taken to scatter as the other does. Both n are 1 or more, and not both 1. */
double dram_welch(dram_quality_sample a, dram_quality_sample b);

/* Regularised incomplete beta function of a, b above 0 and x in 0..1. */
double dram_beta(double a, double b, double x);

/* Whether a is better than b: at 5 %, or, of one run each, and where neither scatters, as they are. */
bool dram_is_better(dram_quality_sample a, dram_quality_sample b, bool less_is_better);

/* Sets known, single, pareto and dominated_by of outcomes that have n, mean, sd and time. */
void dram_sweep_frontier(const dram_sweep *sweep, dram_sweep_outcome *outcomes);

#endif
