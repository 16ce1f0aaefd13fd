/* configs: the configs of a run in its directory: config.yaml, with which it began, and a config.step-00000500.yaml for
 * each step from which it went on with another. None is ever written over. */
#ifndef DRAM_TRAIN_CONFIGS_H
#define DRAM_TRAIN_CONFIGS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "base/str.h"

/* Keeps the text of the config that holds from `step` on. step 0: as config.yaml; one of an attempt that came to no
 * checkpoint is put aside. Else a file beside it, unless the newest file has this text. */
dram_status dram_configs_keep(const char *directory, int64_t step, const dram_str *yaml);

/* The newest of them: *path is the caller's, NULL where there is none. */
dram_status dram_configs_latest(const char *directory, char **path);

/* Puts those of later steps aside, since the run goes back to `step`: config.step-00000500.yaml.before. */
dram_status dram_configs_put_aside(const char *directory, int64_t step);

/* Whether the file's name is that of a run's config; if so, the step from which it holds, 0 for config.yaml, and which
 * of that step it is, from 1. */
bool dram_configs_name(const char *name, int64_t *step, int *again);

#endif
