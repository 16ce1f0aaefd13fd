/* ranks: a test program that mpirun.sh starts several times is a rank of a job. */
#ifndef DRAM_TESTS_RANKS_H
#define DRAM_TESTS_RANKS_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "comm/comm.h"
#include "support/device.h"

static inline void ranks_leave(void *context, dram_status status, const char *text)
{
    (void)context;
    fprintf(stderr, "dram: %s\n", text);
    fflush(stderr);
    _exit(dram_status_exit(status));
}

/* What a rank of a test has; ends the program where it cannot be opened. */
static inline dram_comm *ranks_open(double timeout, const char *config, const char *program)
{
    dram_comm_params params = {.gpu = test_on_gpu(),
                               .channels = 4,
                               .timeout = timeout,
                               .config = config,
                               .program = program,
                               .leave = ranks_leave};
    dram_comm *comm = NULL;
    dram_status status = dram_world_read(dram_process_environment, NULL, &params.world);
    if (status == DRAM_OK) status = dram_comm_open(&params, &comm);
    if (status == DRAM_OK) return comm;
    fprintf(stderr, "dram: %s\n", dram_error_text());
    exit(dram_status_exit(status));
}

/* The device of a rank, attached. */
static inline dram_status ranks_device_open(dram_comm *comm, dram_device **device)
{
    dram_status status = test_device_open(1, device);
    if (status == DRAM_OK) dram_comm_attach(comm, *device);
    return status;
}

#endif
