/* job: a run of a sweep that this process makes now. For src/launch alone. */
#ifndef DRAM_LAUNCH_JOB_H
#define DRAM_LAUNCH_JOB_H

#include "launch/child.h"
#include "launch/claim.h"
#include "launch/pack.h"
#include "sweep/events.h"

typedef struct {
    int run; /* its place in sweep->runs */
    dram_child child;
    dram_claim claim;
    dram_claim_owner owner;
    dram_pack_item item;
    int cards[DRAM_PACK_CARDS];
} dram_job;

/* The run's directory; the caller's. */
dram_status dram_job_directory(const dram_sweep *sweep, int run, char **directory);

/* Makes its directory with config.yaml, where they are not there, and starts the child. `text`, what it takes, goes with
 * the event. stop_at as dram_child_order has it. The job has run, claim, owner, item and cards. */
dram_status dram_job_start(const dram_sweep *sweep, dram_events *events, dram_job *job, int64_t stop_at,
                           const char *text);

/* The share of its first steps in which a run kept its device busy, by metrics.jsonl; below 0 where it has not made so
 * many yet. */
enum { DRAM_JOB_SHARE_STEPS = 20 };
double dram_job_share(const dram_sweep *sweep, int run);

#endif
