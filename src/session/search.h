/* search: what each lever is worth in a config, and the search for a plan within the budget.
 *
 * The planner pulls exact levers by itself, in the order of their price: those that cost nothing are on from the start,
 * then recompute, then streaming of the teacher; then those of memory.may_change (session/levers.h).
 */
#ifndef DRAM_SESSION_SEARCH_H
#define DRAM_SESSION_SEARCH_H

#include "session/build.h"
#include "session/levers.h"

/* A way to spend fewer bytes, and its price. The texts but `setting` are static. */
typedef struct {
    const char *name;                 /* "in_place" */
    char setting[DRAM_LEVER_SETTING]; /* "on" */
    bool pulled;
    int64_t saved_bytes; /* of the device's arena, against the same plan the other way round */
    int64_t added_flops; /* of an update; below 0: it saves FLOPs too */
    const char *effect;  /* on results: "exact", "rounding" or "quality" */
    const char *set_by;  /* "default", "config" or "planner" */
} dram_lever;

/* All levers that mean something in this config, each planned the other way round: released if it is pulled, else
 * pulled one step further. */
dram_status dram_levers(const dram_session *session, dram_lever rows[DRAM_LEVERS], int *n);

/* The config, which takes `arena` bytes as it is, with exact levers and then those of memory.may_change pulled until it
 * fits request.target bytes: `found`, which shares its strings with cfg, and is the smallest that was found if none
 * fits. `pulled` names those the planner pulled by itself, in order ("teacher_placement=stream, accumulate=2"). */
dram_status dram_levers_search(const dram_config *cfg, dram_plan_request request, int64_t arena, dram_config *found,
                               dram_str *pulled);

/* Of the levers that were not pulled, the one that alone makes the plan fit `target`, else the one that saves most:
 * "pulling precision (train.precision, effect quality) would make it 1.50 GiB, which fits" or the like. */
dram_status dram_levers_advice(const dram_session *session, int64_t target, dram_str *text);

/* The fewest bytes of the device's arena that exact levers can reach. */
dram_status dram_levers_floor(const dram_config *cfg, dram_program_set set, int64_t *bytes);

#endif
