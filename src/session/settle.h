/* settle: a config as this run has it: what is left to the machine is chosen, and a run that goes on has the levers
 * that its first part had. For src/session, and for `dram doctor`. */
#ifndef DRAM_SESSION_SETTLE_H
#define DRAM_SESSION_SETTLE_H

#include "session/session.h"

typedef struct {
    dram_config cfg;     /* its strings are those of the config it was made from, and of `before` */
    dram_config *before; /* config.yaml of the run that goes on; NULL: there is none */
    dram_str kept;       /* the levers that were taken from it, for a person: "accumulate, precision"; empty: none */
} dram_settled;

/* path: config.yaml of a run that goes on, which may be missing; NULL: a new run.
 * What the planner pulled changes results, so it must not come out differently after an interruption, though less
 * memory is free then, or more: a lever that memory.may_change names in both parts is taken from the first part and not
 * pulled again. One that only the second part names may still be pulled; one that it names no longer is as it says.
 * DRAM_ERR_CONFIG: the file is damaged, or what it says and the config do not go together. */
dram_status dram_settle(const dram_config *cfg, const char *path, dram_settled *settled);
void dram_settle_free(dram_settled *settled);

/* The text of config.yaml: the session's config, which plans the same again on a machine with the same budget, and the
 * levers that were pulled in a comment. `loaded`: what the user asked for. */
dram_status dram_settle_write(const dram_config *loaded, const dram_settled *settled, const dram_session *session,
                              dram_str *yaml);

/* Sets data.workers and data.prefetch where they are 0, which leaves them to the machine. */
void dram_settle_loader(dram_config *cfg, int cores, int64_t free_bytes);

/* Bytes of one sample's buffers in the loader. */
int64_t dram_settle_sample_bytes(const dram_config *cfg);

#endif
