#include "session/search.h"

#include <stdio.h>
#include <string.h>

/* ---- what each is worth ---- */

/* CANNOT bytes where the lever makes a config that cannot be built: a micro-batch of one image, say, leaves batch norm
 * a single value per channel. */
static const int64_t CANNOT = INT64_MAX;

/* The arena of another config, and the FLOPs of its update (NULL: not asked for). */
static dram_status price(const dram_config *cfg, dram_plan_request request, int64_t *bytes, int64_t *flops)
{
    dram_session other;
    dram_status status = dram_session_build(cfg, request, &other);
    *bytes = CANNOT;
    if (status == DRAM_ERR_CONFIG) {
        dram_error_clear();
        return DRAM_OK;
    }
    TRY(status);
    *bytes = other.plan->arena_bytes;
    if (flops) *flops = dram_session_flops(&other);
    dram_session_close(&other);
    return DRAM_OK;
}

static void fill_row(const dram_session *s, dram_lever *row, bool pulled, int64_t bytes, int64_t flops)
{
    int64_t more = bytes - s->plan->arena_bytes, work = flops - dram_session_flops(s);
    row->pulled = pulled;
    row->saved_bytes = pulled ? more : -more;
    row->added_flops = pulled ? -work : work;
}

/* Who chose the setting of a lever. */
static const char *set_by(const dram_session *s, int lever)
{
    const char *name = dram_lever_name(lever);
    size_t n = strlen(name);
    for (const char *p = s->pulled.text; p && (p = strstr(p, name)); p += n)
        if (p[n] == '=' && (p == s->pulled.text || p[-1] == ' ')) return "planner";
    return strcmp(dram_config_where(&s->cfg, dram_lever_key(lever)), "default") == 0 ? "default" : "config";
}

/* False where the lever means nothing here, or cannot be pulled. */
static dram_status row_of(const dram_session *s, int lever, dram_lever *row, bool *there)
{
    dram_config other = s->cfg;
    bool pulled;
    int64_t bytes, flops;
    *there = dram_lever_state(lever, &s->cfg, &pulled, row->setting);
    if (!*there) return DRAM_OK;
    if (pulled)
        dram_lever_release(lever, &other);
    else
        *there = dram_lever_pull(lever, &other);
    if (!*there) return DRAM_OK;
    TRY(price(&other, (dram_plan_request){.set = s->set, .like = s}, &bytes, &flops));
    *there = bytes < CANNOT;
    if (*there) fill_row(s, row, pulled, bytes, flops);
    return DRAM_OK;
}

static bool is_recomputed(const dram_session *s)
{
    for (int k = 0; k < DRAM_PROGRAM_COUNT; k++)
        if (s->schedule[k].n) return true;
    return false;
}

/* Blocks made again: against storing all when it is pulled, else against the fewest bytes it can reach. */
static dram_status recompute_row(const dram_session *s, dram_lever *row)
{
    dram_config other = s->cfg;
    bool pulled = is_recomputed(s);
    int64_t bytes, flops = 0;
    if (s->cfg.memory.checkpoint == DRAM_CHECKPOINT_OPTIMAL) row->set_by = "planner";
    snprintf(row->setting, sizeof row->setting, "%s",
             dram_checkpoint_word(pulled ? s->cfg.memory.checkpoint : DRAM_CHECKPOINT_NONE));
    other.memory.checkpoint = pulled ? DRAM_CHECKPOINT_NONE : DRAM_CHECKPOINT_OPTIMAL;
    TRY(price(&other, (dram_plan_request){.set = s->set, .least = !pulled}, &bytes, &flops));
    fill_row(s, row, pulled, bytes, flops);
    return DRAM_OK;
}

