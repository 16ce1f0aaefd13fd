/* memory: device and pinned memory.
 *
 * Device memory is mapped in pages of its own between unmapped ones, poisoned around for AddressSanitizer, filled with
 * junk when it is handed out, and closed to host code: it can be read and written only while the device works. What is
 * freed stays unmapped for a while. */
#include <errno.h>
#include <map>
#include <set>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "internal.h"

namespace
{

constexpr size_t PAGE = 4096, RED = 64 * 1024, ROUND = 512, FREED_MOST = 256;

struct block {
    size_t bytes, mapped; /* as asked for; in whole pages */
};
std::map<char *, block> &live = *new std::map<char *, block>; /* by the first byte */
std::map<char *, size_t> &pinned = *new std::map<char *, size_t>;
std::vector<std::pair<char *, size_t>> &freed = *new std::vector<std::pair<char *, size_t>>;
size_t used, beside, capacity_set; /* allocated; what the process takes besides */
bool capacity_is_set, present;
int open_depth;

size_t capacity()
{
    return capacity_is_set ? capacity_set : cudasim_setting("CUDASIM_MEMORY", (size_t)8 << 30);
}

/* What other processes have. */
size_t others()
{
    return cudasim_setting("CUDASIM_OTHERS", 0);
}

size_t charge(size_t bytes)
{
    return (bytes + ROUND - 1) / ROUND * ROUND;
}

/* CUDASIM_CLOSE=0 leaves the memory open to the host: faster where there are many allocations. */
bool closes()
{
    static const bool yes = cudasim_setting("CUDASIM_CLOSE", 1) != 0;
    return yes;
}

void protect(char *at, size_t bytes, bool open)
{
    if (mprotect(at, bytes, open ? PROT_READ | PROT_WRITE : PROT_NONE))
        cudasim_fault("the memory at %p cannot be %s: %s", static_cast<void *>(at), open ? "opened" : "closed",
                      strerror(errno));
}

/* The allocation that `at` is in, with its pages; NULL. */
char *block_of(const void *address, size_t *mapped, size_t *bytes)
{
    char *at = static_cast<char *>(const_cast<void *>(address));
    auto next = live.upper_bound(at);
    if (next == live.begin()) return nullptr;
    --next;
    if (at >= next->first + next->second.mapped) return nullptr;
    *mapped = next->second.mapped;
    *bytes = next->second.bytes;
    return next->first;
}

struct sigaction before;

/* Host code has touched what is not the host's. Any other fault is for the handler that was there. */
void on_fault(int number, siginfo_t *info, void *)
{
    size_t mapped, bytes;
    if (block_of(info->si_addr, &mapped, &bytes)) cudasim_fault("host code touches device memory at %p", info->si_addr);
    for (const auto &old : freed)
        if (info->si_addr >= old.first && info->si_addr < old.first + old.second)
            cudasim_fault("%s touches device memory that was freed, at %p",
                          cudasim_on_device() ? "a kernel" : "host code", info->si_addr);
    sigaction(number, &before, nullptr);
}

/* Others set handlers too: looked after whenever memory is closed. */
void watch()
{
    struct sigaction now, action = {};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK;
    sigaction(SIGSEGV, nullptr, &now);
    if (now.sa_sigaction == on_fault) return;
    before = now;
    sigaction(SIGSEGV, &action, nullptr);
}

void unmap(char *at, size_t mapped)
{
    cudasim_unpoison(at - RED, mapped + 2 * RED);
    munmap(at - RED, mapped + 2 * RED);
}

} // namespace

/* ---- access ---- */

cudasim_access::cudasim_access() : first(nullptr), length(SIZE_MAX)
{
    if (open_depth++ || !closes()) return;
    for (auto &b : live) protect(b.first, b.second.mapped, true);
}

cudasim_access::cudasim_access(const void *at, size_t bytes) : first(nullptr), length(0)
{
    size_t mapped, whole;
    char *b = bytes && !open_depth && closes() ? block_of(at, &mapped, &whole) : nullptr;
    if (!b) return;
    size_t from = (size_t)(static_cast<const char *>(at) - b) / PAGE * PAGE;
    size_t end = ((size_t)(static_cast<const char *>(at) - b) + bytes + PAGE - 1) / PAGE * PAGE;
    first = b + from;
    length = (end < mapped ? end : mapped) - from;
    protect(first, length, true);
}

cudasim_access::~cudasim_access()
{
    if (length == SIZE_MAX) {
        if (--open_depth || !closes()) return;
        for (auto &b : live) protect(b.first, b.second.mapped, false);
        watch();
    } else if (length) {
        protect(first, length, false);
    }
}

cudasim_place cudasim_where(const void *at, size_t bytes)
{
    const char *a = static_cast<const char *>(at);
    size_t mapped, whole;
    char *b = block_of(at, &mapped, &whole);
    if (b) return a + bytes <= b + whole ? CUDASIM_DEVICE : CUDASIM_STRAY;
    for (const auto &old : freed)
        if (a < old.first + old.second && a + bytes > old.first) return CUDASIM_STRAY;
    auto later = live.lower_bound(const_cast<char *>(a));
    if (later != live.end() && a + bytes > later->first) return CUDASIM_STRAY;
    auto next = pinned.upper_bound(const_cast<char *>(a));
    if (next == pinned.begin()) return CUDASIM_PAGEABLE;
    --next;
    if (a >= next->first + next->second) return CUDASIM_PAGEABLE;
    return a + bytes <= next->first + next->second ? CUDASIM_PINNED : CUDASIM_STRAY;
}

