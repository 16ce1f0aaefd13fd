/* copy: copies and fills, which take time. While one is in flight its destination holds junk and is poisoned, and its
 * source must stay as it is: so whoever touches either too early is found, at once or at the copy's end. */
#include <algorithm>
#include <stdio.h>
#include <string.h>

#include "internal.h"

namespace
{

std::vector<cudasim_op *> &flying = *new std::vector<cudasim_op *>;
unsigned long long pageable;

bool meet(const char *a, const char *b, size_t a_bytes, size_t b_bytes)
{
    return a && b && a < b + b_bytes && b < a + a_bytes;
}

/* What an operation in flight uses. */
std::vector<cudasim_range> used_by(const cudasim_op *op)
{
    const cudasim_task &task = *op->task;
    std::vector<cudasim_range> ranges(task.ranges);
    if (task.kind == CUDASIM_MEETING) return ranges;
    ranges.push_back({task.to, task.bytes, true});
    if (task.from && !op->staged) ranges.push_back({const_cast<char *>(task.from), task.bytes, false});
    return ranges;
}

void check_alone(const cudasim_op *mine)
{
    std::vector<cudasim_range> here = used_by(mine);
    for (cudasim_op *op : flying)
        for (const cudasim_range &there : used_by(op))
            for (const cudasim_range &range : here)
                if ((range.written || there.written) && meet(range.at, there.at, range.bytes, there.bytes))
                    cudasim_fault("two operations use the same memory at once, and nothing orders them: %s; and %s",
                                  cudasim_name(*op->task).c_str(), cudasim_name(*mine->task).c_str());
}

const char *const direction_name[] = {"host to host", "host to device", "device to host", "device to device"};

/* What a copy's kind says of one of its ends. */
void check_end(const char *call, const char *end, const void *at, size_t bytes, bool device)
{
    cudasim_place place = cudasim_where(at, bytes);
    if (device && place != CUDASIM_DEVICE)
        cudasim_fault("%s: its %s, %zu bytes at %p, does not lie in one allocation of device memory", call, end, bytes,
                      at);
    if (!device && (place == CUDASIM_DEVICE || place == CUDASIM_STRAY))
        cudasim_fault("%s: its %s, %zu bytes at %p, is not host memory", call, end, bytes, at);
}

std::string name_of(const char *how, size_t bytes, const void *from, const void *to, cudaStream_t stream)
{
    char text[200], source[48] = "";
    if (from) snprintf(source, sizeof source, "from %p ", from);
    snprintf(text, sizeof text, "%s of %zu bytes %sto %p on stream %d", how, bytes, source, to, stream->number);
    return text;
}

cudaError_t copy(const char *call, void *dst, const void *src, size_t count, enum cudaMemcpyKind kind,
                 cudaStream_t stream, bool async)
{
    if ((unsigned)kind > cudaMemcpyDefault) return cudasim_error(cudaErrorInvalidMemcpyDirection);
    if (!count) return cudaSuccess;
    if (kind == cudaMemcpyDefault)
        kind = (enum cudaMemcpyKind)((cudasim_where(dst, count) == CUDASIM_DEVICE) +
                                     2 * (cudasim_where(src, count) == CUDASIM_DEVICE));
    bool to_device = kind & 1, from_device = kind & 2;
    check_end(call, "destination", dst, count, to_device);
    check_end(call, "source", src, count, from_device);
    bool to_pageable = !to_device && cudasim_where(dst, count) == CUDASIM_PAGEABLE;
    bool from_pageable = !from_device && cudasim_where(src, count) == CUDASIM_PAGEABLE;
    if (async && (to_pageable || from_pageable)) {
        cudaError_t error = cudasim_capture_forbids_on(stream);
        if (error != cudaSuccess) return cudasim_error(error);
        pageable++;
    }
    cudasim_task task;
    task.kind = CUDASIM_COPY;
    task.what = name_of(direction_name[kind], count, src, dst, stream);
    task.what = "a copy " + task.what;
    task.to = static_cast<char *>(dst);
    task.from = static_cast<const char *>(src);
    task.bytes = count;
    task.to_pageable = to_pageable;
    /* CUDA takes pageable memory through a buffer of its own: the call returns when that has it, the rest follows. */
    std::vector<char> staged;
    if (from_pageable) {
        if (!async) cudasim_finish(cudasim_stream_deps(stream));
        staged.assign(task.from, task.from + count);
    }
    cudasim_ref op;
    cudaError_t error = cudasim_issue(stream, task, from_pageable ? &staged : nullptr, &op);
    bool waits =
        to_pageable || kind == cudaMemcpyHostToHost || (!async && !from_pageable && kind != cudaMemcpyDeviceToDevice);
    if (error == cudaSuccess && op && waits) cudasim_finish({op});
    return error;
}

cudaError_t fill(const char *call, void *dst, int value, size_t count, cudaStream_t stream)
{
    if (!count) return cudaSuccess;
    check_end(call, "destination", dst, count, true);
    cudasim_task task;
    task.kind = CUDASIM_COPY;
    task.what = name_of("a fill", count, nullptr, dst, stream);
    task.to = static_cast<char *>(dst);
    task.value = value;
    task.bytes = count;
    return cudasim_issue(stream, task);
}

/* ---- in flight ---- */

void fill_with_junk(char *at, size_t bytes)
{
    memset(at, CUDASIM_JUNK, bytes);
    cudasim_poison(at, bytes);
}

/* Takes the junk back. */
void check_junk(const cudasim_task &task, char *at, size_t bytes)
{
    cudasim_unpoison(at, bytes);
    if (bytes && ((unsigned char)at[0] != CUDASIM_JUNK || memcmp(at, at + 1, bytes - 1)))
        cudasim_fault("the destination of a copy was written while it was in flight: %s", cudasim_name(task).c_str());
}

void check_source(const cudasim_task &task, const char *at, const char *was, size_t bytes)
{
    if (memcmp(at, was, bytes))
        cudasim_fault("the source of a copy changed while it was in flight: %s", cudasim_name(task).c_str());
}

void meeting_begin(cudasim_op *op)
{
    cudasim_access all;
    for (const cudasim_range &range : op->task->ranges)
        op->data.insert(op->data.end(), range.at, range.at + range.bytes);
    for (const cudasim_range &range : op->task->ranges)
        if (range.written) fill_with_junk(range.at, range.bytes);
}

/* A source that lies in a destination is junk as that is. */
bool is_in_place(const cudasim_task &task, const cudasim_range &source)
{
    return std::any_of(task.ranges.begin(), task.ranges.end(), [&](const cudasim_range &other) {
        return other.written && meet(source.at, other.at, source.bytes, other.bytes);
    });
}

void meeting_end(cudasim_op *op)
{
    const cudasim_task &task = *op->task;
    cudasim_access all;
    for (const cudasim_range &range : task.ranges)
        if (range.written) check_junk(task, range.at, range.bytes);
    const char *held = op->data.data();
    for (const cudasim_range &range : task.ranges) {
        if (!range.written && !is_in_place(task, range)) check_source(task, range.at, held, range.bytes);
        held += range.bytes;
    }
    task.meet(op->data.data());
}

} // namespace

