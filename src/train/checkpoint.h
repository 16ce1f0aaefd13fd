/* checkpoint: a directory with what a run needs to go on bit for bit. */
#ifndef DRAM_TRAIN_CHECKPOINT_H
#define DRAM_TRAIN_CHECKPOINT_H

#include "data/dataset.h"
#include "session/schedule.h"
#include "train/train.h"

typedef struct {
    int64_t step;                /* updates done */
    int64_t position;            /* of the training stream: the next sample */
    dram_scaling scaling;        /* of the loss; moves in fp16 only */
    const dram_dataset *dataset; /* of the training stream; not owned */
    bool *is_skipped;            /* [dram_dataset_count]: images that the stream has skipped so far; not owned */
    int skipped;                 /* their number */
    float *target;               /* what the next steps reuse (feed/feed.h: kept); NULL: nothing. Not owned */
    int64_t target_count;        /* its elements */
} dram_run_state;

/* DRAM_ERR_CONFIG: the disk of a run's directory has no room for two checkpoints, less those that are there but one at
 * least, and for what is exported. Warns where not all fit that run.keep will keep. The session need not be started, the
 * directory not be there. */
dram_status dram_checkpoint_check_room(dram_session *session, const char *directory);

/* Writes FOLDER/step-NNNNNNNN (weights, heads, optimiser, state.json) through a temporary name, then deletes all but
 * the newest run.keep. After an error the older ones are still there. */
dram_status dram_checkpoint_save(dram_session *session, const char *folder, const dram_run_state *state);

/* Loads the newest complete one, or leaves session and state as they are when there is none. The caller has set
 * state->dataset and is_skipped. */
dram_status dram_checkpoint_load(dram_session *session, const char *folder, dram_run_state *state);

/* The result of a run in its directory: student.safetensors (the trunk) and heads.safetensors (neck and task head). */
dram_status dram_student_export(dram_session *session, const char *directory);

#endif