/* ---- device memory ---- */

void cudasim_memory(size_t bytes)
{
    CUDASIM_HOLD;
    capacity_set = bytes;
    capacity_is_set = true;
}

size_t cudasim_live(void)
{
    CUDASIM_HOLD;
    return live.size() + pinned.size() + cudasim_handles();
}

size_t cudasim_capacity()
{
    return capacity();
}

size_t cudasim_of_process()
{
    return used + beside;
}

cudaError_t cudasim_occupy(const void *what, const char *setting)
{
    static std::set<const void *> &known = *new std::set<const void *>;
    CUDASIM_HOLD;
    size_t bytes = charge(cudasim_setting(setting, 0));
    if (known.count(what)) return cudaSuccess;
    if (!cudasim_take(bytes)) return cudasim_error(cudaErrorMemoryAllocation);
    known.insert(what);
    return cudaSuccess;
}

bool cudasim_take(size_t bytes)
{
    if (bytes && used + beside + others() + bytes > capacity()) return false;
    beside += bytes;
    return true;
}

void cudasim_give(size_t bytes)
{
    beside -= bytes;
}

cudaError_t cudasim_context()
{
    static const char key = 0;
    cudaError_t error = cudasim_occupy(&key, "CUDASIM_CONTEXT");
    present = present || error == cudaSuccess;
    return error;
}

bool cudasim_has_context()
{
    return present;
}

cudaError_t cudaMemGetInfo(size_t *left, size_t *total)
{
    CUDASIM_HOLD;
    CUDASIM_PRESENT;
    cudaError_t error = cudasim_context();
    if (error != cudaSuccess) return error;
    size_t taken = used + beside + others();
    *total = capacity();
    *left = *total > taken ? *total - taken : 0;
    return cudaSuccess;
}

cudaError_t cudaMalloc(void **devPtr, size_t size)
{
    CUDASIM_HOLD;
    CUDASIM_PRESENT;
    CUDASIM_NO_CAPTURE;
    *devPtr = nullptr;
    cudaError_t error = cudasim_context();
    if (error != cudaSuccess || !size) return error;
    if (size > capacity() || used + beside + others() + charge(size) > capacity())
        return cudasim_error(cudaErrorMemoryAllocation);
    watch();
    size_t mapped = (size + PAGE - 1) / PAGE * PAGE;
    void *memory = mmap(nullptr, mapped + 2 * RED, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) return cudasim_error(cudaErrorMemoryAllocation);
    char *at = static_cast<char *>(memory) + RED;
    protect(at, mapped, true);
    memset(at, CUDASIM_JUNK, size);
    if (closes()) protect(at, mapped, open_depth > 0);
    cudasim_poison(at - RED, RED);
    cudasim_poison(at + size, mapped - size + RED);
    live[at] = {size, mapped};
    used += charge(size);
    *devPtr = at;
    return cudaSuccess;
}

cudaError_t cudaFree(void *devPtr)
{
    CUDASIM_HOLD;
    if (!devPtr) return cudaSuccess;
    CUDASIM_PRESENT;
    CUDASIM_NO_CAPTURE;
    auto it = live.find(static_cast<char *>(devPtr));
    if (it == live.end()) cudasim_fault("cudaFree of %p, which is no device memory, or was freed before", devPtr);
    cudasim_finish_all();
    used -= charge(it->second.bytes);
    cudasim_poison(it->first, it->second.mapped);
    madvise(it->first, it->second.mapped, MADV_DONTNEED);
    protect(it->first, it->second.mapped, false);
    freed.emplace_back(it->first, it->second.mapped);
    live.erase(it);
    if (freed.size() > FREED_MOST) {
        unmap(freed.front().first, freed.front().second);
        freed.erase(freed.begin());
    }
    return cudaSuccess;
}

/* ---- pinned memory ---- */

cudaError_t cudaHostAlloc(void **pHost, size_t size, unsigned int flags)
{
    CUDASIM_HOLD;
    CUDASIM_PRESENT;
    CUDASIM_NO_CAPTURE;
    *pHost = nullptr;
    if (flags & ~7u) return cudasim_error(cudaErrorInvalidValue);
    if (!size) return cudaSuccess;
    size_t all = size;
    for (const auto &p : pinned) all += p.second;
    if (all > cudasim_setting("CUDASIM_PINNED", SIZE_MAX)) return cudasim_error(cudaErrorMemoryAllocation);
    if (posix_memalign(pHost, ROUND, size)) return cudasim_error(cudaErrorMemoryAllocation);
    memset(*pHost, CUDASIM_JUNK, size);
    pinned[static_cast<char *>(*pHost)] = size;
    return cudaSuccess;
}

cudaError_t cudaMallocHost(void **ptr, size_t size)
{
    return cudaHostAlloc(ptr, size, cudaHostAllocDefault);
}

cudaError_t cudaFreeHost(void *ptr)
{
    CUDASIM_HOLD;
    if (!ptr) return cudaSuccess;
    CUDASIM_PRESENT;
    CUDASIM_NO_CAPTURE;
    auto it = pinned.find(static_cast<char *>(ptr));
    if (it == pinned.end()) cudasim_fault("cudaFreeHost of %p, which is no pinned memory, or was freed before", ptr);
    cudasim_finish_all();
    pinned.erase(it);
    free(ptr);
    return cudaSuccess;
}
