/* nccl: the calls of NCCL that dram makes, between processes. What a group of calls does is one operation in its
 * stream's queue, recorded in graphs too; when the queue does it, the processes meet in shared memory (nccl_room.h). By
 * environment: NCCL_COMM_ID, NCCL_MAX_P2P_NCHANNELS as the real one, CUDASIM_NCCL_MEMORY, CUDASIM_NCCL_FAULT. */
#include <algorithm>
#include <set>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "internal.h"
#include "nccl.h"
#include "nccl_calls.h"

namespace
{

constexpr size_t CONNECTION = 12 << 20; /* a channel's buffers: 10 MiB to receive, 2 to send */
constexpr int CHANNELS = 16;            /* unless maxCTAs says fewer */

std::set<ncclComm_t> &comms = *new std::set<ncclComm_t>;
std::string &last_error = *new std::string; /* of calls that made no communicator */

struct group {
    int depth = 0;
    ncclComm_t comm = nullptr;
    cudaStream_t stream = nullptr;
    std::vector<cudasim_nccl_call> calls;
};
thread_local group open_group;

void check_comm(ncclComm_t comm, const char *call)
{
    if (!comms.count(comm))
        cudasim_fault("%s: %p is no communicator, or was destroyed", call, static_cast<void *>(comm));
}

/* ---- checks of a group ---- */

void check_place(const cudasim_nccl_call &call, const void *at, size_t bytes, const char *end)
{
    if (at && bytes && cudasim_where(at, bytes) != CUDASIM_DEVICE)
        cudasim_fault("NCCL: %s: its %s, %zu bytes at %p, does not lie in one allocation of device memory",
                      call.text().c_str(), end, bytes, at);
}

bool meet(const char *a, size_t a_bytes, const char *b, size_t b_bytes)
{
    return a && b && a < b + b_bytes && b < a + a_bytes;
}

/* What NCCL calls in place: the piece that is this rank's. */
bool is_in_place(const cudasim_nccl_call &call, int rank)
{
    size_t in = call.in_bytes(), out = call.out_bytes();
    if (in == out) return call.in == call.out;
    return in < out ? call.in == call.out + (size_t)rank * in : call.out == call.in + (size_t)rank * out;
}

void check_alone(const std::vector<cudasim_nccl_call> &calls, int rank)
{
    for (size_t i = 0; i < calls.size(); i++) {
        const cudasim_nccl_call &a = calls[i];
        if (meet(a.in, a.in_bytes(), a.out, a.out_bytes()) && !is_in_place(a, rank))
            cudasim_fault("NCCL: %s: its source and its destination overlap, and it is not in place", a.text().c_str());
        for (size_t k = i + 1; k < calls.size(); k++) {
            const cudasim_nccl_call &b = calls[k];
            if (meet(a.out, a.out_bytes(), b.out, b.out_bytes()) || meet(a.out, a.out_bytes(), b.in, b.in_bytes()) ||
                meet(a.in, a.in_bytes(), b.out, b.out_bytes()))
                cudasim_fault("NCCL: two operations of one group use the same memory: %s; and %s", a.text().c_str(),
                              b.text().c_str());
        }
    }
}

/* ---- a group ---- */

/* The buffers of what is used for the first time. */
bool connect(ncclComm_t comm, const std::vector<cudasim_nccl_call> &calls)
{
    bool ring = false, pairs = false;
    for (const cudasim_nccl_call &call : calls) (call.is_pair() ? pairs : ring) = true;
    size_t bytes = 0;
    if (ring && !comm->ring) bytes += CONNECTION * (size_t)comm->channels;
    if (pairs && !comm->pairs)
        bytes += CONNECTION * cudasim_setting("NCCL_MAX_P2P_NCHANNELS", 2) * (size_t)(comm->ranks - 1);
    if (!cudasim_setting("CUDASIM_NCCL_MEMORY", 0)) bytes = 0;
    if (!cudasim_take(bytes)) return false;
    comm->ring |= ring;
    comm->pairs |= pairs;
    comm->taken += bytes;
    return true;
}

ncclResult_t issue(ncclComm_t comm, cudaStream_t handle, std::vector<cudasim_nccl_call> calls)
{
    CUDASIM_HOLD;
    cudaStream_t stream = cudasim_stream(handle, "NCCL");
    check_alone(calls, comm->rank);
    if (!connect(comm, calls)) {
        comm->say("Cuda failure 2 'out of memory'");
        return ncclUnhandledCudaError;
    }
    cudasim_task task;
    task.kind = CUDASIM_MEETING;
    task.what = "NCCL: " + calls[0].text() +
                (calls.size() > 1 ? " and " + std::to_string(calls.size() - 1) + " more" : std::string()) +
                " on stream " + std::to_string(stream->number);
    task.owner = comm;
    size_t held = 0;
    for (cudasim_nccl_call &call : calls) {
        call.held = held;
        if (call.in) task.ranges.push_back({const_cast<char *>(call.in), call.in_bytes(), false});
        if (call.out) task.ranges.push_back({call.out, call.out_bytes(), true});
        held += (call.in ? call.in_bytes() : 0) + (call.out ? call.out_bytes() : 0);
    }
    bool recorded = stream->capture != nullptr;
    uint64_t number = ++comm->issued;
    task.meet = [comm, calls = std::move(calls), number, recorded](const char *data) {
        cudasim_nccl_run(comm, calls, number, recorded, data);
    };
    if (cudasim_issue(stream, std::move(task)) == cudaSuccess) return ncclSuccess;
    comm->say("the stream's capture is invalid");
    return ncclUnhandledCudaError;
}

ncclResult_t add(ncclComm_t comm, cudaStream_t stream, cudasim_nccl_call call)
{
    CUDASIM_HOLD;
    check_comm(comm, call.op);
    if (!call.count) return ncclSuccess;
    if (call.red != ncclSum || cudasim_nccl_bytes(call.type) == 0 || call.peer < -1 || call.peer >= comm->ranks) {
        comm->say(call.text() + ": the simulated NCCL sums, of types that it knows, between ranks that there are");
        return ncclInvalidArgument;
    }
    call.ranks = comm->ranks;
    check_place(call, call.in, call.in_bytes(), "source");
    check_place(call, call.out, call.out_bytes(), "destination");
    if (!open_group.depth) return issue(comm, stream, {call});
    if (open_group.comm && (open_group.comm != comm || open_group.stream != stream))
        cudasim_fault("NCCL: %s: one group is of one communicator and one stream", call.text().c_str());
    open_group.comm = comm;
    open_group.stream = stream;
    open_group.calls.push_back(call);
    return ncclSuccess;
}

const char *bytes_of(const void *at)
{
    return static_cast<const char *>(at);
}
char *bytes_of(void *at)
{
    return static_cast<char *>(at);
}

} // namespace

