/* launch: runs the threads of a grid.
 *
 * Blocks follow one another. A block's threads run one after another as plain calls in one fiber, until one has to wait
 * at a barrier; then another fiber goes on with the next thread. So a kernel without barriers never switches. The order
 * of blocks and threads is forwards or backwards, by the launch (CUDASIM_ORDER=forward|reverse|mixed, mixed by
 * default): results that depend on it, because a barrier is missing, differ from one launch to another. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <vector>

#include "fiber.h"
#include "internal.h"
#if CUDASIM_ASAN
#include <sanitizer/common_interface_defs.h>
#endif

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace
{

enum state { FRESH, RUNS, READY, AT_BARRIER, AT_WARP, ENDED };

struct thread {
    uint3 index;
    state at;
    cudasim_fiber *fiber;
    /* AT_BARRIER */
    cudasim_barrier kind;
    int value;
    /* AT_WARP */
    const char *what;
    unsigned mask;
    const void *mine;
    void *out;
    size_t bytes;
    int source;
};

const char *const barrier_name[] = {"__syncthreads", "__syncthreads_or", "__syncthreads_and", "__syncthreads_count"};

const cudasim_task *launch;
std::vector<thread> &threads = *new std::vector<thread>;
std::vector<int> &ready = *new std::vector<int>;             /* to be resumed, the last first */
std::vector<unsigned> &at_warp = *new std::vector<unsigned>; /* by warp: the lanes that wait at AT_WARP */
int n, current;                                              /* threads of a block; the one that runs */
int fresh, ended, at_barrier;                                /* threads that have started, ended, wait at a barrier */
int barrier_result;
bool reverse, running;

/* ---- shared memory ---- */

constexpr size_t RED = 64, PIECES = 512;
constexpr size_t STATIC_ROOM = CUDASIM_STATIC_SHARED + PIECES * 2 * RED, DYNAMIC_ROOM = CUDASIM_BLOCK_SHARED + 1024;

struct piece {
    const void *key;
    size_t at, bytes;
};
alignas(1024) char statics[STATIC_ROOM];
alignas(1024) char dynamic[DYNAMIC_ROOM];
std::vector<piece> &pieces = *new std::vector<piece>;
size_t pieces_end, pieces_bytes;

/* At a launch: nothing of it is anybody's. */
void open_shared()
{
    pieces.clear();
    pieces_end = pieces_bytes = 0;
    cudasim_poison(statics, STATIC_ROOM);
    cudasim_poison(dynamic, DYNAMIC_ROOM);
    cudasim_unpoison(dynamic, launch->shared);
}

/* At a block: what the blocks before have left is junk. */
void refill_shared()
{
    for (const piece &p : pieces) memset(statics + p.at, CUDASIM_JUNK, p.bytes);
    memset(dynamic, CUDASIM_JUNK, launch->shared);
}

/* ---- who runs ---- */

uint3 unravel(unsigned i)
{
    return {i % blockDim.x, i / blockDim.x % blockDim.y, i / blockDim.x / blockDim.y};
}

std::string place(int i)
{
    char text[96];
    uint3 t = unravel((unsigned)i);
    snprintf(text, sizeof text, "thread (%u, %u, %u) of block (%u, %u, %u)", t.x, t.y, t.z, blockIdx.x, blockIdx.y,
             blockIdx.z);
    return text;
}

void resumed(int i)
{
    current = i;
    threadIdx = threads[(size_t)i].index;
    threads[(size_t)i].at = RUNS;
}

