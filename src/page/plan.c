/* The plan of a run on its page: what takes the bytes, the arena's picture, the levers. */
#include <math.h>

#include "page/html.h"
#include "page/parts.h"
#include "report/markup.h"
#include "report/plan_svg.h"
#include "session/budget.h"
#include "session/weights.h"

static dram_status make(const dram_config *cfg, dram_page_plan *p)
{
    dram_config own = *cfg; /* its strings stay the history's */
    if (dram_weights_native(cfg, &own.sam_distill.teacher.native_size) != DRAM_OK) dram_error_clear();
    TRY(dram_budget_plan(&own, DRAM_SET_TRAIN, 0, &p->session));
    dram_status status = dram_plan_facts_find(&p->session, &p->facts);
    p->there = status == DRAM_OK;
    if (!p->there) {
        dram_plan_facts_free(&p->facts);
        dram_session_close(&p->session);
    }
    return status;
}

dram_status dram_page_plan_make(dram_history *r, dram_page_plan *p)
{
    const dram_config *cfg = dram_history_cfg(r);
    const dram_log *m = &r->metrics;
    *p = (dram_page_plan){0};
    if (!cfg) return DRAM_OK;
    dram_status status = make(cfg, p);
    if (status == DRAM_ERR_MEMORY) return status;
    if (status != DRAM_OK) {
        dram_history_warn(r, "its plan cannot be made again: %s", dram_error_text());
        dram_error_clear();
        return DRAM_OK;
    }
    double had = m->n ? m->column[DRAM_METRIC_PLANNED][m->n - 1] : NAN;
    if (isfinite(had) && had != (double)p->session.plan->arena_bytes)
        dram_history_warn(r,
                          "the plan that is made here takes %lld bytes, that of the run took %.0f: the arena's picture "
                          "and the levers are of the first",
                          (long long)p->session.plan->arena_bytes, had);
    return DRAM_OK;
}

void dram_page_plan_free(dram_page_plan *p)
{
    if (p->there) {
        dram_plan_facts_free(&p->facts);
        dram_session_close(&p->session);
    }
    p->there = false;
}

/* ---- sections ---- */

static void add_row(const char *name, int64_t bytes, int64_t all, dram_str *out)
{
    double share = all ? (double)bytes / (double)all : 0;
    dram_str_add(out, "<tr><th scope=\"row\">");
    dram_markup_add(out, name);
    dram_str_add(out, "</th><td class=\"n\">");
    dram_html_number((double)bytes, DRAM_UNIT_BYTES, NULL, out);
    dram_str_add(
        out,
        "</td><td class=\"n\">%.1f %%</td><td><span class=\"meter\"><i style=\"width:%.1f%%\"></i></span></td></tr>\n",
        100 * share, 100 * fmin(share, 1));
}

void dram_page_add_categories(const dram_page_plan *p, dram_str *out)
{
    int64_t bytes[DRAM_CATEGORY_COUNT];
    if (!p->there) return;
    const dram_plan *plan = p->session.plan;
    dram_plan_account(plan, bytes);
    dram_str_add(out, "<div class=\"scroll\"><table class=\"slim\"><thead><tr><th>when the arena is fullest</th><th "
                      "class=\"n\">bytes</th>"
                      "<th class=\"n\">share</th><th></th></tr></thead><tbody>\n");
    for (int c = 0; c < DRAM_CATEGORY_COUNT; c++)
        if (bytes[c]) add_row(dram_category_name((dram_category)c), bytes[c], plan->arena_bytes, out);
    add_row("arena", plan->arena_bytes, plan->arena_bytes, out);
    add_row("floor, by exact levers", p->facts.floor_bytes, plan->arena_bytes, out);
    dram_str_add(out, "</tbody></table></div>\n");
}

dram_status dram_page_add_arena(const dram_page_plan *p, dram_str *out)
{
    if (!p->there) return DRAM_OK;
    dram_html_heading("The arena of one step", out);
    dram_str_add(
        out, "<p>Each rectangle is a tensor, from the node that makes it to its last reader, at its offset. Point at "
             "one for its name, its shape and its bytes.</p>\n<div class=\"arena\">\n");
    TRY(dram_plan_svg(p->session.plan, p->session.plan->peak_program, out));
    dram_str_add(out, "</div>\n");
    return DRAM_OK;
}

void dram_page_add_levers(const dram_page_plan *p, dram_str *out)
{
    if (!p->there || p->facts.n_levers == 0) return;
    dram_html_heading("Levers, and their prices", out);
    dram_str_add(
        out,
        "<p>What each way to spend fewer bytes is worth in this very plan. Price is in FLOPs of an update; "
        "&#8220;exact&#8221; changes no bit of the results.</p>\n<div class=\"scroll\"><table><thead><tr><th>lever</th>"
        "<th>setting</th><th class=\"n\">saves</th><th class=\"n\">would save</th>"
        "<th class=\"n\">FLOPs</th><th>results</th></tr></thead><tbody>\n");
    for (int pulled = 1; pulled >= 0; pulled--)
        for (int i = 0; i < p->facts.n_levers; i++) {
            const dram_lever *l = &p->facts.levers[i];
            double before = (double)p->facts.update_flops - (l->pulled ? (double)l->added_flops : 0);
            if (l->pulled != pulled) continue;
            dram_str_add(out, "<tr%s><th scope=\"row\">", pulled ? "" : " class=\"off\"");
            dram_markup_add(out, l->name);
            dram_str_add(out, "</th><td>");
            dram_markup_add(out, l->setting);
            dram_str_add(out, "</td><td class=\"n\">");
            if (pulled) dram_html_number((double)l->saved_bytes, DRAM_UNIT_BYTES, NULL, out);
            dram_str_add(out, "</td><td class=\"n\">");
            if (!pulled) dram_html_number((double)l->saved_bytes, DRAM_UNIT_BYTES, NULL, out);
            dram_str_add(out, "</td><td class=\"n\">%+.2f %%</td><td>%s</td></tr>\n",
                         before > 0 ? 100 * (double)l->added_flops / before : 0, l->effect);
        }
    dram_str_add(out, "</tbody></table></div>\n");
}
