/* stream: streams, events and launches. Stream 0 waits for all blocking streams, and they for it, as CUDA's does. */
#include <algorithm>
#include <map>
#include <stdio.h>

#include "internal.h"

namespace
{

std::map<const void *, cudasim_handle> &handles = *new std::map<const void *, cudasim_handle>;
std::vector<cudaStream_t> &streams = *new std::vector<cudaStream_t>; /* that were made and not destroyed */
CUstream_st &legacy = *new CUstream_st{0, true, {}, nullptr, {}};
int made;               /* streams, for their numbers */
unsigned long launched; /* kernels, for theirs */
bool broken;            /* by one of them (CUDASIM_ILLEGAL) */

/* Whether kernels touch memory that is none: who launches one hears of it under CUDA_LAUNCH_BLOCKING, else who waits. */
bool illegal()
{
    if (!cudasim_setting("CUDASIM_ILLEGAL", 0)) broken = false;
    return broken;
}

const char *const handle_name[] = {"a stream", "an event", "a graph", "an instantiated graph"};

} // namespace

/* ---- handles ---- */

void cudasim_register(cudasim_handle kind, void *handle)
{
    handles[handle] = kind;
}

void cudasim_check_handle(cudasim_handle kind, const void *handle, const char *call)
{
    auto it = handles.find(handle);
    if (it == handles.end())
        cudasim_fault("%s: %p is not %s: it was destroyed, or is no handle", call, handle, handle_name[kind]);
    if (it->second != kind)
        cudasim_fault("%s: %p is not %s but %s", call, handle, handle_name[kind], handle_name[it->second]);
}

void cudasim_forget(void *handle)
{
    handles.erase(handle);
}

size_t cudasim_handles()
{
    return handles.size();
}

std::vector<const void *> cudasim_handles_of(cudasim_handle kind)
{
    std::vector<const void *> of;
    for (const auto &handle : handles)
        if (handle.second == kind) of.push_back(handle.first);
    return of;
}

cudaStream_t cudasim_stream(cudaStream_t handle, const char *call)
{
    if (!handle || handle == cudaStreamLegacy) return &legacy;
    cudasim_check_handle(CUDASIM_STREAM, handle, call);
    return handle;
}

/* ---- queueing ---- */

std::vector<cudasim_ref> cudasim_stream_deps(cudaStream_t stream)
{
    std::vector<cudasim_ref> deps(stream->tail);
    if (stream == &legacy)
        for (cudaStream_t other : streams) {
            if (other->blocking) deps.insert(deps.end(), other->tail.begin(), other->tail.end());
        }
    else if (stream->blocking)
        deps.insert(deps.end(), legacy.tail.begin(), legacy.tail.end());
    return deps;
}

cudaError_t cudasim_issue(cudaStream_t stream, cudasim_task task, std::vector<char> *staged, cudasim_ref *op)
{
    auto shared = std::make_shared<const cudasim_task>(std::move(task));
    if (stream->capture) return cudasim_error(cudasim_record(stream, shared));
    if (stream == &legacy)
        for (cudaStream_t other : streams)
            if (other->blocking && other->capture) {
                other->capture->valid = false;
                return cudasim_error(cudaErrorStreamCaptureImplicit);
            }
    cudasim_ref made_op = cudasim_submit(shared, cudasim_stream_deps(stream), staged);
    stream->tail.assign(1, made_op);
    if (op) *op = made_op;
    return cudaSuccess;
}

cudaError_t cudasim_launch_body(cudaStream_t handle, dim3 grid, dim3 block, size_t shared, std::function<void()> body,
                                const void *code)
{
    CUDASIM_HOLD;
    CUDASIM_PRESENT;
    cudaStream_t stream = cudasim_stream(handle, "a kernel's launch");
    cudaError_t error = cudasim_check_grid(grid, block, shared);
    if (error == cudaSuccess && code) error = cudasim_occupy(code, "CUDASIM_KERNEL");
    if (error != cudaSuccess) return cudasim_error(error);
    if (code && !cudasim_setting("CUDASIM_CODE", 1)) return cudasim_error(cudaErrorNoKernelImageForDevice);
    cudasim_task task;
    char text[128];
    snprintf(text, sizeof text, "kernel %lu (%u x %u x %u blocks of %u x %u x %u threads) on stream %d", ++launched,
             grid.x, grid.y, grid.z, block.x, block.y, block.z, stream->number);
    cudasim_check_shared(code, 0, shared, text);
    task.kind = CUDASIM_KERNEL;
    task.what = text;
    task.run = std::move(body);
    task.grid = grid;
    task.block = block;
    task.shared = shared;
    task.code = code;
    error = cudasim_issue(stream, std::move(task));
    broken = cudasim_setting("CUDASIM_ILLEGAL", 0);
    return broken && cudasim_setting("CUDA_LAUNCH_BLOCKING", 0) ? cudasim_error(cudaErrorIllegalAddress) : error;
}

