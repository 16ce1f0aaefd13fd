/* checkpoint: a directory with what a run needs to go on bit for bit, what it depends on, and the hashes of it all. */
#ifndef DRAM_TRAIN_CHECKPOINT_H
#define DRAM_TRAIN_CHECKPOINT_H

#include "session/session.h"
#include "train/state.h"

/* DRAM_ERR_CONFIG: the disk of a run's directory has no room for two checkpoints, less those of `step` (0: of none) and
 * before, but one at least, and for what is exported. Warns where not all fit that run.keep will keep. The session need
 * not be started, the directory not be there. */
dram_status dram_checkpoint_check_room(dram_session *session, const char *directory, int64_t step);

/* The i-th file of tensors of a checkpoint, NULL behind the last. */
const char *dram_checkpoint_file(int i);

/* Writes FOLDER/step-NNNNNNNN (weights, heads, optimiser, config.yaml, state.json, checkpoint.json) through a temporary
 * name, then deletes all but the newest run.keep. After an error the older ones are still there. Of several ranks the
 * first calls it. */
dram_status dram_checkpoint_save(dram_session *session, const char *folder, const dram_run_state *state);

/* The part of the other ranks in it: rank 0 writes tensors of which all have pieces. */
dram_status dram_checkpoint_lend(dram_session *session);

/* Whether the checkpoint of a step in DIRECTORY/checkpoints holds the tensors that the session has, in their shapes:
 * DRAM_ERR_FORMAT with their names, where the config has grown a network or changed its size. Tensors of a neck or head
 * that the session has no more are passed over. The session need not be started. */
dram_status dram_checkpoint_fits(dram_session *session, const char *directory, int64_t step);

/* Loads the checkpoint of a step, which was verified (train/resume.h). The caller has set state->dataset and
 * is_skipped. */
dram_status dram_checkpoint_load(dram_session *session, const char *folder, int64_t step, dram_run_state *state);

/* The result of a run in its directory: student.safetensors (the trunk) and heads.safetensors (neck and task head). */
dram_status dram_student_export(dram_session *session, const char *directory);

#endif
