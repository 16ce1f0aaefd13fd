#include "train/room.h"

#include <stdio.h>

#include "base/log.h"
#include "train/fit.h"
#include "train/settle.h"

int64_t dram_room_reserve(const dram_config *cfg)
{
    const int64_t process = (int64_t)64 << 20;
    int64_t slots = cfg->data.prefetch > cfg->train.batch_size ? cfg->data.prefetch : cfg->train.batch_size;
    int loaders = cfg->data.val.images ? 2 : 1;
    return process + loaders * slots * dram_settle_sample_bytes(cfg) + cfg->data.workers * cfg->data.max_decode_bytes;
}

dram_status dram_room_check_budget(const dram_config *cfg)
{
    char asked[32], has[32];
    int64_t total = dram_host_total_bytes();
    if (cfg->memory.budget <= total) return DRAM_OK;
    return dram_fail(DRAM_ERR_FIT,
                     "%s: memory.budget: %s is more than the %s that this machine has; lower it, or set it "
                     "to auto",
                     dram_config_where(cfg, "memory.budget"),
                     dram_format_bytes(cfg->memory.budget, asked, sizeof asked),
                     dram_format_bytes(total, has, sizeof has));
}

/* Plans so that the arenas of all spaces together take at most `room`: what must wait in host memory is taken off the
 * budget of the device's arena, which the search knows alone. */
static dram_status plan_within(const dram_config *cfg, dram_program_set set, int64_t room, dram_session *s)
{
    enum { TRIES = 3 };
    dram_config within = *cfg;
    within.memory.budget = room > 0 ? room : 1;
    for (int i = 0;; i++) {
        TRY(dram_session_plan(&within, set, 0, s));
        s->settled.memory.budget = cfg->memory.budget;
        int64_t left = room - s->plan->host_bytes;
        if (s->plan->arena_bytes <= left || s->plan->arena_bytes > within.memory.budget || left < 1 || i == TRIES)
            return DRAM_OK;
        within.memory.budget = left;
        dram_session_close(s);
    }
}

dram_status dram_room_plan(const dram_config *cfg, dram_program_set set, dram_session *s)
{
    char have[32], kept[32];
    if (cfg->memory.budget != DRAM_BYTES_AUTO) return dram_session_plan(cfg, set, 0, s);
    int64_t free_bytes = dram_host_free_bytes(), reserve = dram_room_reserve(cfg);
    if (free_bytes > reserve) return plan_within(cfg, set, free_bytes - reserve, s);
    return dram_fail(DRAM_ERR_FIT,
                     "%s: memory.budget: auto leaves nothing for the arena: %s are free, and the loader and "
                     "the process may take %s; lower data.max_decode_bytes, data.workers or data.prefetch",
                     dram_config_where(cfg, "memory.budget"), dram_format_bytes(free_bytes, have, sizeof have),
                     dram_format_bytes(reserve, kept, sizeof kept));
}

/* Says that a budget would do, where recompute was not asked for because there is none. */
static dram_status check_without_budget(const dram_session *s, int64_t free_bytes)
{
    char need[32], have[32], less[32];
    dram_session other;
    if (s->cfg->memory.budget != DRAM_BYTES_NONE || s->cfg->memory.checkpoint != DRAM_CHECKPOINT_OPTIMAL)
        return DRAM_OK;
    TRY(dram_fit_build(s->cfg, (dram_fit){.set = s->set, .target = free_bytes - s->plan->host_bytes}, &other));
    int64_t bytes = other.plan->arena_bytes + other.plan->host_bytes;
    dram_session_close(&other);
    if (bytes > free_bytes) return DRAM_OK;
    return dram_fail(DRAM_ERR_FIT,
                     "the plan needs %s, the machine has %s free; set memory.budget, to auto for example: "
                     "recompute brings it down to %s with the same results",
                     dram_format_bytes(s->plan->arena_bytes + s->plan->host_bytes, need, sizeof need),
                     dram_format_bytes(free_bytes, have, sizeof have), dram_format_bytes(bytes, less, sizeof less));
}

/* The arenas of all spaces against `bytes`; what the machine `does`: "has free". */
static dram_status check_machine(const dram_session *s, int64_t bytes, const char *does)
{
    char host[32], whose[120];
    int64_t waits = s->plan->host_bytes;
    if (s->plan->arena_bytes + waits <= bytes) return DRAM_OK;
    TRY(check_without_budget(s, bytes));
    if (waits)
        snprintf(whose, sizeof whose, "beside %s for what waits in host memory the machine %s",
                 dram_format_bytes(waits, host, sizeof host), does);
    else
        snprintf(whose, sizeof whose, "the machine %s", does);
    return dram_session_check_fit(s, bytes > waits ? bytes - waits : 0, whose);
}

dram_status dram_room_check(const dram_session *s)
{
    char kept[32], whose[120] = "the budget is";
    if (s->cfg->memory.budget == DRAM_BYTES_AUTO)
        snprintf(whose, sizeof whose, "the budget, what is free but for %s of the loader and the process, is",
                 dram_format_bytes(dram_room_reserve(s->cfg), kept, sizeof kept));
    if (s->budget) TRY(dram_session_check_fit(s, s->budget, whose));
    return check_machine(s, dram_host_free_bytes(), "has free");
}

static dram_status replan(const dram_config *cfg, dram_session *s)
{
    char text[32], less[32], fits[32];
    int64_t asked = s->plan->arena_bytes + s->plan->host_bytes, room = s->device->ops->free_bytes(s->device);
    int64_t most = dram_device_most(s->device, DRAM_SPACE_DEVICE, asked);
    if (cfg->memory.budget == DRAM_BYTES_AUTO) room -= dram_room_reserve(cfg);
    if (most < room) room = most;
    if (s->budget && s->budget < room) room = s->budget;
    dram_error_clear();
    dram_program_set set = s->set;
    dram_session_close(s);
    TRY(plan_within(cfg, set, room, s));
    TRY(check_machine(s, room, "really gives"));
    dram_warn("the device has %s, not the %s of the plan; planned again in %s%s%s",
              dram_format_bytes(room, less, sizeof less), dram_format_bytes(asked, text, sizeof text),
              dram_format_bytes(s->plan->arena_bytes + s->plan->host_bytes, fits, sizeof fits),
              s->pulled.length ? ", pulled: " : "", s->pulled.length ? s->pulled.text : "");
    return DRAM_OK;
}

dram_status dram_room_start(const dram_config *cfg, dram_session *s, void (*planned)(void *context), void *context)
{
    TRY(dram_room_check(s));
    dram_status status = dram_session_start(s);
    if (status != DRAM_ERR_FIT) return status;
    TRY(replan(cfg, s));
    if (planned) planned(context);
    return dram_session_start(s);
}

int dram_room_tier(int64_t bytes)
{
    static const int cards[] = {80, 40, 24, 16, 12, 8, 6};
    for (size_t i = 0; i < sizeof cards / sizeof cards[0]; i++)
        if (bytes >= cards[i] * (int64_t)1000000000) return cards[i];
    return 0;
}
