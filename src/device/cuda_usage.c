#include "device/cuda_usage.h"

#include <cuda_runtime_api.h>
#include <unistd.h>

#include "device/nvml.h"

static struct {
    bool begun, found; /* found: the context's bytes are known */
    int index;
    __typeof__(nvmlDeviceGetMemoryInfo) *memory;
    __typeof__(nvmlDeviceGetComputeRunningProcesses_v3) *processes;
    nvmlDevice_t device; /* NULL: there is no count */
    int64_t before;      /* in use on the whole GPU */
    bool stranger;       /* another process is listed by this one's number, as from within a container */
    dram_counted counted;
    int64_t context;
} usage;

/* Looks NVML's functions up and starts it; false where it is missing or too old. It stays open: a process has a GPU for
 * as long as it lives. */
#ifdef DRAM_CUDA_SIM /* linked in */
static bool open_nvml(__typeof__(nvmlDeviceGetHandleByPciBusId_v2) **handle)
{
    *handle = nvmlDeviceGetHandleByPciBusId_v2;
    usage.memory = nvmlDeviceGetMemoryInfo;
    usage.processes = nvmlDeviceGetComputeRunningProcesses_v3;
    return nvmlInit_v2() == NVML_SUCCESS;
}
#else
#include <dlfcn.h>

#include "device/symbol.h"

static bool open_nvml(__typeof__(nvmlDeviceGetHandleByPciBusId_v2) **handle)
{
    __typeof__(nvmlInit_v2) *init;
    void *library = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!library) return false;
    if (dram_symbol(library, "nvmlInit_v2", &init) &&
        dram_symbol(library, "nvmlDeviceGetHandleByPciBusId_v2", handle) &&
        dram_symbol(library, "nvmlDeviceGetMemoryInfo", &usage.memory) &&
        dram_symbol(library, "nvmlDeviceGetComputeRunningProcesses_v3", &usage.processes) && init() == NVML_SUCCESS)
        return true;
    dlclose(library);
    return false;
}
#endif

/* Of the whole GPU; -1: the driver does not say. */
static int64_t in_use(void)
{
    nvmlMemory_t memory;
    return usage.memory(usage.device, &memory) == NVML_SUCCESS ? (int64_t)memory.used : -1;
}

/* What the driver lists for this process; -1: it does not. */
static int64_t listed(void)
{
    enum { MOST = 128 };
    nvmlProcessInfo_t infos[MOST];
    unsigned n = MOST;
    if (usage.processes(usage.device, &n, infos) != NVML_SUCCESS) return -1;
    for (unsigned i = 0; i < n && i < MOST; i++)
        if (infos[i].pid == (unsigned)getpid() && infos[i].usedGpuMemory != ~0ULL)
            return (int64_t)infos[i].usedGpuMemory;
    return -1;
}

void dram_cuda_usage_begin(int index)
{
    char bus[32];
    __typeof__(nvmlDeviceGetHandleByPciBusId_v2) *handle = NULL;
    if (usage.begun) return;
    usage.begun = true;
    usage.index = index;
    if (cudaDeviceGetPCIBusId(bus, sizeof bus, index) != cudaSuccess || !open_nvml(&handle) ||
        handle(bus, &usage.device) != NVML_SUCCESS)
        usage.device = NULL;
    cudaGetLastError();
    if (!usage.device) return;
    usage.before = in_use();
    if (usage.before < 0) {
        usage.device = NULL;
        return;
    }
    usage.stranger = listed() >= 0;
}

void dram_cuda_usage_context(int index)
{
    if (usage.found || !usage.device || index != usage.index) return;
    usage.found = true;
    usage.counted = listed() >= 0 && !usage.stranger ? DRAM_COUNTED_PROCESS : DRAM_COUNTED_GPU;
    usage.context = dram_cuda_usage(index);
}

int64_t dram_cuda_usage_of_context(int index)
{
    return index == usage.index ? usage.context : 0;
}

dram_counted dram_cuda_usage_counted(int index)
{
    return index == usage.index ? usage.counted : DRAM_COUNTED_NOT;
}

int64_t dram_cuda_usage(int index)
{
    if (index != usage.index || usage.counted == DRAM_COUNTED_NOT) return 0;
    int64_t bytes = usage.counted == DRAM_COUNTED_PROCESS ? listed() : in_use() - usage.before;
    return bytes > 0 ? bytes : 0;
}
