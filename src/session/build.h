/* build: a config made into graphs and a plan, with as much recompute as the bytes ask for. The passes between are run
 * in the order of passes/passes.h. */
#ifndef DRAM_SESSION_BUILD_H
#define DRAM_SESSION_BUILD_H

#include "plan/roofline.h"
#include "plan/traffic.h"
#include "session/session.h"

/* What a plan is asked for. Without any of the limits every block is stored; memory.checkpoint: none, blocks and sqrt
 * stay as they are set, whatever target and least say. */
typedef struct {
    dram_program_set set;
    int64_t target; /* bytes the device's arena may take: as little recompute as brings the plan to them; 0: no limit */
    bool least;     /* as much recompute as brings the plan to the fewest bytes there are; target does not count */
    const dram_session *like; /* not NULL: nothing is searched. Each block is stored or made again as in this session,
                               * where it has as many blocks, else all are stored; target and least do not count. For
                               * the price of a lever: the two plans differ by it alone */
} dram_plan_request;

/* Builds and plans a session of its own for the config, which is copied (its strings are not). When the target cannot
 * be met the plan is the smallest that recompute can reach; compare plan->arena_bytes. */
dram_status dram_session_build(const dram_config *cfg, dram_plan_request request, dram_session *session);

/* FLOPs of an update, the mean over an interval. */
int64_t dram_session_flops(const dram_session *session);

/* What an update sends to other ranks, the mean over an interval. */
void dram_session_traffic(const dram_session *session, dram_traffic *traffic);

/* How long an update would take on a card of the plan's kind, the mean over an interval. */
void dram_session_estimate(const dram_session *session, const dram_card *card, dram_estimate *estimate);

/* Whether a run of that program, which the session has, joins the ranks: all must make it, as often and in one order. */
bool dram_session_joins(const dram_session *session, dram_program_kind kind);

/* How long an update takes by memory.profile, the mean over an interval. What the file has no times of is counted by
 * its FLOPs, at the rate of what it has. All 0: the config names no file. */
typedef struct {
    double seconds;
    double timed; /* share of the update's FLOPs that the file has times of */
} dram_update_time;

dram_status dram_session_time(const dram_session *session, dram_update_time *time);

#endif
