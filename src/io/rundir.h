/* rundir: the directory of a run, PARENT/NAME with checkpoints/ in it, and who may write there.
 *
 * One process at a time: it holds flock on the file `lock`, which says who it is and goes when it is done. The lock of a
 * process that has died is free, whatever the file says. Locks of NFS hold between hosts; where they do not, or there
 * are none, that is said.
 */
#ifndef DRAM_IO_RUNDIR_H
#define DRAM_IO_RUNDIR_H

#include <stdbool.h>

#include "base/status.h"

typedef struct dram_rundir dram_rundir;

/* Finds out whether the run can be begun or gone on with; all refusals are DRAM_ERR_CONFIG.
 * Without resume it may be there only where no run has come to its first checkpoint in it: it is empty, or has
 * checkpoints/ without a complete one and no student.safetensors. With resume it must be there. What is there is locked
 * from here on, and but for `lock` not touched; another process that trains in it is a refusal. Nothing is made. Folders
 * that cannot be written are refused, as far as access(2) knows.
 * A name that is empty, ".", ".." or holds a slash is refused. *run is the caller's, NULL on failure. */
dram_status dram_rundir_find(const char *parent, const char *name, bool resume, dram_rundir **run);

/* The same directory for a process that reads in it while another, which found it, writes: nothing is looked at, locked or
 * made, then or by dram_rundir_open. */
dram_status dram_rundir_follow(const char *parent, const char *name, dram_rundir **run);

/* Makes what was found not to be there (and PARENT), and locks it; or removes what a killed process left half-written,
 * and leaves what else is in it.
 * DRAM_ERR_CONFIG: another process was faster, or checkpoints/ is a link. */
dram_status dram_rundir_open(dram_rundir *run);

bool dram_rundir_is_new(const dram_rundir *run);      /* once opened: the folder was made by it */
const char *dram_rundir_path(const dram_rundir *run); /* the run's */

/* Lets go of the lock, and of a folder that could not be filled. NULL is allowed. */
void dram_rundir_close(dram_rundir *run);

/* Whether a file system, given by its line of /proc/self/mountinfo, keeps locks to its host: NULL if not, or the reason
 * in words. */
const char *dram_mount_keeps_locks(const char *line);

#endif
