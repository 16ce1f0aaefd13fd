#include "session/budget.h"

#include "plan/alive.h"
#include "session/build.h"
#include "session/search.h"

dram_status dram_budget_plan(const dram_config *cfg, dram_program_set set, int64_t auto_bytes, dram_session *s)
{
    dram_config found;
    dram_str pulled = {0};
    dram_status status;
    int64_t budget = cfg->memory.budget;
    if (budget == DRAM_BYTES_AUTO) budget = auto_bytes;
    if (budget == DRAM_BYTES_NONE) budget = 0;
    const dram_plan_request request = {.set = set, .target = budget};
    TRY(dram_session_build(cfg, request, s));
    if (budget && s->plan->arena_bytes > budget) {
        int64_t arena = s->plan->arena_bytes;
        dram_session_close(s);
        TRY_GOTO(dram_levers_search(cfg, request, arena, &found, &pulled), failed);
        TRY_GOTO(dram_session_build(&found, request, s), failed);
    }
    s->pulled = pulled;
    s->budget = budget;
    return DRAM_OK;
failed:
    dram_str_free(&pulled);
    return status;
}

dram_status dram_budget_check(const dram_session *s, int64_t limit, const char *whose)
{
    char need[32], have[32], least[32];
    dram_str advice = {0}, alive = {0};
    int64_t floor;
    dram_status status;
    if (s->plan->arena_bytes <= limit) return DRAM_OK;
    TRY_GOTO(dram_levers_floor(&s->cfg, s->set, &floor), done);
    TRY_GOTO(dram_levers_advice(s, limit, &advice), done);
    TRY_GOTO(dram_plan_alive(s->plan, 3, &alive), done);
    status = dram_fail(
        DRAM_ERR_FIT, "the plan needs %s, %s %s; the floor of this config is %s; at the peak are alive %s; %s",
        dram_format_bytes(s->plan->arena_bytes, need, sizeof need), whose, dram_format_bytes(limit, have, sizeof have),
        dram_format_bytes(floor, least, sizeof least), alive.text, advice.text);
done:
    dram_str_free(&advice);
    dram_str_free(&alive);
    return status;
}
