/* configs: the configs of a run in its directory: config.yaml, with which it began, base.yaml, what that was made from, and
 * a config.step-00000500.yaml for each step from which it went on with another. None is ever written over. */
#ifndef DRAM_TRAIN_CONFIGS_H
#define DRAM_TRAIN_CONFIGS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "base/str.h"
#include "config/config.h"

/* Keeps the text of the config that holds from `step` on. step 0: as config.yaml; one of an attempt that came to no
 * checkpoint is put aside. Else a file beside it, unless the newest file has this text. */
dram_status dram_configs_keep(const char *directory, int64_t step, const dram_str *yaml);

#define DRAM_CONFIGS_BASE "base.yaml"

/* The text of base.yaml for a run of this config: its base without what its file and the command line set; of a file
 * without a base that file, without what the command line set. Without a file, *yaml stays as it is. */
dram_status dram_configs_write_base(const dram_config *cfg, dram_str *yaml);

/* Keeps that text of a run at its first step. What an earlier attempt kept is put aside where it is another. A file that
 * lies in the directory itself was put there by who made that, with its base: nothing is done. */
dram_status dram_configs_keep_base(const char *directory, const dram_config *cfg, const dram_str *yaml);

/* The newest of them: *path is the caller's, NULL where there is none. */
dram_status dram_configs_latest(const char *directory, char **path);

/* Puts those of later steps aside, since the run goes back to `step`: config.step-00000500.yaml.before. */
dram_status dram_configs_put_aside(const char *directory, int64_t step);

/* Whether the file's name is that of a run's config; if so, the step from which it holds, 0 for config.yaml, and which
 * of that step it is, from 1. */
bool dram_configs_name(const char *name, int64_t *step, int *again);

#endif
