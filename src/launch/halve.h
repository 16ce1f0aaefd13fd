/* halve: which points of a sweep go on past a rung: asynchronous successive halving (Li et al. 2018), within tiers of
 * memory, since small models would be cut for being small. Pure. */
#ifndef DRAM_LAUNCH_HALVE_H
#define DRAM_LAUNCH_HALVE_H

#include "sweep/events.h"

enum { DRAM_HALVE_TIERS = 3 };

typedef struct {
    const dram_sweep *sweep;
    int *tier;    /* [n_points]: thirds of the trained points by planned bytes, equal bytes in one; -1: not trained */
    int *allowed; /* [n_points]: rungs that its runs may pass; n_rungs: to the end */
    double *mean; /* [n_points], of the rung that is looked at */
    int *order;   /* [n_points] */
    int *first;   /* [n_points], its first run */
} dram_halve;

dram_status dram_halve_open(const dram_sweep *sweep, dram_halve *halve);
void dram_halve_close(dram_halve *halve); /* {0} is allowed */

/* Says anew how far points may go: at a rung the best share `keep` of those of a tier that have come to it, with all
 * their seeds that did not fail; one at least when all have come that can. Who was let past stays so. `of` is of each
 * run. */
void dram_halve_update(dram_halve *halve, const dram_sweep_event_state *of);

/* Rungs that a run of so many steps has come to. */
int dram_halve_level(const dram_sweep *sweep, int64_t steps);

#endif
