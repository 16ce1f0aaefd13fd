#include "session/headroom.h"

#include <stdio.h>

#include "base/log.h"
#include "base/thread.h"
#include "comm/machines.h"
#include "device/blas.h"
#include "session/budget.h"
#include "session/build.h"
#include "session/choose.h"
#include "session/machine.h"

/* What the heap still grows by when a run starts: samples, an image being decoded, what OpenBLAS packs. */
static const int64_t heap_growth = (int64_t)16 << 20;

/* One for training, one for evaluation. */
static int loaders(const dram_config *cfg)
{
    return cfg->data.val.images ? 2 : 1;
}

int64_t dram_headroom_reserve(const dram_config *cfg)
{
    const int64_t process = (int64_t)64 << 20;
    int64_t slots = cfg->data.prefetch > cfg->train.batch_size ? cfg->data.prefetch : cfg->train.batch_size;
    return process + loaders(cfg) * slots * dram_sample_bytes(cfg) + cfg->data.workers * cfg->data.max_decode_bytes;
}

dram_mapped dram_headroom_mapped(const dram_config *cfg, const dram_profile *profile)
{
    int64_t threads = profile->workers - 1 + loaders(cfg) * cfg->data.workers + 1;
    if (profile->gpu) return (dram_mapped){0};
    return (dram_mapped){.blas_bytes = (int64_t)profile->workers * DRAM_BLAS_BUFFER,
                         .stack_bytes = threads * DRAM_THREAD_STACK};
}

/* Of that, what is still to be mapped, with what the heap grows by: OpenBLAS packs a small product without a look at
 * whether it has got memory. What an earlier session of the process had is there to be used again: OpenBLAS keeps its
 * buffers, the C library its heap and stacks of threads that have ended. */
static dram_mapped still_mapped(const dram_config *cfg, const dram_profile *profile, int64_t *heap)
{
    dram_mapped mapped = dram_headroom_mapped(cfg, profile);
    *heap = heap_growth;
    if (profile->gpu) return mapped;
    mapped.blas_bytes = dram_blas_missing(profile->workers);
    if (mapped.blas_bytes) return mapped;
    *heap = 0;
    return (dram_mapped){0};
}

/* What `auto` leaves to others, of the device's memory. */
static int64_t reserve_of(const dram_config *cfg, const dram_profile *profile)
{
    return profile->gpu ? dram_machine_overhead(profile) : dram_headroom_reserve(cfg);
}

/* What there is for one rank: of the machine's memory its share, of a GPU's all. */
static dram_status read_memory(const dram_comm *comm, const dram_profile *profile, dram_machine_memory *memory)
{
    int ranks = dram_ranks_here(comm);
    TRY(dram_machine_read_memory(profile, memory));
    memory->host_free /= ranks;
    if (!memory->apart) memory->device_free /= ranks;
    return DRAM_OK;
}

/* Bytes of the device's memory that the plan takes: where that is the host's, with what waits in host memory. */
static int64_t taken(const dram_session *s)
{
    return s->plan->arena_bytes + (s->plan->profile.gpu ? 0 : s->plan->host_bytes);
}

dram_status dram_headroom_check_budget(const dram_config *cfg)
{
    char asked[32], has[32];
    dram_machine_memory memory;
    dram_profile profile;
    TRY(dram_machine_profile(cfg, &profile));
    TRY(dram_machine_read_memory(&profile, &memory));
    if (cfg->memory.budget <= memory.device_total) return DRAM_OK;
    return dram_fail(DRAM_ERR_FIT,
                     "%s: memory.budget: %s is more than the %s that this %s has; lower it, or set it "
                     "to auto",
                     dram_config_where(cfg, "memory.budget"),
                     dram_format_bytes(cfg->memory.budget, asked, sizeof asked),
                     dram_format_bytes(memory.device_total, has, sizeof has), profile.gpu ? "GPU" : "machine");
}

/* Plans so that what the plan takes is at most `available`. The search knows the device's arena alone: what waits in
 * host memory is taken off its budget where it lies in the same memory. */
