/* checkpoint: the folder checkpoints/ with its step-00000500/, each written as a dram_dir (io/atomic.h).
 *
 * A checkpoint directory is complete if it has its final name and holds state.json. Its checkpoint.json has the hashes
 * of all files beside it and of itself: it is sound if they are what was saved.
 */
#ifndef DRAM_IO_CHECKPOINT_H
#define DRAM_IO_CHECKPOINT_H

#include <cjson/cJSON.h>
#include <signal.h>
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

/* Writes checkpoint.json into a folder whose other files are written: the members of the tree, which stays the caller's
 * and gets more, and the hashes of those files. A folder of another name may be meant (io/atomic.h: dram_dir). */
dram_status dram_checkpoint_seal(const char *folder, cJSON *root);

/* Reads every file of a checkpoint. *root: checkpoint.json, the caller's (cJSON_Delete); NULL with DRAM_OK: it has
 * none, since an older dram saved it, and cannot be checked. DRAM_ERR_FORMAT, the file is named: damaged, or not there;
 * DRAM_ERR_IO: it cannot be read. */
dram_status dram_checkpoint_verify(const char *path, const volatile sig_atomic_t *stop, cJSON **root);

/* Gives a checkpoint another name, at which it is none: step-00000500.before, or .before-2 and so on where that is
 * taken. Nothing in it changes. *aside is the caller's. */
dram_status dram_checkpoint_put_aside(const char *folder, int64_t step, char **aside);

#endif
