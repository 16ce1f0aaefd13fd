/* A CUDA GPU as a device: one cudaMalloc for each arena, a stream for each queue, copies through pinned staging, the
 * kernels of kernels/cuda, whole programs as CUDA graphs. */
#include <cuda_runtime_api.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "device/blas.h"
#include "device/cpu_kernels.h"
#include "device/cuda_kernels.h"
#include "device/cuda_libraries.h"
#include "device/cuda_usage.h"
#include "device/device.h"
#include "kernels/cuda/choices.h"
#include "kernels/cuda/context.h"

/* Host memory goes to the device and back in pieces through this much pinned memory. Two halves: while one is on its
 * way, the host fills the other. 2 MiB take 0.1 ms at 20 GB/s, far more than a copy's overhead. */
enum { STAGING_HALF = 2 << 20, LEAST_CAPABILITY = 80 };

typedef struct {
    dram_device base; /* first: a dram_device * is one of these */
    int index;
    cudaStream_t stream[DRAM_QUEUE_COUNT];
    cudaEvent_t passed[DRAM_QUEUE_COUNT]; /* recorded in join() */
    cudaEvent_t staged[2];                /* the copy out of, or into, that half is done */
    cudaEvent_t stamps[DRAM_STAMPS];      /* made when the first time is taken */
    char *staging;
    dram_cuda_opened libraries;
    dram_cuda_context context[DRAM_QUEUE_COUNT];
} cuda_device;

