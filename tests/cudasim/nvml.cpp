/* nvml: what the driver says of the simulated GPU's memory. By environment: CUDASIM_NVML. */
#include <stdlib.h>
#include <unistd.h>

#include "device/nvml.h"
#include "internal.h"

struct nvmlDevice_st {
    int number;
};

namespace
{

bool is(const char *word)
{
    const char *text = getenv("CUDASIM_NVML");
    std::string set = text && *text ? text : "process";
    if (set != "process" && set != "gpu" && set != "mute" && set != "none")
        cudasim_fault("CUDASIM_NVML is \"%s\": it may be process, gpu, mute or none", set.c_str());
    return set == word;
}

} // namespace

extern "C" nvmlReturn_t nvmlInit_v2(void)
{
    return is("none") ? NVML_ERROR_UNKNOWN : NVML_SUCCESS;
}

extern "C" nvmlReturn_t nvmlDeviceGetHandleByPciBusId_v2(const char *pciBusId, nvmlDevice_t *device)
{
    static nvmlDevice_st found;
    char bus[32];
    int count, index = 0;
    if (cudaGetDeviceCount(&count) != cudaSuccess) return NVML_ERROR_UNKNOWN;
    while (index < count &&
           (cudaDeviceGetPCIBusId(bus, sizeof bus, index) != cudaSuccess || strcmp(bus, pciBusId) != 0))
        index++;
    if (index == count) return NVML_ERROR_UNKNOWN;
    found.number = index;
    *device = &found;
    return NVML_SUCCESS;
}

extern "C" nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t, nvmlMemory_t *memory)
{
    CUDASIM_HOLD;
    if (is("mute")) return NVML_ERROR_UNKNOWN;
    memory->total = cudasim_capacity();
    memory->used = cudasim_of_process() + cudasim_setting("CUDASIM_OTHERS", 0);
    memory->free = memory->total > memory->used ? memory->total - memory->used : 0;
    return NVML_SUCCESS;
}

/* Another process, and this one as soon as it has a context. */
extern "C" nvmlReturn_t nvmlDeviceGetComputeRunningProcesses_v3(nvmlDevice_t, unsigned int *infoCount,
                                                                nvmlProcessInfo_t *infos)
{
    CUDASIM_HOLD;
    nvmlProcessInfo_t list[2];
    unsigned n = 0, room = *infoCount;
    size_t others = cudasim_setting("CUDASIM_OTHERS", 0);
    if (is("process")) {
        if (others) list[n++] = {1, others, ~0u, ~0u};
        if (cudasim_has_context()) list[n++] = {(unsigned)getpid(), cudasim_of_process(), ~0u, ~0u};
    }
    *infoCount = n;
    if (n > room) return NVML_ERROR_INSUFFICIENT_SIZE;
    for (unsigned i = 0; i < n; i++) infos[i] = list[i];
    return NVML_SUCCESS;
}
