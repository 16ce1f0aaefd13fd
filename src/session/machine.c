#include "session/machine.h"

#include <stdio.h>

#include "comm/nccl.h"
#include "device/cpu_kernels.h"

bool dram_machine_gpu(const dram_config *cfg, char *why, int size)
{
    char reason[320] = "";
    bool gpu = cfg->device == DRAM_RUN_DEVICE_CUDA;
    if (cfg->device == DRAM_RUN_DEVICE_AUTO) gpu = dram_device_cuda_usable(reason, sizeof reason);
    if (why) snprintf(why, (size_t)size, "%s", reason);
    return gpu;
}

int dram_machine_ranks(const dram_config *cfg)
{
    return cfg->distributed.ranks ? cfg->distributed.ranks : 1;
}

static bool joins_by_nccl(const dram_config *cfg)
{
    bool may = dram_machine_ranks(cfg) > 1 && cfg->distributed.backend != DRAM_BACKEND_MPI;
    return may && dram_machine_gpu(cfg, NULL, 0);
}

dram_reduce_mode dram_machine_reduce(const dram_config *cfg)
{
    if (cfg->distributed.reduce == DRAM_REDUCE_WORD_ORDERED) return DRAM_REDUCE_ORDERED;
    if (cfg->distributed.reduce == DRAM_REDUCE_WORD_FAST) return DRAM_REDUCE_FAST;
    return joins_by_nccl(cfg) ? DRAM_REDUCE_FAST : DRAM_REDUCE_ORDERED;
}

dram_status dram_machine_profile(const dram_config *cfg, dram_profile *profile)
{
    int workers = cfg->threads ? cfg->threads : dram_host_cores();
    dram_times *times;
    *profile = dram_machine_gpu(cfg, NULL, 0) ? dram_profile_cuda(workers) : dram_profile_cpu(workers);
    profile->ranks = dram_machine_ranks(cfg);
    if (!profile->gpu) return DRAM_OK;
    profile->library_bytes = cfg->cuda.workspace;
    if (joins_by_nccl(cfg))
        profile->comm_bytes = dram_nccl_bytes(profile->ranks, cfg->distributed.nccl_channels,
                                              dram_machine_reduce(cfg) == DRAM_REDUCE_ORDERED);
    TRY(dram_machine_times(cfg, profile, &times));
    if (!times) return DRAM_OK;
    const dram_times_process *process = dram_times_of_process(times);
    if (process->counted != DRAM_COUNTED_NOT) {
        profile->context_bytes = process->context_bytes;
        profile->loaded_bytes = process->loaded_bytes;
        profile->measured = true;
    }
    dram_times_close(times);
    return DRAM_OK;
}

dram_status dram_machine_open(const dram_config *cfg, const dram_profile *profile, dram_device **device)
{
    if (!profile->gpu) return dram_device_open_cpu(profile->workers, device);
    TRY(dram_device_open_cuda(dram_device_cuda_chosen(), profile->workers, device));
    (*device)->records = cfg->cuda.graph;
    return DRAM_OK;
}

void dram_machine_describe(const dram_profile *profile, dram_times_machine *machine)
{
    dram_cuda_card card;
    *machine = (dram_times_machine){.gpu = profile->gpu, .workers = profile->workers};
    if (!profile->gpu)
        snprintf(machine->kernels, sizeof machine->kernels, "%s", dram_cpu_isa());
    else if (dram_device_cuda_card(dram_device_cuda_chosen(), &card) == DRAM_OK)
        snprintf(machine->kernels, sizeof machine->kernels, "%s", card.name);
    else
        dram_error_clear();
}

dram_status dram_machine_times(const dram_config *cfg, const dram_profile *profile, dram_times **times)
{
    dram_times_machine machine;
    *times = NULL;
    if (!cfg->memory.profile) return DRAM_OK;
    dram_machine_describe(profile, &machine);
    return dram_times_open(cfg->memory.profile, &machine, times);
}

dram_status dram_machine_read_memory(const dram_profile *profile, dram_machine_memory *memory)
{
    dram_cuda_card card;
    memory->host_free = dram_host_free_bytes();
    memory->apart = profile->gpu;
    memory->device_free = memory->host_free;
    memory->device_total = dram_host_total_bytes();
    if (!profile->gpu) return DRAM_OK;
    TRY(dram_device_cuda_card(dram_device_cuda_chosen(), &card));
    memory->device_free = card.free_bytes;
    memory->device_total = card.total_bytes;
    return DRAM_OK;
}

int64_t dram_machine_overhead(const dram_profile *profile)
{
    return profile->gpu ? profile->loaded_bytes + profile->comm_bytes : 0;
}
