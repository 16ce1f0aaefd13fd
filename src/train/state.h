/* state: what a run needs to go on bit for bit beside its tensors, and state.json, which a checkpoint has it in. */
#ifndef DRAM_TRAIN_STATE_H
#define DRAM_TRAIN_STATE_H

#include "base/str.h"
#include "data/dataset.h"
#include "session/schedule.h"
#include "train/depends.h"
#include "train/effective.h"

typedef struct {
    int64_t step;                /* updates done */
    int64_t position;            /* of the training stream: the next sample */
    dram_scaling scaling;        /* of the loss; moves in fp16 only */
    const dram_dataset *dataset; /* of the training stream; not owned */
    bool *is_skipped;            /* [dram_dataset_count]: images that the stream has skipped so far; not owned */
    int skipped;                 /* their number */
    float *target;               /* what the next steps reuse (feed/feed.h: kept); NULL: nothing. Not owned */
    int64_t target_count;        /* its elements */
    const float *targets;        /* saved only: those of all ranks, in rank order; NULL: `target` is all. Not owned */
    dram_effective effective;    /* saved only: what the steps are done with; ranks 0: it is not said */
    const dram_str *config;      /* saved only: what the steps are done with. Not owned, nor is the next */
    const dram_depends *depends;
} dram_run_state;

/* Writes state.json; the seed is the config's, batches_tracked the session's. */
dram_status dram_state_write(const char *path, int64_t seed, int64_t batches_tracked, const dram_run_state *state);

/* Reads it, and warns of members that are not known. The caller has set state->dataset and is_skipped; an image that is
 * no longer there is passed over. DRAM_ERR_CONFIG: it is of another seed, or cannot be opened; DRAM_ERR_FORMAT: it is
 * damaged. */
dram_status dram_state_read(const char *path, int64_t seed, int64_t *batches_tracked, dram_run_state *state);

#endif
