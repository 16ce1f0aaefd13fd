/* resume: which checkpoint a run goes on from, what it depended on, and what of that is another now. */
#ifndef DRAM_TRAIN_RESUME_H
#define DRAM_TRAIN_RESUME_H

#include "train/depends.h"
#include "train/train.h"

/* Start from {0}. */
typedef struct {
    int64_t step;        /* 0: there is no checkpoint, the run begins with its first step */
    dram_config *before; /* what it was trained with; NULL: not known, which was said */
    bool has_depends;    /* false: an older dram saved it */
    dram_depends depends;
} dram_resumed;

/* Chooses and verifies the checkpoint of the run in `directory`. `levers`: without what the run had it cannot go on.
 * stop: as dram_hash_file has it. DRAM_ERR_CONFIG: there is none of that step; DRAM_ERR_FORMAT: it is damaged, and its
 * file is named, and the newest sound one. *resumed is to be closed in any case. */
dram_status dram_resume_find(const char *directory, dram_resume order, bool levers, const volatile sig_atomic_t *stop,
                             dram_resumed *resumed);
void dram_resume_close(dram_resumed *resumed);

/* DRAM_ERR_CONFIG, with both values: what may not be another is. */
dram_status dram_resume_refuse(const dram_resumed *resumed, const dram_config *now, const dram_depends *depends);

/* Says what else is another, line by line with both values: as a warning what changes results. */
dram_status dram_resume_tell(const dram_resumed *resumed, const dram_config *now, const dram_depends *depends);

/* Puts checkpoints and configs of later steps aside, which is said: nothing of them is removed. */
dram_status dram_resume_put_aside(const dram_resumed *resumed, const char *directory);

#endif