unsigned long cudasim_launched(void)
{
    return launched;
}

void cudasim_enqueue(cudaStream_t handle, const char *what, std::function<void()> body)
{
    CUDASIM_HOLD;
    cudaStream_t stream = cudasim_stream(handle, what);
    cudasim_task task;
    task.kind = CUDASIM_WORK;
    task.what = std::string(what) + " on stream " + std::to_string(stream->number);
    task.run = std::move(body);
    cudasim_issue(stream, std::move(task));
}

cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t fn, void *userData)
{
    CUDASIM_HOLD;
    CUDASIM_PRESENT;
    cudasim_enqueue(stream, "a host function", [fn, userData] { fn(userData); });
    return cudaSuccess;
}

/* ---- streams ---- */

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *pStream, unsigned int flags)
{
    CUDASIM_HOLD;
    CUDASIM_PRESENT;
    if (flags & ~(unsigned)cudaStreamNonBlocking) return cudasim_error(cudaErrorInvalidValue);
    *pStream = new CUstream_st{++made, !(flags & cudaStreamNonBlocking), {}, nullptr, {}};
    streams.push_back(*pStream);
    cudasim_register(CUDASIM_STREAM, *pStream);
    return cudaSuccess;
}

cudaError_t cudaStreamCreate(cudaStream_t *pStream)
{
    return cudaStreamCreateWithFlags(pStream, cudaStreamDefault);
}

cudaError_t cudaStreamCreateWithPriority(cudaStream_t *pStream, unsigned int flags, int)
{
    return cudaStreamCreateWithFlags(pStream, flags);
}

cudaError_t cudaDeviceGetStreamPriorityRange(int *leastPriority, int *greatestPriority)
{
    CUDASIM_PRESENT;
    *leastPriority = *greatestPriority = 0;
    return cudaSuccess;
}

/* What it has been given is still done, whenever that is. */
cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    CUDASIM_HOLD;
    CUDASIM_PRESENT;
    cudasim_check_handle(CUDASIM_STREAM, stream, "cudaStreamDestroy");
    if (stream->capture) cudasim_capture_leave(stream);
    if (stream->blocking)
        for (const cudasim_ref &op : stream->tail)
            if (op->state != cudasim_op::DONE) legacy.tail.push_back(op);
    streams.erase(std::find(streams.begin(), streams.end(), stream));
    cudasim_forget(stream);
    delete stream;
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t handle)
{
    CUDASIM_HOLD;
    CUDASIM_PRESENT;
    cudaStream_t stream = cudasim_stream(handle, "cudaStreamSynchronize");
    cudaError_t error = cudasim_capture_forbids_on(stream);
    if (error != cudaSuccess) return cudasim_error(error);
    cudasim_finish(stream == &legacy ? cudasim_stream_deps(stream) : stream->tail);
    if (illegal()) return cudasim_error(cudaErrorIllegalAddress);
    return cudaSuccess;
}

/* The first that asks is told to wait; who asks again finds it done, so that a loop that asks has an end. */
cudaError_t cudaStreamQuery(cudaStream_t handle)
{
    CUDASIM_HOLD;
    CUDASIM_PRESENT;
    static const cudasim_op *asked = nullptr;
    cudaStream_t stream = cudasim_stream(handle, "cudaStreamQuery");
    cudaError_t error = cudasim_capture_forbids_on(stream);
    if (error != cudaSuccess) return cudasim_error(error);
    for (const cudasim_ref &op : stream->tail) {
        if (op->state == cudasim_op::DONE) continue;
        if (asked != op.get()) {
            asked = op.get();
            return cudaErrorNotReady;
        }
        cudasim_finish({op});
    }
    return cudaSuccess;
}

