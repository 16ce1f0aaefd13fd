/* device: what the simulated GPU says of itself, and errors. By environment: CUDASIM_DEVICES (1), CUDA_VISIBLE_DEVICES
 * (all), CUDASIM_DRIVER (13000; 0: none), CUDASIM_CAPABILITY (9.0),
 * CUDASIM_CODE (1; 0: the program has no code for it). */
#include <algorithm>
#include <map>
#include <stdio.h>
#include <stdlib.h>

#include "internal.h"

namespace
{

constexpr int MULTIPROCESSORS = 4;

thread_local cudaError_t last = cudaSuccess;
thread_local int device = 0;

/* A kernel's shared memory: what it declares, and the most that a launch may ask for. */
struct function {
    size_t statics = 0, most = CUDASIM_STATIC_SHARED;
};
std::map<const void *, function> &functions = *new std::map<const void *, function>;

void capability(int *major, int *minor)
{
    const char *text = getenv("CUDASIM_CAPABILITY");
    *major = 9;
    *minor = 0;
    if (text && sscanf(text, "%d.%d", major, minor) != 2)
        cudasim_fault("CUDASIM_CAPABILITY is \"%s\": write 9.0", text);
}

/* The machine's devices that this process sees, by their numbers there. As CUDA reads it: up to the first that is none,
 * and nothing if one comes twice. */
std::vector<int> visible()
{
    std::vector<int> list;
    int count = (int)cudasim_setting("CUDASIM_DEVICES", 1);
    const char *at = getenv("CUDA_VISIBLE_DEVICES");
    for (int i = 0; !at && i < count; i++) list.push_back(i);
    while (at && *at) {
        char *end;
        long number = strtol(at, &end, 10);
        if (end == at || number < 0 || number >= count) break;
        if (std::find(list.begin(), list.end(), (int)number) != list.end()) return {};
        list.push_back((int)number);
        if (*end != ',') break;
        at = end + 1;
    }
    return list;
}

struct named {
    cudaError_t error;
    const char *name, *text;
};

const named errors[] = {
    {cudaSuccess, "cudaSuccess", "no error"},
    {cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
    {cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
    {cudaErrorInitializationError, "cudaErrorInitializationError", "initialization error"},
    {cudaErrorInvalidConfiguration, "cudaErrorInvalidConfiguration", "invalid configuration argument"},
    {cudaErrorInvalidMemcpyDirection, "cudaErrorInvalidMemcpyDirection", "invalid copy direction for memcpy"},
    {cudaErrorInsufficientDriver, "cudaErrorInsufficientDriver",
     "CUDA driver version is insufficient for CUDA runtime version"},
    {cudaErrorNoDevice, "cudaErrorNoDevice", "no CUDA-capable device is detected"},
    {cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal"},
    {cudaErrorNoKernelImageForDevice, "cudaErrorNoKernelImageForDevice",
     "no kernel image is available for execution on the device"},
    {cudaErrorUnsupportedPtxVersion, "cudaErrorUnsupportedPtxVersion",
     "the provided PTX was compiled with an unsupported toolchain."},
    {cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
    {cudaErrorNotReady, "cudaErrorNotReady", "device not ready"},
    {cudaErrorIllegalAddress, "cudaErrorIllegalAddress", "an illegal memory access was encountered"},
    {cudaErrorLaunchFailure, "cudaErrorLaunchFailure", "unspecified launch failure"},
    {cudaErrorNotSupported, "cudaErrorNotSupported", "operation not supported"},
    {cudaErrorStreamCaptureUnsupported, "cudaErrorStreamCaptureUnsupported",
     "operation not permitted when stream is capturing"},
    {cudaErrorStreamCaptureInvalidated, "cudaErrorStreamCaptureInvalidated",
     "operation failed due to a previous error during capture"},
    {cudaErrorStreamCaptureMerge, "cudaErrorStreamCaptureMerge",
     "operation would result in a merge of separate capture sequences"},
    {cudaErrorStreamCaptureUnmatched, "cudaErrorStreamCaptureUnmatched",
     "capture was not ended in the same stream as it began"},
    {cudaErrorStreamCaptureUnjoined, "cudaErrorStreamCaptureUnjoined", "capturing stream has unjoined work"},
    {cudaErrorStreamCaptureIsolation, "cudaErrorStreamCaptureIsolation",
     "dependency created on uncaptured work in another stream"},
    {cudaErrorStreamCaptureImplicit, "cudaErrorStreamCaptureImplicit",
     "operation would make the legacy stream depend on a capturing blocking stream"},
    {cudaErrorCapturedEvent, "cudaErrorCapturedEvent",
     "operation not permitted on an event last recorded in a capturing stream"},
    {cudaErrorStreamCaptureWrongThread, "cudaErrorStreamCaptureWrongThread",
     "attempt to terminate a thread-local capture sequence from another thread"},
    {cudaErrorUnknown, "cudaErrorUnknown", "unknown error"},
};

const named *find(cudaError_t error)
{
    for (const named &e : errors)
        if (e.error == error) return &e;
    return nullptr;
}

} // namespace

std::recursive_mutex &cudasim_lock()
{
    static std::recursive_mutex &mutex = *new std::recursive_mutex;
    return mutex;
}

size_t cudasim_setting(const char *variable, size_t otherwise)
{
    const char *text = getenv(variable);
    char *end;
    if (!text || !*text) return otherwise;
    unsigned long long number = strtoull(text, &end, 10);
    if (*end || text[0] == '-') cudasim_fault("%s is \"%s\", which is no number", variable, text);
    return number;
}

cudaError_t cudasim_error(cudaError_t error)
{
    if (error != cudaSuccess) last = error;
    return error;
}

cudaError_t cudasim_present()
{
    if (cudasim_setting("CUDASIM_DRIVER", CUDART_VERSION) / 1000 < CUDART_VERSION / 1000)
        return cudasim_error(cudaErrorInsufficientDriver);
    if (visible().empty()) return cudasim_error(cudaErrorNoDevice);
    return cudaSuccess;
}

/* ---- devices ---- */

cudaError_t cudaGetDeviceCount(int *count)
{
    *count = 0;
    CUDASIM_PRESENT;
    *count = (int)visible().size();
    return cudaSuccess;
}

cudaError_t cudaSetDevice(int index)
{
    int count;
    CUDASIM_PRESENT;
    cudaGetDeviceCount(&count);
    if (index < 0 || index >= count) return cudasim_error(cudaErrorInvalidDevice);
    device = index;
    return cudasim_context();
}

cudaError_t cudaGetDevice(int *index)
{
    CUDASIM_PRESENT;
    *index = device;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *prop, int index)
{
    int count;
    CUDASIM_PRESENT;
    cudaGetDeviceCount(&count);
    if (index < 0 || index >= count) return cudasim_error(cudaErrorInvalidDevice);
    *prop = cudaDeviceProp{};
    snprintf(prop->name, sizeof prop->name, "simulated GPU");
    prop->totalGlobalMem = cudasim_capacity();
    prop->sharedMemPerBlock = CUDASIM_STATIC_SHARED;
    prop->regsPerBlock = prop->regsPerMultiprocessor = 65536;
    prop->warpSize = 32;
    prop->maxThreadsPerBlock = (int)CUDASIM_MOST_THREADS;
    const int threads[3] = {1024, 1024, 64}, grid[3] = {0x7fffffff, 65535, 65535};
    memcpy(prop->maxThreadsDim, threads, sizeof threads);
    memcpy(prop->maxGridSize, grid, sizeof grid);
    capability(&prop->major, &prop->minor);
    prop->multiProcessorCount = MULTIPROCESSORS;
    prop->concurrentKernels = 1;
    prop->pciBusID = visible()[(size_t)index] + 1;
    snprintf(prop->uuid.bytes, sizeof prop->uuid.bytes, "simulated %d", prop->pciBusID);
    prop->asyncEngineCount = 2;
    prop->unifiedAddressing = 1;
    prop->memoryBusWidth = 384;
    prop->l2CacheSize = 4 << 20;
    prop->maxThreadsPerMultiProcessor = 2048;
    prop->sharedMemPerMultiprocessor = CUDASIM_BLOCK_SHARED + 1024;
    prop->sharedMemPerBlockOptin = CUDASIM_BLOCK_SHARED;
    prop->reservedSharedMemPerBlock = 1024;
    return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr attr, int index)
{
    cudaDeviceProp p;
    cudaError_t error = cudaGetDeviceProperties(&p, index);
    if (error != cudaSuccess) return error;
    switch (attr) {
    case cudaDevAttrMaxThreadsPerBlock:
        *value = p.maxThreadsPerBlock;
        break;
    case cudaDevAttrMaxSharedMemoryPerBlock:
        *value = (int)p.sharedMemPerBlock;
        break;
    case cudaDevAttrWarpSize:
        *value = p.warpSize;
        break;
    case cudaDevAttrMaxRegistersPerBlock:
    case cudaDevAttrMaxRegistersPerMultiprocessor:
        *value = p.regsPerBlock;
        break;
    case cudaDevAttrClockRate:
    case cudaDevAttrMemoryClockRate:
        *value = 1000000;
        break;
    case cudaDevAttrMultiProcessorCount:
        *value = p.multiProcessorCount;
        break;
    case cudaDevAttrIntegrated:
    case cudaDevAttrPciDeviceId:
    case cudaDevAttrPciDomainId:
        *value = 0;
        break;
    case cudaDevAttrConcurrentKernels:
    case cudaDevAttrUnifiedAddressing:
        *value = 1;
        break;
    case cudaDevAttrPciBusId:
        *value = p.pciBusID;
        break;
    case cudaDevAttrGlobalMemoryBusWidth:
        *value = p.memoryBusWidth;
        break;
    case cudaDevAttrL2CacheSize:
        *value = p.l2CacheSize;
        break;
    case cudaDevAttrMaxThreadsPerMultiProcessor:
        *value = p.maxThreadsPerMultiProcessor;
        break;
    case cudaDevAttrAsyncEngineCount:
        *value = p.asyncEngineCount;
        break;
    case cudaDevAttrComputeCapabilityMajor:
        *value = p.major;
        break;
    case cudaDevAttrComputeCapabilityMinor:
        *value = p.minor;
        break;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
        *value = (int)p.sharedMemPerMultiprocessor;
        break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
        *value = (int)p.sharedMemPerBlockOptin;
        break;
    case cudaDevAttrReservedSharedMemoryPerBlock:
        *value = (int)p.reservedSharedMemPerBlock;
        break;
    default:
        return cudasim_error(cudaErrorInvalidValue);
    }
    return cudaSuccess;
}

cudaError_t cudaDeviceGetPCIBusId(char *pciBusId, int len, int index)
{
    cudaDeviceProp p;
    cudaError_t error = cudaGetDeviceProperties(&p, index);
    if (error == cudaSuccess) snprintf(pciBusId, (size_t)len, "0000:%02x:00.0", (unsigned)p.pciBusID);
    return error;
}

cudaError_t cudaDriverGetVersion(int *driverVersion)
{
    *driverVersion = (int)cudasim_setting("CUDASIM_DRIVER", CUDART_VERSION);
    return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int *runtimeVersion)
{
    *runtimeVersion = CUDART_VERSION;
    return cudaSuccess;
}

/* ---- functions ---- */

/* Known from a function's first block on. */
void cudasim_has_static_shared(const void *code, size_t bytes)
{
    if (code && functions[code].statics < bytes) functions[code].statics = bytes;
}

void cudasim_check_shared(const void *code, size_t statics, size_t shared, const char *what)
{
    if (!code) return; /* no function, but a test's own lines */
    size_t most = functions[code].most;
    if (shared > most || (statics + shared > CUDASIM_STATIC_SHARED && most == CUDASIM_STATIC_SHARED))
        cudasim_fault(
            "%s: %zu bytes of static and %zu of dynamic shared memory, where cudaFuncSetAttribute was last told "
            "%zu",
            what, statics, shared, most);
}

cudaError_t cudaFuncGetAttributes(struct cudaFuncAttributes *attr, const void *func)
{
    CUDASIM_HOLD;
    CUDASIM_PRESENT;
    if (!attr || !func) return cudasim_error(cudaErrorInvalidValue);
    if (!cudasim_setting("CUDASIM_CODE", 1)) return cudasim_error(cudaErrorNoKernelImageForDevice);
    attr->sharedSizeBytes = functions[func].statics;
    attr->maxDynamicSharedSizeBytes = (int)functions[func].most;
    return cudaSuccess;
}

/* It belongs to the function: the last value holds, for launches to come and for those in graphs. */
cudaError_t cudaFuncSetAttribute(const void *func, enum cudaFuncAttribute attr, int value)
{
    CUDASIM_HOLD;
    CUDASIM_PRESENT;
    if (!func || value < 0) return cudasim_error(cudaErrorInvalidValue);
    if (attr != cudaFuncAttributeMaxDynamicSharedMemorySize) return cudaSuccess;
    if ((size_t)value + functions[func].statics > CUDASIM_BLOCK_SHARED) return cudasim_error(cudaErrorInvalidValue);
    functions[func].most = (size_t)value;
    return cudaSuccess;
}

/* ---- errors ---- */

const char *cudaGetErrorName(cudaError_t error)
{
    const named *e = find(error);
    return e ? e->name : "unrecognized error code";
}

const char *cudaGetErrorString(cudaError_t error)
{
    const named *e = find(error);
    return e ? e->text : "unrecognized error code";
}

cudaError_t cudaGetLastError(void)
{
    cudaError_t error = last;
    last = cudaSuccess;
    return error;
}

cudaError_t cudaPeekAtLastError(void)
{
    return last;
}
