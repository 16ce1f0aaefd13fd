/* nccl_room: processes meet in POSIX shared memory named by the communicator's id. Rank 0 makes it, the others wait for
 * it. Its name is taken away as soon as all have come, so a process that is killed later leaves nothing. One that was
 * killed earlier leaves a name whose maker is gone: the next job of that name, or of any other, removes it. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <new>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "internal.h"
#include "nccl_room.h"

namespace
{

constexpr size_t AREA = 1 << 20; /* what a rank has to write in at a time */
const char prefix[] = "cudasim-nccl-";

struct process {
    std::atomic<int> id;
    unsigned long long start; /* ids are given again */
};

struct seat {
    std::atomic<uint32_t> arrived; /* at how many barriers */
    process who;
    char device[64];
    cudasim_call call;
};

struct head {
    std::atomic<uint32_t> ready;
    int ranks;
    process maker;
    seat seats[CUDASIM_MOST_RANKS];
};

/* When a process began, in ticks; 0: it is not there, or dead and not yet waited for. */
unsigned long long began(int id)
{
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", id);
    FILE *file = fopen(path, "r");
    if (!file) return 0;
    size_t got = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[got] = '\0';
    const char *at = strrchr(text, ')'); /* the name may hold anything */
    char state = 0;
    unsigned long long start = 0;
    if (!at || sscanf(at + 1, " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
                      &state, &start) != 2)
        return 0;
    return state == 'Z' || state == 'X' ? 0 : start;
}

bool lives(const process &who)
{
    return began(who.id) == who.start;
}

void pause_for(long microseconds)
{
    struct timespec span = {microseconds / 1000000, microseconds % 1000000 * 1000};
    nanosleep(&span, nullptr);
}

size_t room_bytes(int ranks)
{
    return sizeof(head) + (size_t)ranks * AREA;
}

} // namespace

struct cudasim_room {
    head *shared;
    size_t bytes;
    int ranks, rank;
    std::atomic<bool> aborted;
    const cudasim_call *calls[CUDASIM_MOST_RANKS];

    char *area(int of, int to) const
    {
        return reinterpret_cast<char *>(shared + 1) + (size_t)of * AREA + (size_t)to * part();
    }
    size_t part() const
    {
        return AREA / (size_t)ranks / 64 * 64;
    }
};

