/* graph: capture is recording. While a stream is captured nothing that it is given is done; it becomes a node with what
 * it would have waited for, and a launch of the graph queues all nodes with these dependencies. */
#include <algorithm>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

namespace
{

std::vector<std::shared_ptr<cudasim_capture>> &captures = *new std::vector<std::shared_ptr<cudasim_capture>>;

/* Whether CUDASIM_CAPTURE has captures fail in this way. */
bool fails(const char *how)
{
    const char *asked = getenv("CUDASIM_CAPTURE");
    if (!asked || !*asked) return false;
    if (strcmp(asked, "forbid") && strcmp(asked, "memory"))
        cudasim_fault("CUDASIM_CAPTURE is \"%s\": forbid or memory", asked);
    return !strcmp(asked, how);
}

void join(std::vector<size_t> *into, const std::vector<size_t> &more)
{
    for (size_t node : more)
        if (std::find(into->begin(), into->end(), node) == into->end()) into->push_back(node);
}

void end(const std::shared_ptr<cudasim_capture> &capture)
{
    for (cudaStream_t stream : capture->members) {
        stream->capture = nullptr;
        stream->nodes.clear();
    }
    capture->members.clear();
    capture->active = false;
    captures.erase(std::find(captures.begin(), captures.end(), capture));
}

/* Whether all that the streams of a capture did comes before what its origin did last. */
bool joined(const cudasim_capture &capture)
{
    const std::vector<cudasim_node> &nodes = capture.graph->nodes;
    std::vector<bool> before(nodes.size(), false);
    for (size_t node : capture.origin->nodes) before[node] = true;
    for (size_t i = nodes.size(); i-- > 0;)
        if (before[i])
            for (size_t dep : nodes[i].deps) before[dep] = true;
    for (cudaStream_t stream : capture.members)
        for (size_t node : stream->nodes)
            if (!before[node]) return false;
    return true;
}

bool has_task_of(const std::vector<cudasim_node> &nodes, const void *owner)
{
    return std::any_of(nodes.begin(), nodes.end(),
                       [owner](const cudasim_node &node) { return node.task->owner == owner; });
}

/* Whether CUDA looks at a function's attribute again when its graph is made or launched is not written down: here both. */
void check_shared(const std::vector<cudasim_node> &nodes)
{
    for (const cudasim_node &node : nodes)
        if (node.task->kind == CUDASIM_KERNEL)
            cudasim_check_shared(node.task->code, 0, node.task->shared, node.task->what.c_str());
}

} // namespace

bool cudasim_is_recorded(const void *owner)
{
    for (const void *graph : cudasim_handles_of(CUDASIM_GRAPH))
        if (has_task_of(static_cast<const CUgraph_st *>(graph)->nodes, owner)) return true;
    for (const void *exec : cudasim_handles_of(CUDASIM_EXEC))
        if (has_task_of(static_cast<const CUgraphExec_st *>(exec)->nodes, owner)) return true;
    return false;
}

cudaError_t cudasim_capture_forbids()
{
    cudaError_t error = cudaSuccess;
    for (auto &capture : captures) {
        bool counts =
            capture->mode == cudaStreamCaptureModeGlobal ||
            (capture->mode == cudaStreamCaptureModeThreadLocal && capture->thread == std::this_thread::get_id());
        if (!counts) continue;
        capture->valid = false;
        error = cudaErrorStreamCaptureUnsupported;
    }
    return error;
}

cudaError_t cudasim_capture_forbids_on(cudaStream_t stream)
{
    if (!stream->capture) return cudaSuccess;
    bool was_valid = stream->capture->valid;
    stream->capture->valid = false;
    return was_valid ? cudaErrorStreamCaptureUnsupported : cudaErrorStreamCaptureInvalidated;
}

