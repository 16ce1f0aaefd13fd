/* rundir: the directory of a run, PARENT/NAME with checkpoints/ in it. */
#ifndef DRAM_IO_RUNDIR_H
#define DRAM_IO_RUNDIR_H

#include <stdbool.h>

#include "base/status.h"

/* Without resume: makes it (and PARENT); one that exists, whatever is in it, is DRAM_ERR_CONFIG and not touched.
 * With resume: it must exist (DRAM_ERR_CONFIG), and what a killed run left half-written is removed.
 * A name that is empty, ".", ".." or holds a slash is DRAM_ERR_CONFIG. *path is owned by the caller. */
dram_status dram_rundir_open(const char *parent, const char *name, bool resume, char **path);

/* The same checks without making anything: for an early refusal. */
dram_status dram_rundir_check(const char *parent, const char *name, bool resume);

#endif