/* Returns a failing call of the runtime with its place, its expression and CUDA's text. */
#define CUDA(CALL)                                                                                                     \
    do {                                                                                                               \
        cudaError_t cuda_error_ = (CALL);                                                                              \
        if (cuda_error_ != cudaSuccess) return failed(cuda_error_, #CALL, __FILE__, __LINE__);                         \
    } while (0)

static dram_status failed(cudaError_t error, const char *call, const char *file, int line)
{
    const char *name = strrchr(file, '/');
    /* Forgets the error, which the next call would report as its own. One that ended the device stays. */
    cudaGetLastError();
    return dram_fail(error == cudaErrorMemoryAllocation ? DRAM_ERR_FIT : DRAM_ERR_RUN, "%s:%d: %s: CUDA says: %s",
                     name ? name + 1 : file, line, call, cudaGetErrorString(error));
}

static cuda_device *of(dram_device *device)
{
    return (cuda_device *)device;
}

/* ---- memory ---- */

static dram_status cuda_alloc(dram_device *device, dram_space space, int64_t bytes, void **memory)
{
    char asked[32], left[32];
    size_t wanted = (size_t)(bytes ? bytes : 1);
    bool on_device = space == DRAM_SPACE_DEVICE;
    /* What waits in host space is copied from there, and a copy beside compute needs pinned memory. */
    cudaError_t error = on_device ? cudaMalloc(memory, wanted) : cudaHostAlloc(memory, wanted, cudaHostAllocDefault);
    if (error == cudaErrorMemoryAllocation) {
        cudaGetLastError();
        dram_format_bytes(bytes, asked, sizeof asked);
        if (!on_device)
            return dram_fail(
                DRAM_ERR_FIT,
                "%s of host memory cannot be pinned for what waits there; set sam_distill.teacher.placement "
                "to device, or take a smaller teacher",
                asked);
        return dram_fail(DRAM_ERR_FIT,
                         "%s cannot give %s for the arena; %s are free: lower memory.budget or the batch size",
                         device->name, asked, dram_format_bytes(device->ops->free_bytes(device), left, sizeof left));
    }
    CUDA(error);
    if (!on_device) {
        memset(*memory, 0, wanted);
        return DRAM_OK;
    }
    dram_status status = device->ops->fill(device, *memory, 0, (int64_t)wanted);
    if (status != DRAM_OK) cudaFree(*memory);
    return status;
}

static void cuda_release(dram_device *device, dram_space space, void *memory, int64_t bytes)
{
    (void)device;
    (void)bytes;
    if (space == DRAM_SPACE_DEVICE)
        cudaFree(memory);
    else
        cudaFreeHost(memory);
}

/* What went wrong in a queue shows here, some time after the node that it happened in. */
static dram_status cuda_finish(dram_device *device)
{
    for (int q = 0; q < DRAM_QUEUE_COUNT; q++) {
        cudaError_t error = cudaStreamSynchronize(of(device)->stream[q]);
        if (error == cudaSuccess) continue;
        const char *waits = getenv("CUDA_LAUNCH_BLOCKING");
        bool named = waits && strcmp(waits, "1") == 0;
        cudaGetLastError();
        return dram_fail(DRAM_ERR_RUN, "the GPU failed: CUDA says: %s%s", cudaGetErrorString(error),
                         named ? "" : "; CUDA_LAUNCH_BLOCKING=1 and cuda.graph=false name the node");
    }
    return DRAM_OK;
}

/* Both directions: piece k goes through half k % 2, which is free again when the copy of piece k - 2 is done. */
static dram_status cuda_write(dram_device *device, void *to, const void *host, int64_t bytes)
{
    cuda_device *d = of(device);
    cudaStream_t stream = d->stream[DRAM_QUEUE_COMPUTE];
    for (int64_t at = 0, k = 0; at < bytes; at += STAGING_HALF, k++) {
        size_t piece = (size_t)(bytes - at < STAGING_HALF ? bytes - at : STAGING_HALF);
        char *half = d->staging + k % 2 * STAGING_HALF;
        if (k >= 2) CUDA(cudaEventSynchronize(d->staged[k % 2]));
        memcpy(half, (const char *)host + at, piece);
        CUDA(cudaMemcpyAsync((char *)to + at, half, piece, cudaMemcpyHostToDevice, stream));
        CUDA(cudaEventRecord(d->staged[k % 2], stream));
    }
    CUDA(cudaStreamSynchronize(stream));
    return DRAM_OK;
}

static dram_status cuda_read(dram_device *device, void *host, const void *from, int64_t bytes)
{
    cuda_device *d = of(device);
    cudaStream_t stream = d->stream[DRAM_QUEUE_COMPUTE];
    int64_t pieces = (bytes + STAGING_HALF - 1) / STAGING_HALF;
    for (int64_t k = 0; k <= pieces; k++) { /* piece k sets out before piece k - 1 is taken from its half */
        int64_t at = k * STAGING_HALF, before = at - STAGING_HALF;
        if (k < pieces) {
            size_t piece = (size_t)(bytes - at < STAGING_HALF ? bytes - at : STAGING_HALF);
            CUDA(cudaMemcpyAsync(d->staging + k % 2 * STAGING_HALF, (const char *)from + at, piece,
                                 cudaMemcpyDeviceToHost, stream));
            CUDA(cudaEventRecord(d->staged[k % 2], stream));
        }
        if (k == 0) continue;
        CUDA(cudaEventSynchronize(d->staged[(k - 1) % 2]));
        memcpy((char *)host + before, d->staging + (k - 1) % 2 * STAGING_HALF,
               (size_t)(bytes - before < STAGING_HALF ? bytes - before : STAGING_HALF));
    }
    return DRAM_OK;
}

static dram_status cuda_fill(dram_device *device, void *to, int byte, int64_t bytes)
{
    cudaStream_t stream = of(device)->stream[DRAM_QUEUE_COMPUTE];
    CUDA(cudaMemsetAsync(to, byte, (size_t)bytes, stream));
    CUDA(cudaStreamSynchronize(stream));
    return DRAM_OK;
}

static int64_t cuda_free_bytes(dram_device *device)
{
    size_t left = 0, whole = 0;
    (void)device;
    return cudaMemGetInfo(&left, &whole) == cudaSuccess ? (int64_t)left : 0;
}

static int64_t cuda_process_bytes(dram_device *device)
{
    return dram_cuda_usage(of(device)->index);
}

/* ---- queues ---- */

static void *cuda_shared(dram_device *device, dram_queue queue)
{
    return &of(device)->context[queue];
}

static void *cuda_stream(dram_device *device, dram_queue queue)
{
    return of(device)->stream[queue];
}

static dram_status cuda_join(dram_device *device, dram_queue from, dram_queue to)
{
    cuda_device *d = of(device);
    CUDA(cudaEventRecord(d->passed[from], d->stream[from]));
    CUDA(cudaStreamWaitEvent(d->stream[to], d->passed[from], 0));
    return DRAM_OK;
}

static dram_status cuda_record_begin(dram_device *device)
{
    CUDA(cudaStreamBeginCapture(of(device)->stream[DRAM_QUEUE_COMPUTE], cudaStreamCaptureModeThreadLocal));
    return DRAM_OK;
}

static dram_status cuda_record_end(dram_device *device, void **record)
{
    cudaGraph_t graph = NULL;
    cudaGraphExec_t ready = NULL;
    CUDA(cudaStreamEndCapture(of(device)->stream[DRAM_QUEUE_COMPUTE], &graph));
    cudaError_t error = cudaGraphInstantiate(&ready, graph, 0);
    cudaGraphDestroy(graph);
    CUDA(error);
    *record = ready;
    return DRAM_OK;
}

static dram_status cuda_replay(dram_device *device, void *record)
{
    CUDA(cudaGraphLaunch((cudaGraphExec_t)record, of(device)->stream[DRAM_QUEUE_COMPUTE]));
    return DRAM_OK;
}

static void cuda_record_free(dram_device *device, void *record)
{
    (void)device;
    if (record) cudaGraphExecDestroy((cudaGraphExec_t)record);
}

static dram_status cuda_stamp(dram_device *device, int at)
{
    cuda_device *d = of(device);
    for (int k = 0; k < DRAM_STAMPS; k++)
        if (!d->stamps[k]) CUDA(cudaEventCreate(&d->stamps[k]));
    if (at == 0) TRY(dram_cuda_hold(&d->context[DRAM_QUEUE_COMPUTE]));
    CUDA(cudaEventRecord(d->stamps[at], d->stream[DRAM_QUEUE_COMPUTE]));
    return DRAM_OK;
}

static dram_status cuda_between(dram_device *device, int from, int to, double *seconds)
{
    float ms;
    CUDA(cudaEventElapsedTime(&ms, of(device)->stamps[from], of(device)->stamps[to]));
    *seconds = ms * 1e-3;
    return DRAM_OK;
}

/* ---- opening ---- */

static void cuda_close(dram_device *device)
{
    cuda_device *d = of(device);
    dram_cuda_context *context = &d->context[DRAM_QUEUE_COMPUTE];
    const dram_cuda_libraries *libs = &d->libraries.functions;
    for (int q = 0; q < DRAM_QUEUE_COUNT; q++)
        if (d->stream[q]) cudaStreamSynchronize(d->stream[q]);
    if (context->choices) dram_cuda_choices_close(context->choices, libs);
    if (context->dnn) libs->cudnn_Destroy(context->dnn);
    if (context->blas) libs->cublasLt_Destroy(context->blas);
    dram_cuda_libraries_close(&d->libraries);
    if (d->staging) cudaFreeHost(d->staging);
    for (int k = 0; k < 2; k++)
        if (d->staged[k]) cudaEventDestroy(d->staged[k]);
    for (int k = 0; k < DRAM_STAMPS; k++)
        if (d->stamps[k]) cudaEventDestroy(d->stamps[k]);
    for (int q = 0; q < DRAM_QUEUE_COUNT; q++) {
        if (d->passed[q]) cudaEventDestroy(d->passed[q]);
        if (d->stream[q]) cudaStreamDestroy(d->stream[q]);
    }
    dram_pool_close(device->pool);
    dram_free(d);
}

static const dram_device_ops cuda_ops = {
    .alloc = cuda_alloc,
    .release = cuda_release,
    .write = cuda_write,
    .read = cuda_read,
    .fill = cuda_fill,
    .free_bytes = cuda_free_bytes,
    .process_bytes = cuda_process_bytes,
    .close = cuda_close,
    .asynchronous = true,
    .shared = cuda_shared,
    .stream = cuda_stream,
    .join = cuda_join,
    .finish = cuda_finish,
    .record_begin = cuda_record_begin,
    .record_end = cuda_record_end,
    .replay = cuda_replay,
    .record_free = cuda_record_free,
    .stamp = cuda_stamp,
    .between = cuda_between,
};

/* Why CUDA does not find a driver that will do: there is none, or it is for an older CUDA. */
static void say_driver(char *why, int size)
{
    int driver = 0;
    if (cudaDriverGetVersion(&driver) != cudaSuccess) driver = 0;
    cudaGetLastError();
    if (driver)
        snprintf(why, (size_t)size,
                 "the NVIDIA driver is for CUDA %d.%d; dram needs one for CUDA %d.0 or newer (580 or newer)",
                 driver / 1000, driver % 1000 / 10, CUDART_VERSION / 1000);
    else
        snprintf(why, (size_t)size, "there is no NVIDIA driver; dram needs one for CUDA %d.0 or newer (580 or newer)",
                 CUDART_VERSION / 1000);
}

static int count_devices(char *why, int size)
{
    int count = 0;
    cudaError_t error = cudaGetDeviceCount(&count);
    if (error == cudaSuccess && count > 0) return count;
    cudaGetLastError();
    if (error == cudaErrorInsufficientDriver)
        say_driver(why, size);
    else
        snprintf(why, (size_t)size, "there is no CUDA GPU (%s)",
                 error == cudaSuccess ? "none is visible" : cudaGetErrorString(error));
    return 0;
}

/* Whether dram's kernels run on the GPU, or why not. It makes no context there. */
static bool will_do(int index, struct cudaDeviceProp *properties, char *why, int size)
{
    int count = count_devices(why, size);
    if (!count) return false;
    if (index >= count) {
        snprintf(why, (size_t)size, "there is no GPU %d; GPUs are counted from 0 and there are %d", index, count);
        return false;
    }
    cudaError_t error = cudaGetDeviceProperties(properties, index);
    if (error != cudaSuccess) {
        cudaGetLastError();
        snprintf(why, (size_t)size, "GPU %d does not say what it is (%s)", index, cudaGetErrorString(error));
        return false;
    }
    if (properties->major * 10 + properties->minor >= LEAST_CAPABILITY) return true;
    snprintf(why, (size_t)size, "%.79s has compute capability %d.%d; dram needs 8.0 (Ampere) or newer",
             properties->name, properties->major, properties->minor);
    return false;
}

static bool find_usable(char *why, int size)
{
    struct cudaDeviceProp properties;
    dram_cuda_opened libraries;
    if (!will_do(dram_device_cuda_chosen(), &properties, why, size)) return false;
    if (dram_cuda_libraries_open(&libraries) != DRAM_OK) {
        snprintf(why, (size_t)size, "%s", dram_error_text());
        dram_error_clear();
        return false;
    }
    dram_cuda_libraries_close(&libraries);
#ifdef DRAM_CUDA_SIM
    snprintf(why, (size_t)size, "this build simulates its GPU; it runs when asked for by name");
    return false;
#else
    return true;
#endif
}

bool dram_device_cuda_usable(char *why, int size)
{
    static bool known, usable; /* it stays as it is, and opening the libraries takes long */
    static char reason[320];
    if (!known) usable = find_usable(reason, sizeof reason);
    known = true;
    snprintf(why, (size_t)size, "%s", reason);
    return usable;
}

/* Says what a failing start has to do with the config. */
static dram_status starting(dram_status status)
{
    if (status == DRAM_OK) return DRAM_OK;
    return dram_error_prefix(status, status == DRAM_ERR_FIT ? "device: cuda: too little memory is free to start: "
                                                            : "device: cuda: ");
}

static dram_status read_card(int index, const struct cudaDeviceProp *properties, dram_cuda_card *card)
{
    size_t left = 0, whole = 0;
    CUDA(cudaSetDevice(index));
    CUDA(cudaMemGetInfo(&left, &whole)); /* makes the context, where cudaSetDevice has not */
    dram_cuda_usage_context(index);
    *card = (dram_cuda_card){.capability = properties->major * 10 + properties->minor,
                             .multiprocessors = properties->multiProcessorCount,
                             .free_bytes = (int64_t)left,
                             .total_bytes = (int64_t)whole};
    snprintf(card->name, sizeof card->name, "%.79s", properties->name);
    CUDA(cudaDriverGetVersion(&card->driver));
    CUDA(cudaRuntimeGetVersion(&card->runtime));
    return DRAM_OK;
}

dram_status dram_device_cuda_card(int index, dram_cuda_card *card)
{
    char why[200];
    struct cudaDeviceProp properties;
    if (!will_do(index, &properties, why, sizeof why))
        return dram_fail(DRAM_ERR_RUN, "device: cuda: %s: use device: cpu", why);
    dram_cuda_usage_begin(index);
    return starting(read_card(index, &properties, card));
}

static dram_status describe(cuda_device *d, int index)
{
    const char *says = getenv("DRAM_CUDA_SAY");
    dram_cuda_card card;
    int shared;
    TRY(dram_device_cuda_card(index, &card));
    cudaError_t code = dram_cuda_code();
    if (code != cudaSuccess) {
        cudaGetLastError();
        return dram_fail(
            DRAM_ERR_RUN,
            "device: cuda: this build has no code for %s, of compute capability %d.%d (CUDA says: %s): build "
            "with -DCMAKE_CUDA_ARCHITECTURES=%d",
            card.name, card.capability / 10, card.capability % 10, cudaGetErrorString(code), card.capability);
    }
    CUDA(cudaDeviceGetAttribute(&shared, cudaDevAttrMaxSharedMemoryPerBlockOptin, index));
    snprintf(d->base.name, sizeof d->base.name, "%s", card.name);
    d->base.counted = dram_cuda_usage_counted(index);
    d->base.context_bytes = dram_cuda_usage_of_context(index);
    d->index = index;
    for (int q = 0; q < DRAM_QUEUE_COUNT; q++) {
        d->context[q].multiprocessors = card.multiprocessors;
        d->context[q].shared_bytes = shared;
        d->context[q].says = says && strcmp(says, "1") == 0;
    }
    return DRAM_OK;
}

static dram_status open_queues(cuda_device *d)
{
    void *staging = NULL;
    for (int q = 0; q < DRAM_QUEUE_COUNT; q++) {
        CUDA(cudaStreamCreateWithFlags(&d->stream[q], cudaStreamNonBlocking));
        CUDA(cudaEventCreateWithFlags(&d->passed[q], cudaEventDisableTiming));
        d->context[q].stream = d->stream[q];
    }
    for (int k = 0; k < 2; k++) CUDA(cudaEventCreateWithFlags(&d->staged[k], cudaEventDisableTiming));
    CUDA(cudaHostAlloc(&staging, (size_t)2 * STAGING_HALF, cudaHostAllocDefault));
    d->staging = staging;
    return DRAM_OK;
}

/* The libraries work for the compute queue alone. */
static dram_status open_libraries(cuda_device *d)
{
    dram_cuda_context *context = &d->context[DRAM_QUEUE_COMPUTE];
    TRY(dram_cuda_libraries_open(&d->libraries));
    const dram_cuda_libraries *libs = context->libs = &d->libraries.functions;
    cublasStatus_t blas = libs->cublasLt_Create(&context->blas);
    if (blas != CUBLAS_STATUS_SUCCESS)
        return dram_fail(blas == CUBLAS_STATUS_ALLOC_FAILED ? DRAM_ERR_FIT : DRAM_ERR_RUN, "cuBLASLt cannot start: %s",
                         libs->cublasLt_GetStatusString(blas));
    cudnnStatus_t dnn = libs->cudnn_Create(&context->dnn);
    if (dnn == CUDNN_STATUS_SUCCESS) dnn = libs->cudnn_SetStream(context->dnn, context->stream);
    if (dnn != CUDNN_STATUS_SUCCESS) {
        char text[256] = "";
        libs->cudnn_GetLastErrorString(text, sizeof text);
        return dram_fail(dnn == CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED ? DRAM_ERR_FIT : DRAM_ERR_RUN,
                         "cuDNN cannot start: %s%s%s", libs->cudnn_GetErrorString(dnn), *text ? ": " : "", text);
    }
    return dram_cuda_choices_open(&context->choices);
}

dram_status dram_device_open_cuda(int index, int workers, dram_device **out)
{
    dram_status status;
    cuda_device *d = dram_calloc(1, sizeof *d);
    if (!d) return dram_fail(DRAM_ERR_MEMORY, "no memory for the device");
    d->base.ops = &cuda_ops;
    d->base.profile = dram_profile_cuda(workers);
    d->base.kernels = dram_cuda_kernels();
    d->base.many = dram_cuda_kernels_many();
    d->base.host_kernels = dram_cpu_kernels();
    d->base.records = true;
    TRY_GOTO(describe(d, index), failed);
    TRY_GOTO(starting(open_queues(d)), failed);
    TRY_GOTO(starting(open_libraries(d)), failed);
    TRY_GOTO(dram_blas_open(1), failed); /* for the host's own products; dram_exec_open sees to its kernels' */
    TRY_GOTO(dram_pool_open(workers, &d->base.pool), failed);
    *out = &d->base;
    return DRAM_OK;
failed:
    cuda_close(&d->base);
    return status;
}
