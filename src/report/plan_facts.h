/* plan_facts: what the report of a plan says besides the plan itself: what is planned, what levers do, what a cache
 * takes. */
#ifndef DRAM_REPORT_PLAN_FACTS_H
#define DRAM_REPORT_PLAN_FACTS_H

#include "session/headroom.h"
#include "session/search.h"

/* Without a cache all is 0. */
typedef struct {
    const char *directory, *format;  /* of the config */
    int64_t arena_bytes, host_bytes; /* of the session that fills it */
    int64_t image_bytes;             /* of disk, for each image */
} dram_plan_cache;

typedef struct {
    int64_t budget_bytes;           /* 0: none */
    int64_t floor_bytes;            /* fewest bytes that exact levers can reach */
    double recompute_ratio;         /* FLOPs spent again / FLOPs of the step without recompute */
    double recompute_student_ratio; /* the same without the teacher's FLOPs */
    int64_t update_flops;           /* of an update, the mean over an interval */
    int64_t teacher_flops;          /* of a step in which the teacher runs */
    int64_t updates;                /* of the whole run */
    dram_update_time time;          /* by memory.profile */
    dram_str heading;               /* what is planned, lines for a person; empty: not said */
    dram_str recompute;             /* "12 of 28 blocks in part", for a person; empty: none is */
    const char *pulled;             /* levers the planner pulled by itself, the session's text; NULL: none */
    dram_lever levers[DRAM_LEVERS];
    int n_levers;
    dram_plan_cache cache;
    int ranks, effective_batch; /* images of an update, all ranks' */
    dram_traffic traffic;       /* of an update and rank, the mean over an interval */
    dram_mapped mapped;         /* besides the arena */
} dram_plan_facts;

/* Plans the session again without each lever, and the filling of its cache. *facts is released by dram_plan_facts_free
 * whatever is returned, and points into the session and its config. */
dram_status dram_plan_facts_find(const dram_session *session, dram_plan_facts *facts);
void dram_plan_facts_free(dram_plan_facts *facts);

#endif