void stuck()
{
    const thread *one = nullptr;
    for (const thread &t : threads)
        if (t.at == AT_WARP) one = &t;
    if (one) {
        size_t first = (size_t)(one - threads.data()) / 32 * 32;
        unsigned here = 0;
        for (size_t lane = 0; lane < 32 && first + lane < threads.size(); lane++) {
            const thread &t = threads[first + lane];
            if (t.at == AT_WARP && !strcmp(t.what, one->what) && t.mask == one->mask && t.bytes == one->bytes)
                here |= 1u << lane;
        }
        cudasim_fault("%s: unequal barriers: lanes %08x of warp %zu wait at %s for lanes %08x (%s)",
                      cudasim_name(*launch).c_str(), here, first / 32, one->what, one->mask,
                      place((int)(one - threads.data())).c_str());
    }
    int of_kind[4] = {};
    for (const thread &t : threads)
        if (t.at == AT_BARRIER) of_kind[t.kind]++;
    std::string waits;
    for (int kind = 0; kind < 4; kind++)
        if (of_kind[kind]) waits += std::to_string(of_kind[kind]) + " threads wait at " + barrier_name[kind] + ", ";
    cudasim_fault("%s: unequal barriers: of %d threads of block (%u, %u, %u) %s%d have ended",
                  cudasim_name(*launch).c_str(), n, blockIdx.x, blockIdx.y, blockIdx.z, waits.c_str(), ended);
}

/* Every thread of the block waits: lets them go if they wait at the same. */
void open_barrier()
{
    cudasim_barrier kind = threads[0].kind;
    int any = 0, all = 1, count = 0;
    if (at_barrier != n) stuck();
    for (const thread &t : threads) {
        if (t.kind != kind) stuck();
        any |= t.value != 0;
        all &= t.value != 0;
        count += t.value != 0;
    }
    barrier_result = kind == CUDASIM_SYNC_OR ? any : kind == CUDASIM_SYNC_AND ? all : count;
    at_barrier = 0;
    for (int i = 0; i < n; i++) {
        threads[(size_t)i].at = READY;
        ready.push_back(reverse ? i : n - 1 - i);
    }
}

void work();

/* The fiber that is to run next: of a thread that may go on, or for one that has not begun; NULL when all have
 * ended. `resting`: the running fiber has no thread and could begin the next itself; it is returned then. */
cudasim_fiber *next(bool resting)
{
    if (ready.empty() && fresh == n) {
        if (ended == n) return nullptr;
        open_barrier();
    }
    if (!ready.empty()) {
        int i = ready.back();
        ready.pop_back();
        resumed(i);
        return threads[(size_t)i].fiber;
    }
    return resting ? cudasim_fiber_now() : cudasim_fiber_take(work);
}

/* A fiber's work: threads that have not begun, until others have to go on. */
void work()
{
    for (;;) {
        int i = reverse ? n - 1 - fresh : fresh;
        fresh++;
        threads[(size_t)i].fiber = cudasim_fiber_now();
        resumed(i);
        launch->run();
        threads[(size_t)current].at = ENDED;
        ended++;
        cudasim_fiber *to = next(true);
        if (to != cudasim_fiber_now()) cudasim_fiber_rest(to);
    }
}

/* The running thread waits until another lets it go. */
void wait()
{
    cudasim_fiber *to = next(false);
    if (to != cudasim_fiber_now()) cudasim_fiber_switch(to);
}

void move(void *to, const void *from, size_t bytes)
{
    if (bytes == 4)
        memcpy(to, from, 4);
    else if (bytes == 8)
        memcpy(to, from, 8);
    else if (bytes)
        memcpy(to, from, bytes);
}

/* The lanes of `mask` have all come: each receives what it asked for. */
void serve(int first, unsigned mask)
{
    size_t bytes = threads[(size_t)current].bytes;
    static std::vector<char> &all = *new std::vector<char>;
    all.assign(32 * bytes, 0);
    for (int lane = 0; lane < 32 && bytes; lane++)
        if (mask >> lane & 1) move(all.data() + (size_t)lane * bytes, threads[(size_t)(first + lane)].mine, bytes);
    for (int lane = 0; lane < 32 && bytes; lane++) {
        if (!(mask >> lane & 1)) continue;
        const thread &t = threads[(size_t)(first + lane)];
        if (t.source < 0)
            memcpy(t.out, all.data(), all.size());
        else
            move(t.out, all.data() + (size_t)t.source * bytes, bytes);
    }
    at_warp[(size_t)first / 32] &= ~mask;
    for (int k = 0; k < 32; k++) {
        int lane = reverse ? k : 31 - k;
        if (!(mask >> lane & 1)) continue;
        threads[(size_t)(first + lane)].at = READY;
        ready.push_back(first + lane);
    }
}