static dram_status plan_within(const dram_config *cfg, dram_program_set set, int64_t available, dram_session *s)
{
    enum { TRIES = 3 };
    dram_config within = *cfg;
    within.memory.budget = available > 0 ? available : 1;
    for (int i = 0;; i++) {
        TRY(dram_budget_plan(&within, set, 0, s));
        s->cfg.memory.budget = cfg->memory.budget;
        int64_t left = available - (taken(s) - s->plan->arena_bytes);
        if (s->plan->arena_bytes <= left || s->plan->arena_bytes > within.memory.budget || left < 1 || i == TRIES)
            return DRAM_OK;
        within.memory.budget = left;
        dram_session_close(s);
    }
}

/* What `auto` leaves to the arena, and of what: `have` bytes but for `kept` of them, and whose those are. */
typedef struct {
    int64_t bytes, have, kept;
    const char *whose;
    const char *limit; /* of what may be mapped; NULL: it is what is free */
} automatic;

static automatic find_automatic(const dram_config *cfg, const dram_profile *profile, const dram_machine_memory *memory)
{
    int64_t heap, reserve = reserve_of(cfg, profile); /* which has the heap */
    const dram_mapped more = still_mapped(cfg, profile, &heap);
    int64_t mapped = reserve + more.blas_bytes + more.stack_bytes;
    automatic a = {.bytes = memory->device_free - reserve,
                   .have = memory->device_free,
                   .kept = reserve,
                   .whose = profile->gpu ? "CUDA's libraries" : "the loader and the process"};
    const dram_host_mappable map = dram_host_to_map();
    if (!profile->gpu && map.bytes - mapped < a.bytes)
        a = (automatic){.bytes = map.bytes - mapped,
                        .have = map.bytes,
                        .kept = mapped,
                        .limit = map.whose,
                        .whose = "OpenBLAS, threads, the loader and the process"};
    return a;
}

static dram_status auto_leaves_nothing(const dram_config *cfg, bool gpu, const automatic *a)
{
    char have[32], kept[32], what[80];
    snprintf(what, sizeof what, a->limit ? "may still be mapped (%s)" : "are free", a->limit);
    return dram_fail(
        DRAM_ERR_FIT, "%s: memory.budget: auto leaves nothing for the arena: %s %s, and %s may take %s; %s",
        dram_config_where(cfg, "memory.budget"), dram_format_bytes(a->have, have, sizeof have), what, a->whose,
        dram_format_bytes(a->kept, kept, sizeof kept),
        gpu        ? "end what else runs on the GPU"
        : a->limit ? "raise the limit, or lower threads, data.max_decode_bytes, data.workers or data.prefetch"
                   : "lower data.max_decode_bytes, data.workers or data.prefetch");
}

/* What `auto` leaves to the arena, the same on all ranks. */
static dram_status find_budget(const dram_config *cfg, dram_comm *comm, int64_t *bytes)
{
    dram_profile profile;
    dram_machine_memory memory;
    automatic a = {0};
    dram_status status = dram_machine_profile(cfg, &profile);
    if (status == DRAM_OK) status = read_memory(comm, &profile, &memory);
    if (status == DRAM_OK) a = find_automatic(cfg, &profile, &memory);
    if (status == DRAM_OK && a.bytes <= 0) status = auto_leaves_nothing(cfg, profile.gpu, &a);
    *bytes = a.bytes;
    return dram_ranks_least(comm, status, bytes);
}

dram_status dram_headroom_plan(const dram_config *cfg, dram_program_set set, dram_comm *comm, dram_session *s)
{
    int64_t bytes;
    dram_status status;
    *s = (dram_session){0};
    if (cfg->memory.budget == DRAM_BYTES_AUTO) {
        TRY(find_budget(cfg, comm, &bytes));
        status = plan_within(cfg, set, bytes, s);
    } else {
        status = dram_budget_plan(cfg, set, 0, s);
    }
    s->comm = comm;
    return status;
}

