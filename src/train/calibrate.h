/* calibrate: how long the nodes of a step take on this machine, measured once and kept in a file, for the planner to
 * count time by instead of FLOPs.
 *
 * A node is known by what its kernel is called with: op, element types, shapes and attributes. So times that were taken
 * of one config hold for another one that has the same layers.
 */
#ifndef DRAM_TRAIN_CALIBRATE_H
#define DRAM_TRAIN_CALIBRATE_H

#include "train/train.h"

/* Runs the steps of the config with drawn weights and made-up images, everything stored, three times over; writes the
 * shortest time of each node to `path`, beside those that the file has already (of the same device and number of
 * workers). DRAM_ERR_FIT when the step does not fit in memory. *n: nodes of different kinds that were timed. */
dram_status dram_calibrate(const dram_config *cfg, const char *path, int *n);

typedef struct dram_times dram_times;

/* Reads such a file. DRAM_ERR_CONFIG, DRAM_ERR_FORMAT; also when it is of another device or number of workers. */
dram_status dram_times_open(const char *path, const char *device, int workers, dram_times **times);
void dram_times_close(dram_times *times); /* NULL is allowed */

/* Seconds of each node of the graph. Nodes that were never timed are counted by their FLOPs, at the rate of those that
 * were. */
dram_status dram_times_of(const dram_times *times, const dram_graph *g, double *seconds);

#endif