bool mixed_order()
{
    /* The high bits of a sequence without short periods (Vigna's splitmix64). */
    static uint64_t count = 0;
    uint64_t z = (count += 0x9e3779b97f4a7c15u);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z >> 63;
}

bool choose_order()
{
    const char *order = getenv("CUDASIM_ORDER");
    if (!order || !strcmp(order, "mixed")) return mixed_order();
    if (strcmp(order, "forward") && strcmp(order, "reverse"))
        cudasim_fault("CUDASIM_ORDER is \"%s\": forward, reverse or mixed", order);
    return order[0] == 'r';
}

void run_block()
{
    for (thread &t : threads) t.at = FRESH;
    at_warp.assign((size_t)(n + 31) / 32, 0);
    fresh = ended = at_barrier = 0;
    ready.clear();
    refill_shared();
    cudasim_fiber_switch(cudasim_fiber_take(work));
}

} // namespace

/* ---- what kernels call ---- */

bool cudasim_on_device()
{
    return running;
}

int cudasim_lane()
{
    return current % 32;
}

void cudasim_misaligned(const void *at, size_t bytes)
{
    cudasim_fault("%s: misaligned access of %zu bytes at %p by %s",
                  running ? cudasim_name(*launch).c_str() : "host code", bytes, at,
                  running ? place(current).c_str() : "the host");
}

void *cudasim_shared(const void *key, size_t bytes, size_t align)
{
    if (!running) cudasim_fault("shared memory used outside a kernel");
    for (const piece &p : pieces)
        if (p.key == key) return statics + p.at;
    size_t at = (pieces_end + RED + align - 1) / align * align;
    pieces_bytes += bytes;
    if (pieces_bytes > CUDASIM_STATIC_SHARED || at + bytes + RED > STATIC_ROOM)
        cudasim_fault("%s: a block has %zu bytes of static shared memory, and at most %zu may be",
                      cudasim_name(*launch).c_str(), pieces_bytes, CUDASIM_STATIC_SHARED);
    if (pieces_bytes + launch->shared > CUDASIM_BLOCK_SHARED)
        cudasim_fault("%s: a block has %zu bytes of static and %zu of dynamic shared memory, and at most %zu may be",
                      cudasim_name(*launch).c_str(), pieces_bytes, launch->shared, CUDASIM_BLOCK_SHARED);
    cudasim_has_static_shared(launch->code, pieces_bytes);
    cudasim_check_shared(launch->code, pieces_bytes, launch->shared, launch->what.c_str());
    pieces.push_back({key, at, bytes});
    pieces_end = at + bytes;
    cudasim_unpoison(statics + at, bytes);
    memset(statics + at, CUDASIM_JUNK, bytes);
    return statics + at;
}

void *cudasim_shared_dynamic()
{
    if (!running) cudasim_fault("shared memory used outside a kernel");
    return dynamic;
}

int cudasim_block_wait(cudasim_barrier kind, int value)
{
    if (!running) cudasim_fault("%s outside a kernel", barrier_name[kind]);
    thread &me = threads[(size_t)current];
    me.at = AT_BARRIER;
    me.kind = kind;
    me.value = value;
    at_barrier++;
    wait();
    return barrier_result;
}