/* Says that a budget would do, where recompute was not asked for because there is none. */
static dram_status check_without_budget(const dram_session *s, int64_t free_bytes, const char *has)
{
    char need[32], have[32], less[32];
    dram_session other;
    if (s->cfg.memory.budget != DRAM_BYTES_NONE || s->cfg.memory.checkpoint != DRAM_CHECKPOINT_OPTIMAL) return DRAM_OK;
    int64_t waits = taken(s) - s->plan->arena_bytes;
    TRY(dram_session_build(&s->cfg, (dram_plan_request){.set = s->set, .target = free_bytes - waits}, &other));
    int64_t bytes = taken(&other);
    dram_session_close(&other);
    if (bytes > free_bytes) return DRAM_OK;
    return dram_fail(DRAM_ERR_FIT,
                     "the plan needs %s, the %s %s free%s; set memory.budget, to auto for example: "
                     "recompute brings it down to %s with the same results",
                     dram_format_bytes(taken(s), need, sizeof need), has,
                     dram_format_bytes(free_bytes, have, sizeof have),
                     s->plan->profile.gpu ? " beside CUDA's libraries" : " beside the process",
                     dram_format_bytes(bytes, less, sizeof less));
}

/* What waits in host memory beside a GPU, against what the host has free. */
static dram_status check_host(const dram_session *s, const dram_machine_memory *memory)
{
    char need[32], have[32];
    if (!memory->apart || s->plan->host_bytes <= memory->host_free) return DRAM_OK;
    return dram_fail(DRAM_ERR_FIT,
                     "the plan keeps %s in host memory, and the machine has %s free; set sam_distill.teacher.placement "
                     "to device, or take a smaller teacher",
                     dram_format_bytes(s->plan->host_bytes, need, sizeof need),
                     dram_format_bytes(memory->host_free, have, sizeof have));
}

/* The arenas against `bytes` of the device; what it `does`: "has free". */
static dram_status check_machine(const dram_session *s, int64_t bytes, const char *does)
{
    char host[32], whose[120];
    const char *what = s->plan->profile.gpu ? "GPU has" : "machine has",
               *kind = s->plan->profile.gpu ? "GPU" : "machine";
    int64_t waits = taken(s) - s->plan->arena_bytes;
    if (taken(s) <= bytes) return DRAM_OK;
    TRY(check_without_budget(s, bytes, what));
    if (waits)
        snprintf(whose, sizeof whose, "beside %s for what waits in host memory the machine %s",
                 dram_format_bytes(waits, host, sizeof host), does);
    else
        snprintf(whose, sizeof whose, "the %s %s", kind, does);
    return dram_budget_check(s, bytes > waits ? bytes - waits : 0, whose);
}

/* What is certain to be mapped, against what may be: a library that gets too little does not say so. */
static dram_status check_mapped(const dram_session *s)
{
    char all[32], arena[32], blas[32], others[32], have[32];
    const dram_host_mappable map = dram_host_to_map();
    int64_t heap;
    const dram_mapped more = still_mapped(&s->cfg, &s->plan->profile, &heap);
    int64_t rest = more.stack_bytes + heap, bytes = taken(s) + more.blas_bytes + rest;
    if (s->plan->profile.gpu || bytes <= map.bytes) return DRAM_OK;
    return dram_fail(DRAM_ERR_FIT,
                     "the run maps %s: %s for its arena, %s for OpenBLAS's buffers, %s for stacks of threads and the "
                     "heap; %s lets the "
                     "process map %s more: raise it, lower threads, or set memory.budget",
                     dram_format_bytes(bytes, all, sizeof all), dram_format_bytes(taken(s), arena, sizeof arena),
                     dram_format_bytes(more.blas_bytes, blas, sizeof blas),
                     dram_format_bytes(rest, others, sizeof others), map.whose,
                     dram_format_bytes(map.bytes, have, sizeof have));
}

