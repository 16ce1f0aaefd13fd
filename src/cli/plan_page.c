#include "cli/plan_page.h"

#include "plan/report.h"

static dram_status find_levers(const dram_session *s, dram_lever *levers, int *n)
{
    const dram_graph *graphs[DRAM_PROGRAM_COUNT];
    for (int i = 0; i < s->plan->n_programs; i++) graphs[i] = s->plan->programs[i].graph;
    return dram_plan_levers(graphs, s->plan->n_programs, s->plan, levers, n);
}

/* A plan is never compared with the machine it is made on, so a budget of `auto` is no limit here. */
static int64_t budget_of(const dram_session *s)
{
    return s->cfg->memory.budget > 0 ? s->cfg->memory.budget : 0;
}

dram_status dram_plan_page(const dram_session *s, FILE *out)
{
    dram_lever levers[DRAM_PLAN_LEVERS];
    int n;
    dram_str text = {0};
    TRY(find_levers(s, levers, &n));
    dram_status status = dram_plan_text(s->plan, budget_of(s), 0.0, levers, n, &text);
    if (status == DRAM_OK) {
        fputs(text.text, out);
        fflush(out);
    }
    dram_str_free(&text);
    return status;
}

cJSON *dram_plan_page_json(const dram_session *s)
{
    dram_lever levers[DRAM_PLAN_LEVERS];
    int n;
    if (find_levers(s, levers, &n) != DRAM_OK) return NULL;
    return dram_plan_report(s->plan, budget_of(s), 0.0, levers, n);
}
