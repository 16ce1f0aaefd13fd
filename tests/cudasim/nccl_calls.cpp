/* nccl_calls: what a group of NCCL's calls does when its turn has come: it meets the other ranks' and exchanges bytes.
 * CUDASIM_NCCL_FAULT plants a fault into the K-th operation of rank R; sends and receives of a group are one. */
#include <algorithm>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "internal.h"
#include "library.h"
#include "nccl_calls.h"

namespace
{

constexpr int LATE_SECONDS = 3;

const struct {
    const char *name;
    size_t bytes;
} types[] = {{"int8", 1},   {"uint8", 1},   {"int32", 4},   {"uint32", 4},  {"int64", 8},
             {"uint64", 8}, {"float16", 2}, {"float32", 4}, {"float64", 8}, {"bfloat16", 2}};
constexpr size_t TYPES = sizeof types / sizeof types[0];

/* ---- planted faults ---- */

struct fault {
    char kind[16];
    int rank;
    long number; /* the operation, from 1; `slow`: milliseconds of each */
};

bool planted(fault *f)
{
    const char *text = getenv("CUDASIM_NCCL_FAULT");
    char end;
    if (!text || !*text) return false;
    if (sscanf(text, "%15[a-z]:%d:%ld%c", f->kind, &f->rank, &f->number, &end) == 3 && f->number > 0)
        for (const char *kind : {"die", "hang", "slow", "flip", "error", "late"})
            if (!strcmp(kind, f->kind)) return true;
    cudasim_fault("CUDASIM_NCCL_FAULT is \"%s\": die:R:K, hang:R:K, slow:R:MS, flip:R:K, error:R:K or late:R:K", text);
}

bool is_planted(const ncclComm *comm, const char *kind, fault *f)
{
    bool each = !strcmp(kind, "slow");
    return planted(f) && !strcmp(kind, f->kind) && f->rank == comm->rank && (each || (uint64_t)f->number == comm->done);
}

void pause_for(long milliseconds)
{
    struct timespec span = {milliseconds / 1000, milliseconds % 1000 * 1000000};
    nanosleep(&span, nullptr);
}

/* What happens to a rank before it meets the others. False: it does not meet them. */
bool suffer(ncclComm *comm)
{
    fault f;
    if (is_planted(comm, "slow", &f)) pause_for(f.number);
    if (is_planted(comm, "late", &f)) pause_for(LATE_SECONDS * 1000L);
    if (is_planted(comm, "die", &f)) raise(SIGKILL);
    bool fails = is_planted(comm, "error", &f);
    if (!fails && !is_planted(comm, "hang", &f)) return true;
    if (fails) {
        comm->say("an error was planted in rank " + std::to_string(comm->rank));
        comm->failed = ncclSystemError;
    }
    cudasim_room_hang(comm->room);
    return false;
}

/* ---- numbers ---- */

template <typename T> void add_integers(char *to, const char *from, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        T a, b;
        memcpy(&a, to + i * sizeof a, sizeof a);
        memcpy(&b, from + i * sizeof b, sizeof b);
        a = (T)(a + b);
        memcpy(to + i * sizeof a, &a, sizeof a);
    }
}

void add_float16(char *to, const char *from, size_t n, ncclDataType_t type)
{
    cudasim_number number = type == ncclFloat16 ? CUDASIM_F16 : CUDASIM_BF16;
    for (size_t i = 0; i < n; i++)
        cudasim_store(
            to, number, (int64_t)i,
            (double)((float)cudasim_load(to, number, (int64_t)i) + (float)cudasim_load(from, number, (int64_t)i)));
}

void add(char *to, const char *from, size_t n, ncclDataType_t type)
{
    switch (type) {
    case ncclInt8:
    case ncclUint8:
        add_integers<uint8_t>(to, from, n);
        break;
    case ncclInt32:
    case ncclUint32:
        add_integers<uint32_t>(to, from, n);
        break;
    case ncclInt64:
    case ncclUint64:
        add_integers<uint64_t>(to, from, n);
        break;
    case ncclFloat32:
        add_integers<float>(to, from, n);
        break;
    case ncclFloat64:
        add_integers<double>(to, from, n);
        break;
    case ncclFloat16:
    case ncclBfloat16:
        add_float16(to, from, n, type);
        break;
    }
}

