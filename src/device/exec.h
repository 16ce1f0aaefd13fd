/* exec: runs the programs of a plan on a device.
 *
 * Opening takes the arenas (one allocation for each memory space that the plan uses) and binds every node to its kernel
 * and addresses. Afterwards running takes no memory. Slots hold what the host last wrote or an update left. Nodes are
 * handed to their queues in the order of the graph; queues run side by side where a device can (plan/plan.h says what
 * orders them). Neighbours of one op that have nothing to do with each other (the updates of weights) go in one call
 * where the device has a kernel for many, and so do neighbouring collectives; bits do not depend on it. A program's second
 * run is recorded where the device can, and later ones replay it.
 */
#ifndef DRAM_DEVICE_EXEC_H
#define DRAM_DEVICE_EXEC_H

#include "device/device.h"
#include "plan/plan.h"

typedef struct dram_exec dram_exec;

/* The device and the plan must outlive it. A plan of several ranks needs a device that has `collectives`; then all ranks
 * run, time and look through the same programs in the same order. */
dram_status dram_exec_open(dram_device *device, const dram_plan *plan, dram_exec **exec);
void dram_exec_close(dram_exec *exec); /* NULL is allowed */

/* Runs plan->programs[program] from its first node to its last; it is done when this returns. A failing kernel's text
 * names the node. */
dram_status dram_exec_run(dram_exec *exec, int program);

/* The same node by node, and the time that each took: on a GPU by its own clock, without the host's launches, but for
 * what runs beside the compute queue. */
dram_status dram_exec_time(dram_exec *exec, int program, double *seconds);

/* What became of recording so far. */
typedef struct {
    int recorded;    /* programs that are replayed */
    int refused;     /* that could not be recorded, so that their kernels are launched one by one */
    const char *why; /* of the first of those, the exec's; NULL: there is none */
} dram_exec_records;
dram_exec_records dram_exec_recorded(const dram_exec *exec);

/* Copies between the host and a value of a program: staged inputs before it runs, outputs after. `bytes` must be the
 * value's size without rounding. */
dram_status dram_exec_write(dram_exec *exec, int program, dram_val v, const void *host, int64_t bytes);
dram_status dram_exec_read(dram_exec *exec, int program, dram_val v, void *host, int64_t bytes);

/* A piece of a staged input: `bytes` from `offset` on. */
dram_status dram_exec_write_part(dram_exec *exec, int program, dram_val v, int64_t offset, const void *host,
                                 int64_t bytes);

/* Copies a piece of a slot, from byte `offset` on. */
dram_status dram_exec_write_slot(dram_exec *exec, int slot, int64_t offset, const void *host, int64_t bytes);
dram_status dram_exec_read_slot(dram_exec *exec, int slot, int64_t offset, void *host, int64_t bytes);

/* Looks for the cause of a result that is not finite: runs the program like dram_exec_run, but leaves out every node
 * that updates something in place (slots stay as they are) and stops at the first other node that gives a number that
 * is not finite: *node is its index and *value what it gave, both DRAM_NONE if there is none. A program that joins ranks
 * is run by all of them, each to its end, and each finds its own. The staged inputs must have been written again, since
 * a run writes over them. Takes some host memory for the time of the call. */
dram_status dram_exec_find_nonfinite(dram_exec *exec, int program, int *node, dram_val *value);

#endif