ncclResult_t ncclGroupStart(void)
{
    open_group.depth++;
    return ncclSuccess;
}

ncclResult_t ncclGroupEnd(void)
{
    if (!open_group.depth) return ncclInvalidUsage;
    if (--open_group.depth || open_group.calls.empty()) return ncclSuccess;
    group done = std::move(open_group);
    open_group = group();
    return issue(done.comm, done.stream, std::move(done.calls));
}

ncclResult_t ncclAllReduce(const void *sendbuff, void *recvbuff, size_t count, ncclDataType_t datatype, ncclRedOp_t op,
                           ncclComm_t comm, cudaStream_t stream)
{
    return add(comm, stream, {"all_reduce", bytes_of(sendbuff), bytes_of(recvbuff), count, datatype, op});
}

ncclResult_t ncclReduceScatter(const void *sendbuff, void *recvbuff, size_t recvcount, ncclDataType_t datatype,
                               ncclRedOp_t op, ncclComm_t comm, cudaStream_t stream)
{
    return add(comm, stream, {"reduce_scatter", bytes_of(sendbuff), bytes_of(recvbuff), recvcount, datatype, op});
}

ncclResult_t ncclAllGather(const void *sendbuff, void *recvbuff, size_t sendcount, ncclDataType_t datatype,
                           ncclComm_t comm, cudaStream_t stream)
{
    return add(comm, stream, {"all_gather", bytes_of(sendbuff), bytes_of(recvbuff), sendcount, datatype});
}

/* Only the root's source is read, and only a reduce's root is written. */
ncclResult_t ncclBroadcast(const void *sendbuff, void *recvbuff, size_t count, ncclDataType_t datatype, int root,
                           ncclComm_t comm, cudaStream_t stream)
{
    CUDASIM_HOLD;
    check_comm(comm, "broadcast");
    bool is_root = root == comm->rank;
    return add(
        comm, stream,
        {"broadcast", is_root ? bytes_of(sendbuff) : nullptr, bytes_of(recvbuff), count, datatype, ncclSum, root});
}

ncclResult_t ncclReduce(const void *sendbuff, void *recvbuff, size_t count, ncclDataType_t datatype, ncclRedOp_t op,
                        int root, ncclComm_t comm, cudaStream_t stream)
{
    CUDASIM_HOLD;
    check_comm(comm, "reduce");
    bool is_root = root == comm->rank;
    return add(comm, stream,
               {"reduce", bytes_of(sendbuff), is_root ? bytes_of(recvbuff) : nullptr, count, datatype, op, root});
}

ncclResult_t ncclSend(const void *sendbuff, size_t count, ncclDataType_t datatype, int peer, ncclComm_t comm,
                      cudaStream_t stream)
{
    return add(comm, stream, {"send", bytes_of(sendbuff), nullptr, count, datatype, ncclSum, peer});
}

ncclResult_t ncclRecv(void *recvbuff, size_t count, ncclDataType_t datatype, int peer, ncclComm_t comm,
                      cudaStream_t stream)
{
    return add(comm, stream, {"receive", nullptr, bytes_of(recvbuff), count, datatype, ncclSum, peer});
}

