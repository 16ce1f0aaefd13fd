/* launch: makes the runs of a sweep that is open, by child processes of this very program. */
#ifndef DRAM_LAUNCH_LAUNCH_H
#define DRAM_LAUNCH_LAUNCH_H

#include <signal.h>

#include "sweep/sweep.h"

typedef struct {
    int jobs;            /* runs at once, at most; 0: as many as fit */
    int64_t memory;      /* bytes of RAM that all runs of this machine may take together; 0: what is free, less 2 % */
    const char *devices; /* "0,1": the GPUs that may be used; NULL: all */
    int index;           /* 0: all runs; else from 1, the point whose runs alone are made: a task of an array */
    bool failed;         /* those that failed are made again */
    bool stop_on_failure;
    bool share_always; /* a card is shared whatever its device share */
    const volatile sig_atomic_t *stop;
    void *context;
    void (*told)(void *context, const char *line); /* what happens, a line each; on the calling thread */
} dram_sweep_options;

/* Returns when all runs that it may make are done or failed, those included that another process of the same folder
 * makes. DRAM_OK: all are done; DRAM_ERR_RUN: some failed or were left out (each was told); DRAM_ERR_FIT: none has room
 * on this machine; DRAM_INTERRUPTED: a stop was asked for, and all children have saved. Where the disk is full, say, it
 * stops its children and fails with what the system says; the same call goes on. */
dram_status dram_sweep_launch(const dram_sweep *sweep, const dram_sweep_options *options);

#endif
