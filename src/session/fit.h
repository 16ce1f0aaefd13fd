/* fit: a config made into programs and a plan, with as much recompute as the bytes ask for. */
#ifndef DRAM_SESSION_FIT_H
#define DRAM_SESSION_FIT_H

#include "session/session.h"

typedef struct {
    dram_program_set set;
    int64_t target;           /* bytes the device's arena may take; 0: no limit */
    bool least;               /* recompute down to the fewest bytes there are */
    const dram_session *like; /* not NULL: take its schedules, as far as the blocks are the same ones */
} dram_fit;

/* Builds and plans a session of its own for the config, which is copied (its strings are not). When the target cannot
 * be met the plan is the smallest that recompute can reach; compare plan->arena_bytes. */
dram_status dram_fit_build(const dram_config *cfg, dram_fit fit, dram_session *session);

/* FLOPs of an update, the mean over an interval. */
int64_t dram_fit_flops(const dram_session *session);

#endif