/* What the budget of `auto` is, for the text of a plan that is above it. */
static void describe_automatic(const dram_session *s, const dram_machine_memory *memory, char *text, size_t size)
{
    char kept[32];
    const automatic a = find_automatic(&s->cfg, &s->plan->profile, memory);
    snprintf(text, size, "the budget, what %s%s but for %s of %s, is", a.limit ? "may be mapped under " : "is free",
             a.limit ? a.limit : "", dram_format_bytes(a.kept, kept, sizeof kept), a.whose);
}

dram_status dram_headroom_check(const dram_session *s)
{
    char kept[32], whose[160] = "the budget is", does[80] = "has free";
    dram_machine_memory memory;
    const bool gpu = s->plan->profile.gpu;
    int64_t overhead = gpu ? dram_machine_overhead(&s->plan->profile) : heap_growth;
    TRY(read_memory(s->comm, &s->plan->profile, &memory));
    if (s->cfg.memory.budget == DRAM_BYTES_AUTO) describe_automatic(s, &memory, whose, sizeof whose);
    if (s->budget) TRY(dram_budget_check(s, s->budget, whose));
    TRY(check_host(s, &memory));
    TRY(check_mapped(s));
    if (overhead)
        snprintf(does, sizeof does, "has free beside %s for %s", dram_format_bytes(overhead, kept, sizeof kept),
                 gpu ? "CUDA's libraries" : "the process");
    return check_machine(s, memory.device_free > overhead ? memory.device_free - overhead : 0, does);
}

/* A session that was started, or not for want of memory, is planned again within what there is. */
static dram_status replan(const dram_config *cfg, dram_session *s, int64_t most)
{
    char text[32], less[32], fits[32];
    dram_comm *comm = s->comm;
    int64_t asked = taken(s), available = s->device->ops->free_bytes(s->device);
    most -= dram_machine_overhead(&s->plan->profile);
    if (cfg->memory.budget == DRAM_BYTES_AUTO) {
        dram_machine_memory memory;
        TRY(read_memory(comm, &s->plan->profile, &memory));
        available = find_automatic(cfg, &s->plan->profile, &memory).bytes;
    }
    if (most < available) available = most;
    if (s->budget && s->budget < available) available = s->budget;
    dram_error_clear();
    dram_program_set set = s->set;
    dram_session_close(s);
    TRY(dram_ranks_least(comm, DRAM_OK, &available));
    dram_status status = plan_within(cfg, set, available, s);
    s->comm = comm;
    TRY(status);
    TRY(check_machine(s, available, "really gives"));
    dram_warn("the device has %s, not the %s of the plan; planned again in %s%s%s",
              dram_format_bytes(available, less, sizeof less), dram_format_bytes(asked, text, sizeof text),
              dram_format_bytes(taken(s), fits, sizeof fits), s->pulled.length ? ", pulled: " : "",
              s->pulled.length ? s->pulled.text : "");
    return DRAM_OK;
}

dram_status dram_headroom_start(const dram_config *cfg, dram_session *s, void (*planned)(void *context), void *context)
{
    dram_status status = dram_headroom_check(s);
    if (status == DRAM_OK) status = dram_session_start(s);
    bool refused = status == DRAM_ERR_FIT && s->device; /* else no smaller arena opens the device */
    int64_t most = refused ? dram_device_most(s->device, DRAM_SPACE_DEVICE, taken(s)) : taken(s);
    /* Where the device gives the whole arena, what was refused is the memory for what waits in the host. */
    refused = refused && most < taken(s);
    TRY(dram_ranks_least(s->comm, refused ? DRAM_OK : status, &most));
    if (most == taken(s)) return DRAM_OK;
    TRY(replan(cfg, s, most));
    if (planned) planned(context);
    return dram_ranks_together(s->comm, dram_session_start(s));
}

int dram_headroom_tier(int64_t bytes)
{
    static const int cards[] = {80, 40, 24, 16, 12, 8, 6};
    for (size_t i = 0; i < sizeof cards / sizeof cards[0]; i++)
        if (bytes >= cards[i] * (int64_t)1000000000) return cards[i];
    return 0;
}
