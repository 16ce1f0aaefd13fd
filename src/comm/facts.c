#include "comm/facts.h"

#include <math.h>

#include "comm/job.h"
#include "comm/nccl.h"

dram_comm_facts dram_comm_tell(const dram_comm *c)
{
    if (dram_comm_size(c) == 1)
        return (dram_comm_facts){.launcher = dram_launcher_name(DRAM_LAUNCHER_NONE), .failed_rank = -1};
    return (dram_comm_facts){.launcher = dram_launcher_name(c->launcher),
                             .seconds = c->data->device_memory ? NAN : c->seconds,
                             .taken_bytes = c->failed ? 0 : dram_nccl_taken(c->data),
                             .failed_rank = c->failed_rank};
}

const char *dram_comm_environment(const dram_comm *c, int i, const char **value)
{
    return dram_comm_size(c) > 1 && c->data->device_memory ? dram_nccl_environment(i, value) : NULL;
}
