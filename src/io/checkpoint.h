/* checkpoint: the folder checkpoints/ with its step-00000500/, each written as a dram_dir (io/atomic.h).
 *
 * A checkpoint directory is complete if it has its final name and holds state.json.
 */
#ifndef DRAM_IO_CHECKPOINT_H
#define DRAM_IO_CHECKPOINT_H

#include <stdint.h>

#include "base/status.h"

/* FOLDER/step-00000500; *path is owned by the caller. */
dram_status dram_checkpoint_path(const char *folder, int64_t step, char **path);

/* Steps of the complete checkpoints, ascending: *steps is owned by the caller (dram_free), NULL if there are none. */
dram_status dram_checkpoint_list(const char *folder, int64_t **steps, int *n);

/* The newest complete one, or *step = -1. */
dram_status dram_checkpoint_latest(const char *folder, int64_t *step);

/* Deletes the oldest until `keep` (1 or more) are left, counting `newest`, which is never deleted. A deletion that is
 * cut short leaves no checkpoint that looks complete. */
dram_status dram_checkpoint_prune(const char *folder, int keep, int64_t newest);

#endif