/* ---- communicators ---- */

ncclResult_t ncclGetVersion(int *version)
{
    *version = NCCL_VERSION_CODE;
    return ncclSuccess;
}

const char *ncclGetErrorString(ncclResult_t result)
{
    static const char *const text[ncclNumResults] = {"no error",
                                                     "unhandled cuda error (run with NCCL_DEBUG=INFO for details)",
                                                     "unhandled system error (run with NCCL_DEBUG=INFO for details)",
                                                     "internal error - please report this issue to the NCCL developers",
                                                     "invalid argument (run with NCCL_DEBUG=WARN for details)",
                                                     "invalid usage (run with NCCL_DEBUG=WARN for details)",
                                                     "remote process exited or there was a network error",
                                                     "NCCL operation in progress"};
    return (unsigned)result < ncclNumResults ? text[result] : "unknown result code";
}

const char *ncclGetLastError(ncclComm_t comm)
{
    static thread_local std::string text;
    text = comm ? comm->said() : last_error;
    return text.c_str();
}

/* With NCCL_COMM_ID all ranks have the same id without telling one another. */
ncclResult_t ncclGetUniqueId(ncclUniqueId *uniqueId)
{
    static int made;
    const char *address = getenv("NCCL_COMM_ID");
    memset(uniqueId, 0, sizeof *uniqueId);
    if (address && *address)
        snprintf(uniqueId->internal, sizeof uniqueId->internal, "%s", address);
    else
        snprintf(uniqueId->internal, sizeof uniqueId->internal, "process-%d-%d", (int)getpid(), ++made);
    return ncclSuccess;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t *comm, int nranks, ncclUniqueId commId, int rank, ncclConfig_t *config)
{
    const ncclConfig_t unset = NCCL_CONFIG_INITIALIZER;
    char bus[64];
    int device;
    *comm = nullptr;
    if (!config) config = const_cast<ncclConfig_t *>(&unset);
    if (nranks < 1 || rank < 0 || rank >= nranks || config->size != unset.size || config->magic != unset.magic)
        return ncclInvalidArgument;
    if (cudaGetDevice(&device) != cudaSuccess || cudaDeviceGetPCIBusId(bus, sizeof bus, device) != cudaSuccess)
        return ncclUnhandledCudaError;
    commId.internal[sizeof commId.internal - 1] = '\0';
    std::string name(commId.internal), why;
    for (char &letter : name)
        if (letter == '/') letter = '_';
    cudasim_room *room = nullptr;
    cudasim_opened opened = cudasim_room_open(name, nranks, rank, bus, &room, &why);
    last_error = why;
    if (opened != CUDASIM_OPENED)
        return opened == CUDASIM_SAME_DEVICE ? ncclInvalidUsage
               : opened == CUDASIM_PEER_GONE ? ncclRemoteError
               : opened == CUDASIM_IN_USE    ? ncclSystemError
                                             : ncclInvalidArgument;
    CUDASIM_HOLD;
    *comm = new ncclComm;
    (*comm)->room = room;
    (*comm)->rank = rank;
    (*comm)->ranks = nranks;
    (*comm)->channels = config->maxCTAs == NCCL_CONFIG_UNDEF_INT ? CHANNELS : std::min(config->maxCTAs, CHANNELS);
    comms.insert(*comm);
    return ncclSuccess;
}

/* Takes no lock that a call holds: another thread asks while the first one waits. */
ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t *asyncError)
{
    *asyncError = (ncclResult_t)comm->failed.load();
    if (*asyncError != ncclSuccess) return ncclSuccess;
    int gone = cudasim_room_gone(comm->room);
    if (gone < 0 || !comm->waits) return ncclSuccess;
    comm->say("rank " + std::to_string(gone) + " has closed its connection");
    comm->failed = *asyncError = ncclRemoteError;
    return ncclSuccess;
}

ncclResult_t ncclCommAbort(ncclComm_t comm)
{
    cudasim_room_abort(comm->room);
    CUDASIM_HOLD;
    check_comm(comm, "ncclCommAbort");
    cudasim_finish_all();
    cudasim_give(comm->taken);
    comms.erase(comm);
    cudasim_room_close(comm->room);
    delete comm;
    return ncclSuccess;
}

ncclResult_t ncclCommDestroy(ncclComm_t comm)
{
    CUDASIM_HOLD;
    check_comm(comm, "ncclCommDestroy");
    if (cudasim_is_queued(comm)) cudasim_fault("ncclCommDestroy: work of the communicator is pending");
    if (cudasim_is_recorded(comm))
        cudasim_fault("ncclCommDestroy: a graph that has operations of the communicator is alive");
    cudasim_nccl_goodbye(comm);
    cudasim_give(comm->taken);
    comms.erase(comm);
    cudasim_room_close(comm->room);
    delete comm;
    return ncclSuccess;
}
