/* lifetimes: from when to when a value has its bytes, and whose bytes it takes over. Internal to src/plan. */
#ifndef DRAM_PLAN_LIFETIMES_H
#define DRAM_PLAN_LIFETIMES_H

#include "plan/plan.h"

static inline bool dram_of_teacher(const dram_value *v)
{
    return v->category == DRAM_CATEGORY_TEACHER_ACTIVATIONS;
}

/* An update must come after every reader of what it overwrites: a reader after it would see the new bytes. */
dram_status dram_check_updates(const dram_graph *g);

/* First and last node of each value: from its producer (the program's start for a staged input) to its last reader, or to
 * where the queues join. */
dram_status dram_lifetimes_find(dram_program *p, dram_plan_options options);

/* Then the alias of each value: what it updates, or the input that dies where it is made and whose bytes it may have. */
void dram_aliases_choose(dram_program *p, dram_plan_options options);

/* storage[n_values]: the value that has the bytes in the first place. Chains of aliases are followed once. */
void dram_storage_find(const dram_program *p, dram_val *storage);

#endif