void cudasim_copy_begin(cudasim_op *op)
{
    const cudasim_task &task = *op->task;
    cudasim_access to(task.to, task.bytes), from(task.from, task.from ? task.bytes : 0);
    if (meet(task.from, task.to, task.bytes, task.bytes))
        cudasim_fault("%s: its source and its destination overlap", cudasim_name(task).c_str());
    check_alone(op);
    if (task.kind == CUDASIM_MEETING) meeting_begin(op);
    if (task.from && !op->staged) op->data.assign(task.from, task.from + task.bytes);
    if (task.kind == CUDASIM_COPY && !task.to_pageable) fill_with_junk(task.to, task.bytes);
    flying.push_back(op);
}

void cudasim_copy_end(cudasim_op *op)
{
    const cudasim_task &task = *op->task;
    cudasim_access to(task.to, task.bytes), from(task.from, task.from ? task.bytes : 0);
    flying.erase(std::find(flying.begin(), flying.end(), op));
    if (task.kind == CUDASIM_MEETING) {
        meeting_end(op);
        return;
    }
    if (task.from && !op->staged) check_source(task, task.from, op->data.data(), task.bytes);
    if (!task.to_pageable) check_junk(task, task.to, task.bytes);
    if (task.from)
        memcpy(task.to, op->data.data(), task.bytes);
    else
        memset(task.to, task.value, task.bytes);
}

unsigned long long cudasim_pageable(void)
{
    CUDASIM_HOLD;
    return pageable;
}

cudaError_t cudaMemcpy(void *dst, const void *src, size_t count, enum cudaMemcpyKind kind)
{
    CUDASIM_HOLD;
    CUDASIM_PRESENT;
    CUDASIM_NO_CAPTURE;
    return copy("cudaMemcpy", dst, src, count, kind, cudasim_stream(nullptr, "cudaMemcpy"), false);
}

cudaError_t cudaMemcpyAsync(void *dst, const void *src, size_t count, enum cudaMemcpyKind kind, cudaStream_t stream)
{
    CUDASIM_HOLD;
    CUDASIM_PRESENT;
    return copy("cudaMemcpyAsync", dst, src, count, kind, cudasim_stream(stream, "cudaMemcpyAsync"), true);
}

cudaError_t cudaMemset(void *devPtr, int value, size_t count)
{
    CUDASIM_HOLD;
    CUDASIM_PRESENT;
    CUDASIM_NO_CAPTURE;
    return fill("cudaMemset", devPtr, value, count, cudasim_stream(nullptr, "cudaMemset"));
}

cudaError_t cudaMemsetAsync(void *devPtr, int value, size_t count, cudaStream_t stream)
{
    CUDASIM_HOLD;
    CUDASIM_PRESENT;
    return fill("cudaMemsetAsync", devPtr, value, count, cudasim_stream(stream, "cudaMemsetAsync"));
}
