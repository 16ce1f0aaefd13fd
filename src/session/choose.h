/* choose: the config that a run is planned from. What was loaded leaves some to the machine, which is chosen here; a
 * run that goes on has the levers that its first part had. For src/session, and for `dram doctor`. */
#ifndef DRAM_SESSION_CHOOSE_H
#define DRAM_SESSION_CHOOSE_H

#include "session/session.h"

typedef struct {
    dram_config cfg;           /* its strings are those of the config it was made from, and of `before` */
    const dram_config *before; /* of the run that goes on; NULL: there is none. Not owned */
    dram_str kept; /* the levers that were taken from it, for a person: "accumulate, precision"; empty: none */
} dram_chosen;

/* before: the config of a run that goes on, which outlives what is chosen; NULL: a new run, or it is not known. What the
 * planner pulled changes results. After an interruption more memory may be free, or less; the levers must be the same.
 * So a lever that memory.may_change names in both parts of the run is taken from the first part and not pulled again.
 * One that only the second part names may still be pulled. One that it no longer names is as it says. DRAM_ERR_CONFIG:
 * the two do not go together. comm: the ranks that run it together, which share the cores and the memory of a machine;
 * NULL: one alone. Collective. */
dram_status dram_choose(const dram_config *cfg, const dram_config *before, dram_comm *comm, dram_chosen *chosen);
void dram_chosen_free(dram_chosen *chosen);

/* The session's config as text, twice. yaml: every key, which plans the same again on a machine with the same budget,
 * and the levers that were pulled in a comment. kept: what the steps depend on (dram_config_write_kept). `loaded`: what
 * the user asked for. */
dram_status dram_chosen_write(const dram_config *loaded, const dram_chosen *chosen, const dram_session *session,
                              dram_str *yaml, dram_str *kept);

/* Sets data.workers and data.prefetch where they are 0, which leaves them to the machine. */
void dram_choose_loader(dram_config *cfg, int cores, int64_t free_bytes);

/* Bytes of one sample's buffers in the loader. */
int64_t dram_sample_bytes(const dram_config *cfg);

#endif
