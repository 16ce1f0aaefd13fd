/* plan: where every byte of a run is, before anything runs.
 *
 * Several programs (distil step, plain step, evaluation) share one arena: the slots (weights, optimiser state) lie at
 * its bottom for the whole run, above them each program has its temporaries, staged inputs and workspaces, placed by
 * lifetime. The arena is as large as the largest program needs. Planning needs graphs and a profile, no device.
 *
 * Spaces. Each memory space has an arena of its own, laid out like that; an offset is one in the arena of the value's
 * space. A node runs, and has its workspace, where its first output is; but for `copy` it reads nothing from the other
 * side of device and host. Peak, floor, budget and the account by category are those of the device's space.
 *
 * Queues. Nodes are issued in the order of the graph and those of one queue run in that order. Queues run side by side;
 * an executor with several of them has to keep three things, and the plan counts on no more:
 *   - a node beside the compute queue begins when the compute nodes issued before it are done: then the bytes it writes
 *     are free, for the plan gives them away at that node and not before;
 *   - a node that reads what another queue made waits for it;
 *   - all queues are done before the next program begins.
 * So a node beside the compute queue runs beside the compute nodes after it, up to the first of them that reads what it
 * wrote, or that waits for a reader on yet another queue. There the queues join. What the node reads and writes, and
 * its workspace, live at least to that join, and to the end of the program if there is none. Workspaces of the comm queue
 * take turns in one buffer, but for neighbours', which an executor may hand over in one call. An executor that runs all
 * nodes in order keeps more than this.
 */
#ifndef DRAM_PLAN_PLAN_H
#define DRAM_PLAN_PLAN_H

#include "base/str.h"
#include "ir/op.h"
#include "plan/place.h"

typedef struct {
    bool eager_free;    /* off: temporaries live to the end of their program; only to measure what it is worth */
    bool in_place;      /* off: no output takes over an input's bytes */
    bool share_teacher; /* off: the teacher's activations have bytes that nothing else of the program uses */
} dram_plan_options;

/* All on, as a run has them. */
#define DRAM_PLAN_USUAL ((dram_plan_options){.eager_free = true, .in_place = true, .share_teacher = true})

/* A value in a program. Values of kind SLOT, and those that update one, have the slot's offset. */
typedef struct {
    int64_t offset;      /* in the arena of its space */
    int64_t bytes;       /* rounded up to the alignment */
    int32_t first, last; /* nodes; the bytes are the value's own from the start of `first` to the end of `last` */
    dram_val alias;      /* the value whose bytes it takes over, DRAM_NONE */
} dram_place_of_value;

typedef struct {
    const dram_graph *graph;                     /* not owned */
    dram_place_of_value *value;                  /* of each value */
    int64_t *workspace_offset, *workspace_bytes; /* of each node */
    dram_placement placement;                    /* above the slots, in the device's space */
    int64_t outside[DRAM_SPACE_COUNT];           /* bytes above the slots in the other spaces */
    int64_t flops;
    int64_t floor_bytes; /* the largest node alone: inputs, outputs and workspace. No order can be below */
    int32_t floor_at;    /* that node */
    int64_t live_at_peak[DRAM_CATEGORY_COUNT]; /* bytes alive at placement.max_live_at, slots not counted */
} dram_program;

typedef struct {
    dram_profile profile;
    dram_plan_options options;
    const dram_slots *slots;                        /* not owned */
    int64_t *slot_offset;                           /* in the arena of the slot's space */
    int64_t slots_bytes;                            /* in the device's space */
    int64_t slots_by_category[DRAM_CATEGORY_COUNT]; /* in the device's space */
    int n_programs;
    dram_program *programs;
    int peak_program;       /* the one that needs most */
    int64_t arena_bytes;    /* of the device's space: the planned peak on a device that needs nothing besides */
    int64_t max_live_bytes; /* slots and the most bytes alive in any program */
    int64_t floor_bytes;
    int64_t outside_slots[DRAM_SPACE_COUNT]; /* bytes of slots in the other spaces */
    int64_t outside_bytes[DRAM_SPACE_COUNT]; /* arenas of the other spaces */
    int64_t host_bytes;                      /* their sum */
} dram_plan;

/* Graphs and slots must outlive the plan. */
dram_status dram_plan_make(const dram_graph *const *graphs, int n, const dram_slots *slots, const dram_profile *profile,
                           dram_plan_options options, dram_plan **plan);
void dram_plan_free(dram_plan *plan); /* NULL is allowed */

/* Size of a space's arena. */
static inline int64_t dram_plan_arena(const dram_plan *plan, dram_space space)
{
    return space == DRAM_SPACE_DEVICE ? plan->arena_bytes : plan->outside_bytes[space];
}

/* What a process takes of the GPU in all; the arena on the CPU. */
static inline int64_t dram_plan_process(const dram_plan *plan)
{
    return plan->arena_bytes + plan->profile.context_bytes + plan->profile.loaded_bytes + plan->profile.comm_bytes;
}

/* Bytes that a slot takes in its arena. */
int64_t dram_slot_bytes(const dram_slot *slot, const dram_profile *profile);
int64_t dram_plan_slot_bytes(const dram_plan *plan, int slot);

/* The program with the most bytes alive at a node, the first of equals; NULL when there is none. */
const dram_program *dram_plan_fullest(const dram_plan *plan);

/* Bytes by category when the arena is fullest: slots and what is alive at the peak. Their sum is max_live_bytes. */
void dram_plan_account(const dram_plan *plan, int64_t bytes[DRAM_CATEGORY_COUNT]);

/* Name of the node at which a program is fullest. */
const char *dram_program_peak_at(const dram_program *program);

#endif
