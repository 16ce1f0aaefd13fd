/* plan: where every byte of a run is, before anything runs.
 *
 * Several programs (distil step, plain step, evaluation) share one arena: the slots (weights, optimiser state) lie at
 * its bottom for the whole run, above them each program has its temporaries, staged inputs and workspaces, placed by
 * lifetime. The arena is as large as the largest program needs. Planning needs graphs and a profile, no device.
 */
#ifndef DRAM_PLAN_PLAN_H
#define DRAM_PLAN_PLAN_H

#include "base/str.h"
#include "ir/op.h"
#include "plan/place.h"

typedef struct {
    bool eager_free; /* off: temporaries live to the end of their program; only to measure what it is worth */
    bool in_place;   /* off: no output takes over an input's bytes */
} dram_plan_options;

/* A value in a program. Values of kind SLOT, and those that update one, have the slot's offset. */
typedef struct {
    int64_t offset;      /* in the arena */
    int64_t bytes;       /* rounded up to the alignment */
    int32_t first, last; /* nodes; the bytes are the value's own from the start of `first` to the end of `last` */
    dram_val alias;      /* the value whose bytes it takes over, DRAM_NONE */
} dram_place_of_value;

typedef struct {
    const dram_graph *graph;                     /* not owned */
    dram_place_of_value *value;                  /* of each value */
    int64_t *workspace_offset, *workspace_bytes; /* of each node */
    dram_placement placement;                    /* above the slots */
    int64_t flops;
    int64_t floor_bytes; /* the largest node alone: inputs, outputs and workspace. No order can be below */
    int32_t floor_at;    /* that node */
    int64_t live_at_peak[DRAM_CATEGORY_COUNT]; /* bytes alive at placement.max_live_at, slots not counted */
} dram_program;

typedef struct {
    dram_profile profile;
    dram_plan_options options;
    const dram_slots *slots; /* not owned */
    int64_t *slot_offset;
    int64_t slots_bytes;
    int64_t slots_by_category[DRAM_CATEGORY_COUNT];
    int n_programs;
    dram_program *programs;
    int peak_program;       /* the one that needs most */
    int64_t arena_bytes;    /* = planned peak on a device that needs nothing besides */
    int64_t max_live_bytes; /* slots and the most bytes alive in any program */
    int64_t floor_bytes;
} dram_plan;

/* Graphs and slots must outlive the plan. */
dram_status dram_plan_make(const dram_graph *const *graphs, int n, const dram_slots *slots, const dram_profile *profile,
                           dram_plan_options options, dram_plan **plan);
void dram_plan_free(dram_plan *plan); /* NULL is allowed */

/* Bytes that a slot takes in the arena. */
int64_t dram_plan_slot_bytes(const dram_plan *plan, int slot);

/* The program with the most bytes alive at a node, the first of equals; NULL when there is none. */
const dram_program *dram_plan_fullest(const dram_plan *plan);

/* Bytes by category when the arena is fullest: slots and what is alive at the peak. Their sum is max_live_bytes. */
void dram_plan_account(const dram_plan *plan, int64_t bytes[DRAM_CATEGORY_COUNT]);

/* Name of the node at which a program is fullest. */
const char *dram_program_peak_at(const dram_program *program);

#endif
