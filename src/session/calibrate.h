/* calibrate: measures on this machine what a file of times holds (session/times.h). */
#ifndef DRAM_SESSION_CALIBRATE_H
#define DRAM_SESSION_CALIBRATE_H

#include <signal.h>

#include "session/session.h"
#include "session/times.h"

/* What the file holds then. */
typedef struct {
    int nodes; /* of different kinds */
    dram_times_process process;
} dram_calibration;

/* Runs the steps of the config with drawn weights and made-up images, everything stored, three times over; writes the
 * shortest time of each node to `path`, beside those that the file has already (of the same device and number of
 * workers). On a GPU also what the process took of it beside the arena. DRAM_ERR_FIT when the step does not fit in
 * memory. stop: looked at before each program; non-zero ends with DRAM_INTERRUPTED, `path` as it was; NULL: never. */
dram_status dram_calibrate(const dram_config *cfg, const char *path, const volatile sig_atomic_t *stop,
                           dram_calibration *found);

/* Fills what a program of a started session reads: pixels of noise, labels of 0 and 1, the whole picture valid, every
 * other number 1. */
dram_status dram_stage_made_up(dram_session *session, const dram_io *io);

/* Runs a small convolution, product and kernel of dram's own, of bf16, on a GPU. *bytes: what the process takes of it then,
 * beside arenas: the first call of a library loads more than opening it does. 0 where there is no count. */
dram_status dram_calibrate_first_run(dram_device *device, int64_t *bytes);

#endif
