/* session: a config made into graphs, a plan and, once it is started, weights in an arena.
 *
 * `dram plan` stops after the plan; `dram eval` starts a session with trained weights; `dram train` runs the loop.
 */
#ifndef DRAM_SESSION_SESSION_H
#define DRAM_SESSION_SESSION_H

#include "base/str.h"
#include "comm/comm.h"
#include "config/config.h"
#include "device/exec.h"
#include "passes/chain.h"
#include "plan/plan.h"
#include "session/programs.h"

/* Reads elements at .. at + count - 1 of a slot, in its own order. */
typedef dram_status dram_slot_reader(void *from, int slot, int64_t at, int64_t count, float *out);

/* Once built it must not be moved: its graphs point to its slots. */
typedef struct {
    dram_config cfg; /* as it is run: the config that was planned, and the levers that the planner pulled. Its strings
                      * are those of that config, which outlives the session */
    dram_str pulled; /* those levers, for a person: "teacher_placement=stream"; empty: none */
    int64_t budget;  /* bytes; 0: none */
    dram_program_set set;
    dram_graph_set graphs;
    dram_chain_schedule schedule[DRAM_PROGRAM_COUNT]; /* recompute's; empty: every block is stored */
    int64_t recomputed_flops[DRAM_PROGRAM_COUNT];     /* spent again */
    dram_plan *plan;
    int rank;            /* which of graphs.ranks it is, from 0: whose shards its slots have. Start sets it by comm */
    dram_comm *comm;     /* the ranks that it is run with; NULL: this one alone. Not owned */
    dram_device *device; /* NULL until started */
    dram_exec *exec;     /* NULL until started */
    dram_slot_reader *reader; /* NULL but where slots are read from elsewhere, and there is no exec: an export */
    void *reads_from;         /* what it is called with; not owned */
    int64_t batches_tracked;  /* BatchNorm's num_batches_tracked: what the weights' file said, and the steps since */
    struct {
        bool neck, head;   /* come from student.heads */
        int other_classes; /* of a task head that does not: it is of so many; 0: of none */
    } began;
    int64_t batches_frozen; /* that of a frozen trunk, which sees no batch: what its file said */
} dram_session;

/* Opens the device, takes the arena, and fills the weights: drawn from the seed, then from the files the config
 * names. */
dram_status dram_session_start(dram_session *session);

void dram_session_close(dram_session *session); /* {0} is allowed */

#endif