cudaError_t cudasim_record(cudaStream_t stream, std::shared_ptr<const cudasim_task> task)
{
    cudasim_capture &capture = *stream->capture;
    if (!capture.valid) return cudaErrorStreamCaptureInvalidated;
    if (capture.graph->nodes.size() == 2 && fails("forbid")) {
        capture.valid = false;
        return cudaErrorStreamCaptureUnsupported;
    }
    capture.graph->nodes.push_back({std::move(task), stream->nodes});
    stream->nodes.assign(1, capture.graph->nodes.size() - 1);
    return cudaSuccess;
}

cudaError_t cudasim_capture_wait(cudaStream_t stream, cudaEvent_t event)
{
    if (!event->capture) { /* so the stream is captured, and what the event stands for is not */
        if (!stream->capture->valid) return cudaErrorStreamCaptureInvalidated;
        if (!event->op) return cudaSuccess;
        stream->capture->valid = false;
        return cudaErrorStreamCaptureIsolation;
    }
    if (!event->capture->active) {
        if (stream->capture) stream->capture->valid = false;
        return cudaErrorCapturedEvent;
    }
    if (!event->capture->valid) return cudaErrorStreamCaptureInvalidated;
    if (stream->capture && stream->capture != event->capture) {
        stream->capture->valid = event->capture->valid = false;
        return cudaErrorStreamCaptureMerge;
    }
    if (stream == cudasim_stream(nullptr, "cudaStreamWaitEvent")) {
        event->capture->valid = false;
        return cudaErrorStreamCaptureImplicit;
    }
    if (!stream->capture) {
        stream->capture = event->capture;
        stream->capture->members.push_back(stream);
    }
    join(&stream->nodes, event->nodes);
    return cudaSuccess;
}

void cudasim_capture_leave(cudaStream_t stream)
{
    std::shared_ptr<cudasim_capture> capture = stream->capture;
    if (capture->origin == stream) {
        CUgraph_st *graph = capture->graph;
        end(capture);
        delete graph;
        return;
    }
    capture->valid = false;
    capture->members.erase(std::find(capture->members.begin(), capture->members.end(), stream));
}

cudaError_t cudaStreamBeginCapture(cudaStream_t handle, enum cudaStreamCaptureMode mode)
{
    CUDASIM_HOLD;
    CUDASIM_PRESENT;
    cudaStream_t stream = cudasim_stream(handle, "cudaStreamBeginCapture");
    if (stream == cudasim_stream(nullptr, "cudaStreamBeginCapture"))
        return cudasim_error(cudaErrorStreamCaptureUnsupported);
    if (stream->capture || (unsigned)mode > cudaStreamCaptureModeRelaxed) return cudasim_error(cudaErrorInvalidValue);
    stream->capture = std::make_shared<cudasim_capture>();
    *stream->capture = {new CUgraph_st, stream, {stream}, mode, std::this_thread::get_id(), true, true};
    captures.push_back(stream->capture);
    return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t handle, cudaGraph_t *pGraph)
{
    CUDASIM_HOLD;
    CUDASIM_PRESENT;
    *pGraph = nullptr;
    cudaStream_t stream = cudasim_stream(handle, "cudaStreamEndCapture");
    std::shared_ptr<cudasim_capture> capture = stream->capture;
    if (!capture) return cudasim_error(cudaErrorInvalidValue);
    if (capture->origin != stream) {
        capture->valid = false;
        return cudasim_error(cudaErrorStreamCaptureUnmatched);
    }
    if (capture->mode != cudaStreamCaptureModeRelaxed && capture->thread != std::this_thread::get_id())
        return cudasim_error(cudaErrorStreamCaptureWrongThread);
    cudaError_t error = !capture->valid    ? cudaErrorStreamCaptureInvalidated
                        : joined(*capture) ? cudaSuccess
                                           : cudaErrorStreamCaptureUnjoined;
    end(capture);
    if (error != cudaSuccess) {
        delete capture->graph;
        return cudasim_error(error);
    }
    *pGraph = capture->graph;
    cudasim_register(CUDASIM_GRAPH, *pGraph);
    return cudaSuccess;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t handle, enum cudaStreamCaptureStatus *pCaptureStatus)
{
    CUDASIM_HOLD;
    CUDASIM_PRESENT;
    cudaStream_t stream = cudasim_stream(handle, "cudaStreamIsCapturing");
    *pCaptureStatus = !stream->capture         ? cudaStreamCaptureStatusNone
                      : stream->capture->valid ? cudaStreamCaptureStatusActive
                                               : cudaStreamCaptureStatusInvalidated;
    return cudaSuccess;
}

cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t *nodes, size_t *numNodes)
{
    CUDASIM_HOLD;
    CUDASIM_PRESENT;
    cudasim_check_handle(CUDASIM_GRAPH, graph, "cudaGraphGetNodes");
    if (nodes)
        for (size_t i = 0; i < *numNodes; i++)
            nodes[i] = i < graph->nodes.size() ? reinterpret_cast<cudaGraphNode_t>(&graph->nodes[i]) : nullptr;
    if (!nodes || *numNodes > graph->nodes.size()) *numNodes = graph->nodes.size();
    return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *pGraphExec, cudaGraph_t graph, unsigned long long flags)
{
    CUDASIM_HOLD;
    CUDASIM_PRESENT;
    cudasim_check_handle(CUDASIM_GRAPH, graph, "cudaGraphInstantiate");
    if (flags) return cudasim_error(cudaErrorInvalidValue);
    check_shared(graph->nodes);
    if (fails("memory")) return cudasim_error(cudaErrorMemoryAllocation);
    *pGraphExec = new CUgraphExec_st{graph->nodes, nullptr};
    cudasim_register(CUDASIM_EXEC, *pGraphExec);
    return cudaSuccess;
}

cudaError_t cudaGraphUpload(cudaGraphExec_t graphExec, cudaStream_t stream)
{
    CUDASIM_HOLD;
    CUDASIM_PRESENT;
    cudasim_check_handle(CUDASIM_EXEC, graphExec, "cudaGraphUpload");
    cudasim_stream(stream, "cudaGraphUpload");
    return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t graphExec, cudaStream_t handle)
{
    CUDASIM_HOLD;
    CUDASIM_PRESENT;
    cudasim_check_handle(CUDASIM_EXEC, graphExec, "cudaGraphLaunch");
    cudaStream_t stream = cudasim_stream(handle, "cudaGraphLaunch");
    cudaError_t error = cudasim_capture_forbids_on(stream);
    if (error != cudaSuccess) return cudasim_error(error);
    check_shared(graphExec->nodes);
    std::vector<cudasim_ref> first = cudasim_stream_deps(stream), ops, all;
    first.push_back(graphExec->last);
    for (const cudasim_node &node : graphExec->nodes) {
        std::vector<cudasim_ref> deps;
        for (size_t dep : node.deps) deps.push_back(ops[dep]);
        ops.push_back(cudasim_submit(node.task, node.deps.empty() ? first : deps));
    }
    all = first;
    all.insert(all.end(), ops.begin(), ops.end());
    cudasim_task mark;
    mark.what = "a graph's end";
    graphExec->last = cudasim_submit(std::make_shared<const cudasim_task>(std::move(mark)), all);
    stream->tail.assign(1, graphExec->last);
    return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graphExec)
{
    CUDASIM_HOLD;
    CUDASIM_PRESENT;
    cudasim_check_handle(CUDASIM_EXEC, graphExec, "cudaGraphExecDestroy");
    cudasim_forget(graphExec);
    delete graphExec;
    return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    CUDASIM_HOLD;
    CUDASIM_PRESENT;
    cudasim_check_handle(CUDASIM_GRAPH, graph, "cudaGraphDestroy");
    cudasim_forget(graph);
    delete graph;
    return cudaSuccess;
}