/* As a ring adds: block b begins with rank b + 1 and ends with rank b. `all` has the ranks' pieces one behind the other. */
std::vector<char> sum(const std::vector<char> &all, size_t count, ncclDataType_t type, int ranks)
{
    size_t each = count * cudasim_nccl_bytes(type), blocks = (size_t)ranks, block = (count + blocks - 1) / blocks;
    std::vector<char> total(each);
    for (size_t b = 0; b < blocks; b++) {
        size_t first = std::min(b * block, count), n = std::min(block, count - first);
        size_t at = first * cudasim_nccl_bytes(type), bytes = n * cudasim_nccl_bytes(type);
        for (size_t k = 1; k <= blocks; k++) {
            const char *from = all.data() + (b + k) % blocks * each + at;
            if (k == 1)
                memcpy(total.data() + at, from, bytes);
            else
                add(total.data() + at, from, n, type);
        }
    }
    return total;
}

/* ---- operations ---- */

/* Every rank's `bytes` at `mine`, or nothing where `mine` is NULL, to every rank. */
bool gather(ncclComm *comm, const char *mine, size_t bytes, std::vector<char> *all, int from)
{
    std::vector<cudasim_piece> pieces((size_t)comm->ranks);
    all->assign(bytes * (size_t)(from < 0 ? comm->ranks : 1), 0);
    for (int r = 0; r < comm->ranks; r++) {
        cudasim_piece &piece = pieces[(size_t)r];
        piece = {mine, nullptr, mine ? bytes : 0, 0};
        if (from >= 0 && r != from) continue;
        piece.in = all->data() + (from < 0 ? (size_t)r * bytes : 0);
        piece.in_bytes = bytes;
    }
    return cudasim_room_exchange(comm->room, pieces.data(), bytes);
}

bool run_collective(ncclComm *comm, const cudasim_nccl_call &call, const char *source)
{
    std::vector<char> all;
    size_t out = call.out_bytes();
    bool gathers = call.is("all_gather"), broadcasts = call.is("broadcast");
    if (!gather(comm, call.in ? source : nullptr, broadcasts ? out : call.in_bytes(), &all,
                broadcasts ? call.peer : -1))
        return false;
    if (!call.out) return true;
    if (gathers || broadcasts) {
        memcpy(call.out, all.data(), out);
        return true;
    }
    size_t count = call.in_bytes() / cudasim_nccl_bytes(call.type);
    std::vector<char> total = sum(all, count, call.type, comm->ranks);
    memcpy(call.out, total.data() + (call.is("reduce_scatter") ? (size_t)comm->rank * out : 0), out);
    return true;
}

cudasim_call spoken(const std::string &text, uint64_t number, int item, bool recorded)
{
    cudasim_call spoken = {};
    snprintf(spoken.text, sizeof spoken.text, "%s", text.c_str());
    spoken.number = number;
    spoken.item = item;
    spoken.recorded = recorded;
    return spoken;
}

