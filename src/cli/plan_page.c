#include "cli/plan_page.h"

#include "plan/report.h"

enum { LEVERS = DRAM_PLAN_LEVERS + 1 };

/* What recomputing norms is worth: the same config planned the other way round. */
static dram_status recompute_lever(const dram_session *s, dram_lever *row)
{
    dram_session other;
    dram_config cfg = *s->cfg;
    bool on = cfg.memory.recompute_norms;
    cfg.memory.recompute_norms = !on;
    TRY(dram_session_plan(&cfg, &other));
    int64_t with = on ? s->plan->arena_bytes : other.plan->arena_bytes;
    int64_t without = on ? other.plan->arena_bytes : s->plan->arena_bytes;
    *row = (dram_lever){.name = "recompute_norms",
                        .setting = on ? "on" : "off",
                        .pulled = on,
                        .saved_bytes = without - with,
                        .added_flops = on ? s->recomputed_flops : other.recomputed_flops,
                        .effect = "exact"};
    dram_session_close(&other);
    return DRAM_OK;
}

static dram_status find_levers(const dram_session *s, dram_lever *levers, int *n)
{
    const dram_graph *graphs[DRAM_PROGRAM_COUNT];
    for (int i = 0; i < s->plan->n_programs; i++) graphs[i] = s->plan->programs[i].graph;
    TRY(dram_plan_levers(graphs, s->plan->n_programs, s->plan, levers, n));
    return recompute_lever(s, &levers[(*n)++]);
}

/* A plan is never compared with the machine it is made on: a budget of `auto` is no limit here. */
static int64_t budget_of(const dram_session *s)
{
    return dram_session_budget(s, 0);
}

/* FLOPs spent again over those of the step without recompute. */
static double recompute_ratio(const dram_session *s)
{
    int64_t flops = s->plan->programs[0].flops - s->recomputed_flops;
    return flops > 0 ? (double)s->recomputed_flops / (double)flops : 0.0;
}

dram_status dram_plan_page(const dram_session *s, FILE *out)
{
    dram_lever levers[LEVERS];
    int n;
    dram_str text = {0};
    TRY(find_levers(s, levers, &n));
    dram_status status = dram_plan_text(s->plan, budget_of(s), recompute_ratio(s), levers, n, &text);
    if (status == DRAM_OK) {
        fputs(text.text, out);
        fflush(out);
    }
    dram_str_free(&text);
    return status;
}

cJSON *dram_plan_page_json(const dram_session *s)
{
    dram_lever levers[LEVERS];
    int n;
    if (find_levers(s, levers, &n) != DRAM_OK) return NULL;
    return dram_plan_report(s->plan, budget_of(s), recompute_ratio(s), levers, n);
}