namespace
{

/* Until all ranks have come; false: aborted, or a rank is gone and `gone` asks for it. */
bool barrier(cudasim_room *room, bool gone)
{
    seat *seats = room->shared->seats;
    uint32_t mine = seats[room->rank].arrived.fetch_add(1) + 1;
    syscall(SYS_futex, &seats[room->rank].arrived, FUTEX_WAKE, INT32_MAX, nullptr, nullptr, 0);
    for (int r = 0; r < room->ranks; r++) {
        for (int turn = 0;; turn++) {
            uint32_t there = seats[r].arrived;
            if (there - mine < UINT32_MAX / 2) break; /* as far, or farther */
            if (room->aborted || (gone && turn % 64 == 63 && cudasim_room_gone(room) >= 0)) return false;
            struct timespec span = {0, 5000000};
            if (turn < 20)
                sched_yield();
            else
                syscall(SYS_futex, &seats[r].arrived, FUTEX_WAIT, there, &span, nullptr, 0);
        }
    }
    return true;
}

/* Removes what killed processes have left. */
void sweep()
{
    DIR *folder = opendir("/dev/shm");
    if (!folder) return;
    while (struct dirent *entry = readdir(folder)) {
        if (strncmp(entry->d_name, prefix, sizeof prefix - 1)) continue;
        std::string name = std::string("/") + entry->d_name;
        int file = shm_open(name.c_str(), O_RDONLY, 0);
        struct stat stat;
        if (file < 0) continue;
        if (!fstat(file, &stat) && (size_t)stat.st_size >= sizeof(head)) {
            void *at = mmap(nullptr, sizeof(head), PROT_READ, MAP_SHARED, file, 0);
            const head *old = static_cast<const head *>(at);
            if (at != MAP_FAILED && old->ready && !lives(old->maker)) shm_unlink(name.c_str());
            if (at != MAP_FAILED) munmap(at, sizeof(head));
        }
        close(file);
    }
    closedir(folder);
}

head *map(int file, size_t bytes)
{
    void *at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (at == MAP_FAILED)
        cudasim_fault("NCCL: %zu bytes of shared memory cannot be mapped: %s", bytes, strerror(errno));
    return static_cast<head *>(at);
}

/* NULL: another process that lives has made it. */
head *make(const std::string &name, int ranks)
{
    size_t bytes = room_bytes(ranks);
    sweep();
    int file = shm_open(name.c_str(), O_CREAT | O_EXCL | O_RDWR, 0600);
    if (file < 0 && errno == EEXIST) return nullptr;
    if (file < 0 || posix_fallocate(file, 0, (off_t)bytes))
        cudasim_fault("NCCL: no shared memory of %zu bytes at %s: %s", bytes, name.c_str(), strerror(errno));
    head *shared = new (map(file, bytes)) head{};
    shared->ranks = ranks;
    shared->maker.id = getpid();
    shared->maker.start = began(getpid());
    shared->ready = 1;
    return shared;
}

/* Waits for rank 0. */
head *find(const std::string &name, int ranks, int rank)
{
    for (;; pause_for(2000)) {
        struct stat stat;
        int file = shm_open(name.c_str(), O_RDWR, 0);
        if (file < 0) continue;
        if (fstat(file, &stat) || (size_t)stat.st_size < sizeof(head)) {
            close(file);
            continue;
        }
        size_t whole = (size_t)stat.st_size;
        head *shared = map(file, whole);
        if (shared->ready && lives(shared->maker)) {
            if (shared->ranks == ranks) return shared;
            cudasim_fault("NCCL: rank %d is one of %d ranks, rank 0 one of %d", rank, ranks, shared->ranks);
        }
        munmap(shared, whole);
    }
}

cudasim_opened sit_down(cudasim_room *room, const std::string &device, std::string *why)
{
    seat *seats = room->shared->seats, *mine = &seats[room->rank];
    int nobody = 0;
    if (!mine->who.id.compare_exchange_strong(nobody, getpid())) {
        *why = "two processes call themselves rank " + std::to_string(room->rank);
        return CUDASIM_RANK_TAKEN;
    }
    mine->who.start = began(getpid());
    snprintf(mine->device, sizeof mine->device, "%s", device.c_str());
    if (!barrier(room, true)) {
        *why = "rank " + std::to_string(cudasim_room_gone(room)) + " is gone";
        return CUDASIM_PEER_GONE;
    }
    for (int r = 0; r < room->ranks; r++) {
        if (r == room->rank || device != seats[r].device) continue;
        *why = "Duplicate GPU detected : rank " + std::to_string(room->rank) + " and rank " + std::to_string(r) +
               " both on CUDA device " + device;
        return CUDASIM_SAME_DEVICE;
    }
    return CUDASIM_OPENED;
}

std::string told(int rank, const cudasim_call &call)
{
    return "rank " + std::to_string(rank) + " calls " + call.text + (call.recorded ? ", recorded in a graph," : "") +
           " (its call " + std::to_string(call.number) + ", operation " + std::to_string(call.item) + " of it)";
}

std::string numbers(uint64_t count, int dtype)
{
    return std::to_string(count) + " of type " + std::to_string(dtype);
}

/* Each send has a receive of the same length and type. */
void compare_pairs(const cudasim_room *room)
{
    for (int from = 0; from < room->ranks; from++)
        for (int to = 0; to < room->ranks; to++) {
            const auto &out = room->calls[from]->out[to], &in = room->calls[to]->in[from];
            if (out.count == in.count && (!out.count || out.dtype == in.dtype)) continue;
            cudasim_fault("NCCL: rank %d sends rank %d %s, which receives %s (%s; %s)", from, to,
                          numbers(out.count, out.dtype).c_str(), numbers(in.count, in.dtype).c_str(),
                          told(from, *room->calls[from]).c_str(), told(to, *room->calls[to]).c_str());
        }
}

void compare(const cudasim_room *room)
{
    const cudasim_call &first = *room->calls[0];
    for (int r = 1; r < room->ranks; r++) {
        const cudasim_call &other = *room->calls[r];
        if (!strcmp(first.text, other.text) && first.number == other.number && first.item == other.item &&
            first.recorded == other.recorded)
            continue;
        cudasim_fault("NCCL: %s where %s", told(r, other).c_str(), told(0, first).c_str());
    }
    if (first.sends) compare_pairs(room);
}

} // namespace

