#include "session/headroom.h"

#include <stdio.h>

#include "base/log.h"
#include "comm/machines.h"
#include "session/budget.h"
#include "session/build.h"
#include "session/choose.h"
#include "session/machine.h"

int64_t dram_headroom_reserve(const dram_config *cfg)
{
    const int64_t process = (int64_t)64 << 20;
    int64_t slots = cfg->data.prefetch > cfg->train.batch_size ? cfg->data.prefetch : cfg->train.batch_size;
    int loaders = cfg->data.val.images ? 2 : 1;
    return process + loaders * slots * dram_sample_bytes(cfg) + cfg->data.workers * cfg->data.max_decode_bytes;
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

/* What `auto` leaves to the arena, the same on all ranks. */
static dram_status find_free(const dram_config *cfg, dram_comm *comm, dram_profile *profile, int64_t *available)
{
    char have[32], kept[32];
    dram_machine_memory memory = {0};
    int64_t reserve = 0;
    dram_status status = dram_machine_profile(cfg, profile);
    if (status == DRAM_OK) status = read_memory(comm, profile, &memory);
    if (status == DRAM_OK) reserve = reserve_of(cfg, profile);
    *available = memory.device_free - reserve;
    TRY(dram_ranks_least(comm, status, available));
    if (*available > 0) return DRAM_OK;
    return dram_fail(
        DRAM_ERR_FIT, "%s: memory.budget: auto leaves nothing for the arena: %s are free, and %s may take %s; %s",
        dram_config_where(cfg, "memory.budget"), dram_format_bytes(*available + reserve, have, sizeof have),
        profile->gpu ? "CUDA's libraries" : "the loader and the process", dram_format_bytes(reserve, kept, sizeof kept),
        profile->gpu ? "end what else runs on the GPU" : "lower data.max_decode_bytes, data.workers or data.prefetch");
}

dram_status dram_headroom_plan(const dram_config *cfg, dram_program_set set, dram_comm *comm, dram_session *s)
{
    dram_profile profile;
    int64_t available;
    dram_status status;
    *s = (dram_session){0};
    if (cfg->memory.budget == DRAM_BYTES_AUTO) {
        TRY(find_free(cfg, comm, &profile, &available));
        status = plan_within(cfg, set, available, s);
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
    return dram_fail(
        DRAM_ERR_FIT,
        "the plan needs %s, the %s %s free%s; set memory.budget, to auto for example: "
        "recompute brings it down to %s with the same results",
        dram_format_bytes(taken(s), need, sizeof need), has, dram_format_bytes(free_bytes, have, sizeof have),
        s->plan->profile.gpu ? " beside CUDA's libraries" : "", dram_format_bytes(bytes, less, sizeof less));
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

dram_status dram_headroom_check(const dram_session *s)
{
    char kept[32], whose[120] = "the budget is", does[80] = "has free";
    dram_machine_memory memory;
    int64_t overhead = dram_machine_overhead(&s->plan->profile);
    if (s->cfg.memory.budget == DRAM_BYTES_AUTO)
        snprintf(whose, sizeof whose, "the budget, what is free but for %s of %s, is",
                 dram_format_bytes(reserve_of(&s->cfg, &s->plan->profile), kept, sizeof kept),
                 s->plan->profile.gpu ? "CUDA's libraries" : "the loader and the process");
    if (s->budget) TRY(dram_budget_check(s, s->budget, whose));
    TRY(read_memory(s->comm, &s->plan->profile, &memory));
    TRY(check_host(s, &memory));
    if (overhead)
        snprintf(does, sizeof does, "has free beside %s for CUDA's libraries",
                 dram_format_bytes(overhead, kept, sizeof kept));
    return check_machine(s, memory.device_free > overhead ? memory.device_free - overhead : 0, does);
}

/* A session that was started, or not for want of memory, is planned again within what there is. */
static dram_status replan(const dram_config *cfg, dram_session *s, int64_t most)
{
    char text[32], less[32], fits[32];
    dram_comm *comm = s->comm;
    int64_t asked = taken(s), available = s->device->ops->free_bytes(s->device);
    most -= dram_machine_overhead(&s->plan->profile);
    if (cfg->memory.budget == DRAM_BYTES_AUTO) available -= reserve_of(cfg, &s->plan->profile);
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
