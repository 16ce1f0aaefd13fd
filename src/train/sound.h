/* sound: which checkpoints of a run are what was saved. What a message claims of them is asked here first. */
#ifndef DRAM_TRAIN_SOUND_H
#define DRAM_TRAIN_SOUND_H

#include <cjson/cJSON.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/* Verifies the checkpoint of a step (io/checkpoint.h: dram_checkpoint_verify). root may be NULL: not wanted. */
dram_status dram_sound_check(const char *folder, int64_t step, const volatile sig_atomic_t *stop, cJSON **root);

/* Writes a sentence's end about the newest sound checkpoint into text[0..size), and what takes it: "; the newest sound
 * checkpoint is step-00000400: --resume=step-400 goes on from it", or that there is none. With `finite` it is one whose
 * numbers are all finite, too. Returns text. */
const char *dram_sound_newest(const char *folder, bool finite, char *text, size_t size);

#endif
