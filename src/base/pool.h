/* pool: compute threads that share the tasks of one kernel call.
 *
 * A task may run on any worker, so a task writes only what no other task of the call writes; sums over tasks go to one
 * slot a task and are added in task order. Then results depend on the task split alone, never on timing.
 */
#ifndef DRAM_BASE_POOL_H
#define DRAM_BASE_POOL_H

#include <stdint.h>

#include "base/status.h"

typedef struct dram_pool dram_pool;

/* worker: 0 .. dram_pool_workers - 1, to pick private scratch. */
typedef void (*dram_task)(void *context, int64_t task, int worker);

/* workers: 1 or more; workers - 1 threads are started, the caller is the other one. */
dram_status dram_pool_open(int workers, dram_pool **pool);
void dram_pool_close(dram_pool *pool); /* NULL is allowed */
int dram_pool_workers(const dram_pool *pool);

/* Runs tasks 0 .. tasks - 1 and returns when all are done. Takes no memory. Not to be called from within a task.
 * A NULL pool runs them here, as worker 0. */
void dram_pool_run(dram_pool *pool, int64_t tasks, dram_task task, void *context);

#endif
