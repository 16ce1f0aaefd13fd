/* rundir: the directory of a run, PARENT/NAME with checkpoints/ in it. */
#ifndef DRAM_IO_RUNDIR_H
#define DRAM_IO_RUNDIR_H

#include <stdbool.h>

#include "base/status.h"

/* Without resume: makes it (and PARENT). One that is there is taken over where no run has come to its first checkpoint
 * in it: it is empty, or has checkpoints/ without a complete one and no student.safetensors; what else is in it stays.
 * Any other is DRAM_ERR_CONFIG and not touched.
 * With resume: it must exist (DRAM_ERR_CONFIG), and what a killed run left half-written is removed.
 * A name that is empty, ".", ".." or holds a slash is DRAM_ERR_CONFIG. *path is owned by the caller. */
dram_status dram_rundir_open(const char *parent, const char *name, bool resume, char **path);

/* The same checks without making anything: for an early refusal. */
dram_status dram_rundir_check(const char *parent, const char *name, bool resume);

#endif