/* The k-th send and receive of each peer, as long as a rank has more. */
bool run_pairs(ncclComm *comm, const std::vector<const cudasim_nccl_call *> &pairs, cudasim_call mine, const char *held)
{
    size_t ranks = (size_t)comm->ranks;
    std::vector<bool> done(pairs.size(), false);
    for (bool more = true; more;) {
        std::vector<cudasim_piece> pieces(ranks, cudasim_piece{nullptr, nullptr, 0, 0});
        mine.more = 0;
        memset(mine.out, 0, sizeof mine.out);
        memset(mine.in, 0, sizeof mine.in);
        for (size_t i = 0; i < pairs.size(); i++) {
            const cudasim_nccl_call &call = *pairs[i];
            bool sends = call.in != nullptr;
            auto &said = sends ? mine.out[call.peer] : mine.in[call.peer];
            if (done[i] || said.count) {
                mine.more |= !done[i];
                continue;
            }
            done[i] = true;
            said = {call.count, (int)call.type};
            cudasim_piece &piece = pieces[(size_t)call.peer];
            (sends ? piece.out_bytes : piece.in_bytes) = sends ? call.in_bytes() : call.out_bytes();
            if (sends) piece.out = held + call.held;
            if (!sends) piece.in = call.out;
        }
        const cudasim_call *const *all = cudasim_room_meet(comm->room, mine);
        if (!all) return false;
        uint64_t longest = 0;
        more = false;
        for (size_t r = 0; r < ranks; r++) {
            more |= all[r]->more != 0;
            for (size_t p = 0; p < ranks; p++)
                longest =
                    std::max(longest, all[r]->out[p].count * cudasim_nccl_bytes((ncclDataType_t)all[r]->out[p].dtype));
        }
        if (!cudasim_room_exchange(comm->room, pieces.data(), longest)) return false;
        mine.item++;
    }
    return true;
}

/* In the middle of a result, a bit that changes a float a lot. */
void flip(const ncclComm *comm, const cudasim_nccl_call &call)
{
    fault f;
    size_t bytes = call.out_bytes(), width = cudasim_nccl_bytes(call.type);
    if (call.out && is_planted(comm, "flip", &f)) call.out[bytes / width / 2 * width + width - 1] ^= 0x20;
}

} // namespace

size_t cudasim_nccl_bytes(ncclDataType_t type)
{
    return (unsigned)type < TYPES ? types[type].bytes : 0;
}

bool cudasim_nccl_call::is(const char *name) const
{
    return !strcmp(op, name);
}

bool cudasim_nccl_call::is_pair() const
{
    return is("send") || is("receive");
}

size_t cudasim_nccl_call::in_bytes() const
{
    return in ? count * cudasim_nccl_bytes(type) * (size_t)(is("reduce_scatter") ? ranks : 1) : 0;
}

size_t cudasim_nccl_call::out_bytes() const
{
    return out ? count * cudasim_nccl_bytes(type) * (size_t)(is("all_gather") ? ranks : 1) : 0;
}

std::string cudasim_nccl_call::text() const
{
    std::string said = std::string(op) + " of " + std::to_string(count) + " " +
                       ((unsigned)type < TYPES ? types[type].name : "of a type that is not simulated");
    if (is_pair()) return said + (in ? " to rank " : " from rank ") + std::to_string(peer);
    return peer < 0 ? said : said + (is("reduce") ? " to rank " : " from rank ") + std::to_string(peer);
}

void cudasim_nccl_run(ncclComm *comm, const std::vector<cudasim_nccl_call> &calls, uint64_t number, bool recorded,
                      const char *held)
{
    std::vector<const cudasim_nccl_call *> pairs;
    int item = 0;
    if (cudasim_room_aborted(comm->room)) return;
    comm->waits = true;
    for (const cudasim_nccl_call &call : calls) {
        if (call.is_pair()) {
            pairs.push_back(&call);
            continue;
        }
        comm->done++;
        if (!suffer(comm) || !cudasim_room_meet(comm->room, spoken(call.text(), number, ++item, recorded)) ||
            !run_collective(comm, call, held + call.held))
            return;
        flip(comm, call);
    }
    if (!pairs.empty()) {
        cudasim_call mine = spoken("sends and receives", number, ++item, recorded);
        mine.sends = 1;
        comm->done++;
        if (!suffer(comm) || !run_pairs(comm, pairs, mine, held)) return;
        for (const cudasim_nccl_call *call : pairs)
            if (call->out) {
                flip(comm, *call);
                break;
            }
    }
    comm->waits = false;
}

void cudasim_nccl_goodbye(ncclComm *comm)
{
    comm->waits = true;
    cudasim_room_meet(comm->room, spoken("ncclCommDestroy", comm->issued, 0, false));
}