cudasim_opened cudasim_room_open(const std::string &name, int ranks, int rank, const std::string &device,
                                 cudasim_room **out, std::string *why)
{
    std::string path = std::string("/") + prefix + name;
    if (ranks > CUDASIM_MOST_RANKS)
        cudasim_fault("NCCL: %d ranks; the simulated one has %d at most", ranks, CUDASIM_MOST_RANKS);
    head *shared = rank ? find(path, ranks, rank) : make(path, ranks);
    if (!shared) {
        *why = "the address is in use by another job: " + name;
        return CUDASIM_IN_USE;
    }
    cudasim_room *room = new cudasim_room{shared, room_bytes(ranks), ranks, rank, {false}, {}};
    cudasim_opened opened = sit_down(room, device, why);
    if (!rank) shm_unlink(path.c_str());
    if (opened == CUDASIM_OPENED)
        *out = room;
    else
        cudasim_room_close(room);
    return opened;
}

void cudasim_room_close(cudasim_room *room)
{
    munmap(room->shared, room->bytes);
    delete room;
}

const cudasim_call *const *cudasim_room_meet(cudasim_room *room, const cudasim_call &mine)
{
    /* Behind this barrier all have read what was said before. */
    if (!barrier(room, false)) return nullptr;
    room->shared->seats[room->rank].call = mine;
    if (!barrier(room, false)) return nullptr;
    for (int r = 0; r < room->ranks; r++) room->calls[r] = &room->shared->seats[r].call;
    compare(room);
    return room->calls;
}

bool cudasim_room_exchange(cudasim_room *room, const cudasim_piece *pieces, uint64_t longest)
{
    size_t part = room->part();
    auto here = [part](uint64_t bytes, uint64_t at) { return at >= bytes ? 0 : bytes - at < part ? bytes - at : part; };
    for (uint64_t at = 0; at < longest; at += part) {
        for (int r = 0; r < room->ranks; r++)
            if (uint64_t n = here(pieces[r].out_bytes, at)) memcpy(room->area(room->rank, r), pieces[r].out + at, n);
        if (!barrier(room, false)) return false;
        for (int r = 0; r < room->ranks; r++)
            if (uint64_t n = here(pieces[r].in_bytes, at)) memcpy(pieces[r].in + at, room->area(r, room->rank), n);
        if (!barrier(room, false)) return false;
    }
    return true;
}

int cudasim_room_gone(cudasim_room *room)
{
    for (int r = 0; r < room->ranks; r++) {
        const seat &other = room->shared->seats[r];
        if (other.who.id && other.arrived && !lives(other.who)) return r;
    }
    if (!room->shared->seats[0].who.id && !lives(room->shared->maker)) return 0;
    return -1;
}

void cudasim_room_abort(cudasim_room *room)
{
    room->aborted = true;
}

bool cudasim_room_aborted(const cudasim_room *room)
{
    return room->aborted;
}

void cudasim_room_hang(cudasim_room *room)
{
    while (!room->aborted) pause_for(5000);
}