dram_status dram_levers(const dram_session *s, dram_lever rows[DRAM_LEVERS], int *n)
{
    *n = 0;
    for (int i = 0; i < DRAM_LEVERS; i++) {
        dram_lever *row = &rows[*n];
        bool there = true;
        const char *effect = dram_lever_effect(i, &s->cfg);
        *row = (dram_lever){.name = dram_lever_name(i), .effect = effect, .set_by = set_by(s, i)};
        if (dram_lever_is_recompute(i))
            TRY(recompute_row(s, row));
        else
            TRY(row_of(s, i, row, &there));
        if (there) ++*n;
    }
    return DRAM_OK;
}

/* ---- the search ---- */

static void name_pulled(int lever, const dram_config *cfg, dram_str *pulled)
{
    bool is_pulled;
    char setting[DRAM_LEVER_SETTING];
    dram_lever_state(lever, cfg, &is_pulled, setting);
    dram_str_add(pulled, "%s%s=%s", pulled->length ? ", " : "", dram_lever_name(lever), setting);
}

dram_status dram_levers_search(const dram_config *cfg, dram_plan_request request, int64_t arena, dram_config *found,
                               dram_str *pulled)
{
    int64_t best = arena, target = request.target, bytes;
    *found = *cfg;
    for (int i = 0; i < DRAM_LEVERS && best > target; i++) {
        if (!dram_lever_may_pull(i, cfg)) continue;
        /* A step that gains nothing may lead to one that does: two micro-batches pay for their sum of gradients, four
         * gain. */
        dram_config next = *found, taken = *found;
        bool better = false;
        while (best > target && dram_lever_pull(i, &next)) {
            TRY(price(&next, request, &bytes, NULL));
            if (bytes >= best) continue;
            taken = next;
            best = bytes;
            better = true;
        }
        if (!better) continue; /* it would change results for nothing */
        *found = taken;
        name_pulled(i, found, pulled);
    }
    return pulled->failed ? dram_fail(DRAM_ERR_MEMORY, "no memory for the names of levers") : DRAM_OK;
}

/* The arena with as much recompute as there is, where the config has not asked for that; else CANNOT. */
static dram_status arena_recomputed(const dram_session *s, int64_t target, int64_t *bytes)
{
    dram_config other = s->cfg;
    *bytes = CANNOT;
    if (other.memory.checkpoint == DRAM_CHECKPOINT_OPTIMAL) return DRAM_OK;
    other.memory.checkpoint = DRAM_CHECKPOINT_OPTIMAL;
    return price(&other, (dram_plan_request){.set = s->set, .target = target}, bytes, NULL);
}

dram_status dram_levers_advice(const dram_session *s, int64_t target, dram_str *text)
{
    int64_t least = s->plan->arena_bytes, bytes;
    int best = -1;
    char size[32];
    for (int i = 0; i < DRAM_LEVERS && least > target; i++) { /* the first that fits changes results least */
        dram_config other = s->cfg;
        if (!dram_lever_pull(i, &other)) continue;
        TRY(price(&other, (dram_plan_request){.set = s->set, .target = target}, &bytes, NULL));
        if (bytes >= least) continue;
        best = i;
        least = bytes;
    }
    TRY(arena_recomputed(s, target, &bytes));
    if (bytes <= target || bytes < least)
        dram_str_add(text, "memory.checkpoint: optimal would make it %s", dram_format_bytes(bytes, size, sizeof size));
    else if (best < 0)
        dram_str_add(text, "no lever makes it smaller: lower train.batch_size, data.size or the student");
    else
        dram_str_add(text, "pulling %s (%s, effect %s) would make it %s%s", dram_lever_name(best), dram_lever_key(best),
                     dram_lever_effect(best, &s->cfg), dram_format_bytes(least, size, sizeof size),
                     least <= target ? ", which fits" : "");
    return DRAM_OK;
}

dram_status dram_levers_floor(const dram_config *cfg, dram_program_set set, int64_t *bytes)
{
    dram_config other = *cfg;
    dram_levers_pull_exact(&other);
    return price(&other, (dram_plan_request){.set = set, .least = true}, bytes, NULL);
}