cudaError_t cudaDeviceSynchronize(void)
{
    CUDASIM_HOLD;
    CUDASIM_PRESENT;
    CUDASIM_NO_CAPTURE;
    cudasim_finish_all();
    return cudaSuccess;
}

/* ---- events ---- */

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned int flags)
{
    CUDASIM_HOLD;
    CUDASIM_PRESENT;
    if (flags & ~(unsigned)(cudaEventBlockingSync | cudaEventDisableTiming))
        return cudasim_error(cudaErrorInvalidValue);
    *event = new CUevent_st{nullptr, !(flags & cudaEventDisableTiming), false, nullptr, {}};
    cudasim_register(CUDASIM_EVENT, *event);
    return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t *event)
{
    return cudaEventCreateWithFlags(event, cudaEventDefault);
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    CUDASIM_HOLD;
    CUDASIM_PRESENT;
    cudasim_check_handle(CUDASIM_EVENT, event, "cudaEventDestroy");
    cudasim_forget(event);
    delete event;
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t handle)
{
    CUDASIM_HOLD;
    CUDASIM_PRESENT;
    cudasim_check_handle(CUDASIM_EVENT, event, "cudaEventRecord");
    cudaStream_t stream = cudasim_stream(handle, "cudaEventRecord");
    event->asked = false;
    if (stream->capture) {
        if (!stream->capture->valid) return cudasim_error(cudaErrorStreamCaptureInvalidated);
        event->op = nullptr;
        event->capture = stream->capture;
        event->nodes = stream->nodes;
        return cudaSuccess;
    }
    cudasim_task mark;
    mark.what = "an event's record";
    event->capture = nullptr;
    event->nodes.clear();
    return cudasim_issue(stream, std::move(mark), nullptr, &event->op);
}

cudaError_t cudaStreamWaitEvent(cudaStream_t handle, cudaEvent_t event, unsigned int flags)
{
    CUDASIM_HOLD;
    CUDASIM_PRESENT;
    cudasim_check_handle(CUDASIM_EVENT, event, "cudaStreamWaitEvent");
    cudaStream_t stream = cudasim_stream(handle, "cudaStreamWaitEvent");
    if (flags) return cudasim_error(cudaErrorInvalidValue);
    if (stream->capture || event->capture) return cudasim_error(cudasim_capture_wait(stream, event));
    if (event->op && event->op->state != cudasim_op::DONE) {
        cudasim_task mark;
        std::vector<cudasim_ref> deps = cudasim_stream_deps(stream);
        mark.what = "a wait for an event";
        deps.push_back(event->op);
        stream->tail.assign(1, cudasim_submit(std::make_shared<const cudasim_task>(std::move(mark)), deps));
    }
    return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    CUDASIM_HOLD;
    CUDASIM_PRESENT;
    cudasim_check_handle(CUDASIM_EVENT, event, "cudaEventSynchronize");
    if (event->capture) {
        event->capture->valid = false;
        return cudasim_error(cudaErrorCapturedEvent);
    }
    cudasim_finish({event->op});
    return cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t event)
{
    CUDASIM_HOLD;
    CUDASIM_PRESENT;
    cudasim_check_handle(CUDASIM_EVENT, event, "cudaEventQuery");
    if (event->capture) {
        event->capture->valid = false;
        return cudasim_error(cudaErrorCapturedEvent);
    }
    if (!event->op || event->op->state == cudasim_op::DONE) return cudaSuccess;
    if (!event->asked) {
        event->asked = true;
        return cudaErrorNotReady;
    }
    cudasim_finish({event->op});
    return cudaSuccess;
}

cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t start, cudaEvent_t end)
{
    CUDASIM_HOLD;
    CUDASIM_PRESENT;
    cudasim_check_handle(CUDASIM_EVENT, start, "cudaEventElapsedTime");
    cudasim_check_handle(CUDASIM_EVENT, end, "cudaEventElapsedTime");
    if (!start->op || !end->op || !start->timing || !end->timing) return cudasim_error(cudaErrorInvalidResourceHandle);
    if (start->op->state != cudasim_op::DONE || end->op->state != cudasim_op::DONE) return cudaErrorNotReady;
    *ms = (float)((end->op->seconds - start->op->seconds) * 1e3);
    return cudaSuccess;
}
