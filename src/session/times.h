/* times: the file that memory.profile names: how long the nodes of a step take on a machine, for the planner to count
 * time by instead of FLOPs, and what a process takes of its GPU beside the arena. session/calibrate.h measures them.
 *
 * A node is known by what its kernel is called with: op, element types, shapes and attributes. So times that were taken
 * of one config hold for another one that has the same layers.
 */
#ifndef DRAM_SESSION_TIMES_H
#define DRAM_SESSION_TIMES_H

#include "device/device.h"

/* Whose times they are. */
typedef struct {
    bool gpu;
    int workers; /* compute threads of the CPU */
    /* The CPU's instruction set or the GPU's name; "" for a GPU that is not here: any GPU's will do. */
    char kernels[96];
} dram_times_machine;

/* What a process takes of the GPU's memory beside the arena; counted says how that was found out, not at all for one
 * that was not. */
typedef struct {
    dram_counted counted;
    int64_t context_bytes, loaded_bytes; /* as in dram_profile */
} dram_times_process;

typedef struct dram_times dram_times;

/* No times. */
dram_status dram_times_new(dram_times **times);

/* Reads such a file. DRAM_ERR_CONFIG, DRAM_ERR_FORMAT; also when it is of another device or number of workers. */
dram_status dram_times_open(const char *path, const dram_times_machine *machine, dram_times **times);
dram_status dram_times_save(const dram_times *times, const char *path, const dram_times_machine *machine);
void dram_times_close(dram_times *times); /* NULL is allowed */

/* Adds the seconds of each node of the graph; of a node that is known already the shorter time stays. */
dram_status dram_times_add(dram_times *times, const dram_graph *g, const double *seconds);
int dram_times_count(const dram_times *times); /* of different nodes */

/* To be read and written. */
dram_times_process *dram_times_of_process(dram_times *times);

/* Seconds and FLOPs of those nodes of the graph that were timed, their sums. */
void dram_times_known(const dram_times *times, const dram_graph *g, double *seconds, double *flops);

/* Seconds of each node of the graph. Nodes that were never timed are counted by their FLOPs, at the rate of those that
 * were. */
dram_status dram_times_of(const dram_times *times, const dram_graph *g, double *seconds);

#endif
