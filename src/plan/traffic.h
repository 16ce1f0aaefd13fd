/* traffic: what a program sends to other ranks, and what tells one plan from another. */
#ifndef DRAM_PLAN_TRAFFIC_H
#define DRAM_PLAN_TRAFFIC_H

#include "plan/plan.h"

/* Of one run of a program, by op. bytes: what a rank sends, the mean over the ranks: of a sum both halves, as a ring or
 * an exchange of pieces sends them; of a sum of few elements in rank order all of them to each. calls: neighbours of one
 * op are one call. Both are 0 with one rank. */
typedef struct {
    double bytes[DRAM_OP_COUNT], calls[DRAM_OP_COUNT];
} dram_traffic;

void dram_program_traffic(const dram_program *program, dram_traffic *traffic);

/* Whether a run of the program joins the ranks: all must make it, as often and in the same order. */
bool dram_program_joins(const dram_program *program);

/* Of the names, places, sizes and lifetimes of all values and workspaces, the order of nodes, and the slots: ranks whose
 * plans have the same number run the same programs on the same bytes. */
uint64_t dram_plan_hash(const dram_plan *plan);

#endif
