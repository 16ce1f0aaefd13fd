/* A build without NCCL's header, or without CUDA. */
#include <stdio.h>

#include "comm/nccl.h"

static const char reason[] = "this build has no NCCL";

static dram_status none(void)
{
    return dram_fail(DRAM_ERR_CONFIG,
                     "distributed.backend: nccl: %s: build with nvcc and nccl.h (Debian: libnccl-dev), or start one "
                     "process, or use device: cpu",
                     reason);
}

dram_status dram_nccl_gpu(const dram_world *world, int *index)
{
    (void)world;
    (void)index;
    return none();
}

dram_status dram_nccl_open(const dram_nccl_params *params, dram_transport **out)
{
    (void)params;
    (void)out;
    return none();
}

int64_t dram_nccl_taken(const dram_transport *transport)
{
    (void)transport;
    return 0;
}

const char *dram_nccl_environment(int i, const char **value)
{
    (void)i;
    (void)value;
    return NULL;
}

bool dram_nccl_describe(char *text, int size)
{
    snprintf(text, (size_t)size, "%s", reason);
    return false;
}
