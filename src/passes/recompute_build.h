/* recompute_build: a schedule made into a trace. Internal to src/passes. */
#ifndef DRAM_PASSES_RECOMPUTE_BUILD_H
#define DRAM_PASSES_RECOMPUTE_BUILD_H

#include "passes/blocks.h"
#include "passes/recompute.h"
#include "passes/trace.h"

struct dram_recompute {
    const dram_graph *g;
    dram_recompute_options options;
    dram_blocks blocks;
    dram_chain chain;
    int64_t *bytes, *big;               /* of a value, rounded up; big: 0 for small ones */
    int64_t *workspace, *big_workspace; /* of a node */
    dram_trace trace;
    /* while a trace is built */
    int *current;       /* of a value made in a stage: its version, the last one made */
    int *memo;          /* of a value: what the present operation made again ... */
    int64_t *memo_key;  /* ... if this is its number */
    int *memo_step;     /* and when */
    int64_t operation;  /* number of the present one; 0: the backward outside the stages */
    int64_t operations; /* so far */
    int *option;        /* under which a stage was last saved */
    /* scratch */
    bool *keep, *demanded;
    int *list;
};

/* Forgets the trace and all versions. */
void dram_recompute_begin(dram_recompute *r);

/* Marks the stage's values that its backward needs kept under the option. */
void dram_recompute_needs(const dram_recompute *r, int stage, int option, bool *keep);

/* Appends the first forward of a stage; a repeated one, which makes x[s] and (option >= 0) what the option keeps; its
 * backward, under the option in r->option. */
dram_status dram_recompute_first(dram_recompute *r, int stage);
dram_status dram_recompute_repeat(dram_recompute *r, int stage, int option);
dram_status dram_recompute_backward(dram_recompute *r, int stage);

/* The whole program under a schedule; NULL or empty: stored, with the plain option. */
dram_status dram_recompute_trace(dram_recompute *r, const dram_chain_schedule *schedule);

/* Of a node: seconds when it was calibrated, else FLOPs. */
double dram_recompute_time(const dram_recompute *r, int node);

#endif
