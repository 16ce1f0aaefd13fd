/* lifetimes: from when to when a value has its bytes, and whose bytes it takes over. Internal to src/plan. */
#ifndef DRAM_PLAN_LIFETIMES_H
#define DRAM_PLAN_LIFETIMES_H

#include "plan/plan.h"

/* Sets `first`, `last` and `alias` of each value in p->value; its `bytes` are not looked at.
 *   first, last  from its producer (the program's start for a staged input) to its last reader, or to where the queues
 *                join
 *   alias        what it updates, or the input that dies where it is made and whose bytes it may have
 * done[n_nodes]: the node to whose end each node holds its workspace: itself on the compute queue, else that join.
 * Refuses a graph that reads a value after its update, or updates it while another queue may still be at it. */
dram_status dram_lifetimes_find(dram_program *p, dram_plan_options options, int32_t *done);

/* storage[n_values]: the value that has the bytes in the first place. Chains of aliases are followed once. */
void dram_storage_find(const dram_program *p, dram_val *storage);

#endif