void cudasim_warp_exchange(const char *what, unsigned mask, const void *mine, void *out, size_t bytes, int source)
{
    if (!running) cudasim_fault("%s outside a kernel", what);
    int lane = current % 32, first = current - lane;
    if (!(mask >> lane & 1))
        cudasim_fault("%s: %s by %s, lane %d, which is not in its mask %08x", cudasim_name(*launch).c_str(), what,
                      place(current).c_str(), lane, mask);
    if (source >= 0 && bytes && !(mask >> source & 1))
        cudasim_fault("%s: %s by %s reads lane %d, which is not in its mask %08x", cudasim_name(*launch).c_str(), what,
                      place(current).c_str(), source, mask);
    thread &me = threads[(size_t)current];
    me.at = AT_WARP;
    me.what = what;
    me.mask = mask;
    me.mine = mine;
    me.out = out;
    me.bytes = bytes;
    me.source = source;
    unsigned &here = at_warp[(size_t)current / 32];
    here |= 1u << lane;
    bool all = (here & mask) == mask;
    for (int other = 0; other < 32 && all; other++) {
        if (!(mask >> other & 1)) continue;
        const thread &t = threads[(size_t)(first + other)];
        all = t.mask == mask && t.bytes == bytes && (t.what == what || !strcmp(t.what, what));
    }
    if (all) serve(first, mask);
    wait();
}

/* ---- launching ---- */

cudaError_t cudasim_check_grid(dim3 grid, dim3 block, size_t shared)
{
    if (!grid.x || !grid.y || !grid.z || !block.x || !block.y || !block.z) return cudaErrorInvalidConfiguration;
    if (block.x > CUDASIM_MOST_THREADS || block.y > CUDASIM_MOST_THREADS || block.z > 64 ||
        (uint64_t)block.x * block.y * block.z > CUDASIM_MOST_THREADS)
        cudasim_fault("a launch of blocks of %u x %u x %u threads: at most %u are possible, and 64 in z", block.x,
                      block.y, block.z, CUDASIM_MOST_THREADS);
    if (grid.x > 0x7fffffffu || grid.y > 65535 || grid.z > 65535)
        cudasim_fault("a launch of %u x %u x %u blocks: y and z go to 65535, x to 2147483647", grid.x, grid.y, grid.z);
    if (shared > CUDASIM_BLOCK_SHARED)
        cudasim_fault("a launch with %zu bytes of dynamic shared memory: a block has %zu", shared,
                      CUDASIM_BLOCK_SHARED);
    return cudaSuccess;
}

void cudasim_run_grid(const cudasim_task &kernel)
{
    if (running) cudasim_fault("%s: launched by a kernel", cudasim_name(kernel).c_str());
    launch = &kernel;
    gridDim = kernel.grid;
    blockDim = kernel.block;
    n = (int)(blockDim.x * blockDim.y * blockDim.z);
    threads.resize((size_t)n);
    for (int i = 0; i < n; i++) threads[(size_t)i].index = unravel((unsigned)i);
    reverse = choose_order();
    open_shared();
    running = true;
    uint64_t blocks = (uint64_t)gridDim.x * gridDim.y * gridDim.z;
    for (uint64_t i = 0; i < blocks; i++) {
        uint64_t at = reverse ? blocks - 1 - i : i;
        blockIdx = {(unsigned)(at % gridDim.x), (unsigned)(at / gridDim.x % gridDim.y),
                    (unsigned)(at / gridDim.x / gridDim.y)};
        run_block();
    }
    running = false;
    launch = nullptr;
}

std::string cudasim_name(const cudasim_task &task)
{
    std::string name = task.what;
#if CUDASIM_ASAN
    char symbol[256] = "";
    if (task.code) __sanitizer_symbolize_pc(const_cast<void *>(task.code), "%f", symbol, sizeof symbol);
    if (*symbol) name += std::string(", ") + symbol;
#endif
    return name;
}

void cudasim_fault(const char *format, ...)
{
    char text[1024];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    fflush(stdout);
    fprintf(stderr, "cudasim: %s\n", text);
#if CUDASIM_ASAN
    if (cudasim_setting("CUDASIM_TRACE", 1)) __sanitizer_print_stack_trace();
#endif
    fflush(stderr);
    abort();
}
