#include "report/plan_text.h"

#include <stdio.h>
#include <string.h>

#include "plan/alive.h"

enum { LARGEST = 8, WIDTH = 100 };

typedef struct {
    const dram_plan *plan;
    const dram_plan_facts *facts;
    const dram_program *fullest; /* NULL: there is no program */
    dram_str *out;
    const char *unit; /* "MiB", or "GiB" for a plan of ten or more */
    double unit_bytes;
    int decimals; /* small plans need more of them */
} page;

static double in_unit(const page *p, int64_t bytes)
{
    return (double)bytes / p->unit_bytes;
}

static page page_of(const dram_plan *plan, const dram_plan_facts *facts, dram_str *out)
{
    page p = {.plan = plan, .facts = facts, .fullest = dram_plan_fullest(plan), .out = out};
    bool large = plan->arena_bytes >= (int64_t)10 << 30;
    p.unit = large ? "GiB" : "MiB";
    p.unit_bytes = large ? 0x1p30 : 0x1p20;
    p.decimals = plan->arena_bytes < 1 << 20 ? 4 : large || plan->arena_bytes < 100 << 20 ? 2 : 1;
    return p;
}

static double share(int64_t part, int64_t whole)
{
    return whole ? 100.0 * (double)part / (double)whole : 0;
}

/* The text cut to `width` columns in front, where names say least: "...b2.conv1". */
static const char *cut_front(const char *text, int width, char *cut, size_t size)
{
    int n = (int)strlen(text);
    if (n <= width) return text;
    snprintf(cut, size, "...%s", text + (n - width + 3));
    return cut;
}

static void add_bytes(const page *p, const char *before, int64_t bytes, const char *after)
{
    dram_str_add(p->out, "%s%.*f %s%s", before, p->decimals, in_unit(p, bytes), p->unit, after);
}

static void add_duration(const page *p, double seconds)
{
    if (seconds < 90)
        dram_str_add(p->out, "%.3g s", seconds);
    else if (seconds < 90 * 60)
        dram_str_add(p->out, "%.0f min", seconds / 60);
    else if (seconds < 48 * 3600)
        dram_str_add(p->out, "%.1f h", seconds / 3600);
    else
        dram_str_add(p->out, "%.1f days", seconds / 86400);
}

/* How long the run takes; without measured times only how much work it is. */
static void add_time(const page *p)
{
    const dram_plan_facts *f = p->facts;
    double tera = (double)f->updates * (double)f->update_flops * 1e-12;
    if (!f->updates) return;
    if (f->time.seconds > 0) {
        dram_str_add(p->out, "  time: about %.3g s an update, ", f->time.seconds);
        add_duration(p, (double)f->updates * f->time.seconds);
        dram_str_add(p->out, " in all, by memory.profile");
        if (f->time.timed < 0.995) dram_str_add(p->out, ", which has %.0f %% of the FLOPs", 100.0 * f->time.timed);
        dram_str_add(p->out, "\n");
        return;
    }
    dram_str_add(p->out, "  time: %.*f TFLOP in all, at 1 TFLOP/s ", tera < 1 ? 3 : tera < 100 ? 1 : 0, tera);
    add_duration(p, tera);
    dram_str_add(p->out, "; `dram plan --calibrate` measures this machine\n");
}

/* What counts against `ulimit -v` besides. */
static void add_mapped(const page *p)
{
    const dram_mapped *mapped = &p->facts->mapped;
    if (!mapped->blas_bytes) return;
    add_bytes(p, "  address space: ", mapped->blas_bytes + mapped->stack_bytes, " besides, which `ulimit -v` counts: ");
    add_bytes(p, "OpenBLAS's buffers ", mapped->blas_bytes, ", ");
    add_bytes(p, "stacks ", mapped->stack_bytes, "\n");
}

static void add_verdict(const page *p)
{
    const dram_plan_facts *facts = p->facts;
    int64_t arena = p->plan->arena_bytes, budget = facts->budget_bytes;
    if (facts->heading.text) dram_str_add(p->out, "%s\n", facts->heading.text);
    if (!budget) {
        add_bytes(p, "needs ", arena, "; no budget is set\n");
    } else if (arena <= budget) {
        add_bytes(p, "fits: ", arena, "");
        add_bytes(p, " of a budget of ", budget, "");
        add_bytes(p, ", ", budget - arena, " to spare\n");
    } else {
        add_bytes(p, "does not fit: ", arena, "");
        add_bytes(p, ", ", arena - budget, "");
        add_bytes(p, " more than the budget of ", budget, "\n");
    }
    if (facts->pulled) dram_str_add(p->out, "  the planner pulled: %s\n", facts->pulled);
    if (facts->recompute.text)
        dram_str_add(p->out, "  recompute: %s: %.1f %% of the student's FLOPs again, %.1f %% of the step's\n",
                     facts->recompute.text, 100.0 * facts->recompute_student_ratio, 100.0 * facts->recompute_ratio);
    add_time(p);
    add_mapped(p);
}

static void add_row(const page *p, const char *name, int64_t bytes, const char *remark)
{
    dram_str_add(p->out, "  %-20s%12.*f%8.1f %%%s%s\n", name, p->decimals, in_unit(p, bytes),
                 share(bytes, p->plan->max_live_bytes), *remark ? "   " : "", remark);
}

/* Categories with nothing alive at the peak have a dash: they have their bytes at another time. A mean of weights, which
 * is always alive, is left out where there is none. */
static void add_categories(const page *p)
{
    const dram_plan *plan = p->plan;
    int64_t bytes[DRAM_CATEGORY_COUNT];
    char lost[64];
    dram_plan_account(plan, bytes);
    dram_str_add(p->out, "\n%-22s%12s%10s\n", "bytes when fullest", p->unit, "share");
    for (int c = 0; c < DRAM_CATEGORY_COUNT; c++) {
        if (bytes[c])
            add_row(p, dram_category_name((dram_category)c), bytes[c], "");
        else if (c != DRAM_CATEGORY_MEAN_WEIGHTS)
            dram_str_add(p->out, "  %-20s%12s%10s\n", dram_category_name((dram_category)c), "-", "-");
    }
    snprintf(lost, sizeof lost, "%.2f %% lost between buffers",
             share(plan->arena_bytes - plan->max_live_bytes, plan->max_live_bytes));
    add_row(p, "max live", plan->max_live_bytes, "the most bytes alive at one node");
    add_row(p, "arena", plan->arena_bytes, lost);
    if (plan->host_bytes)
        dram_str_add(p->out, "  %-20s%12.*f             in host memory besides\n", "host arena", p->decimals,
                     in_unit(p, plan->host_bytes));
    add_row(p, "floor", p->facts->floor_bytes, "the least that exact levers can reach");
}

/* What the whole process takes of a GPU. */
static void add_process(const page *p)
{
    const dram_profile *profile = &p->plan->profile;
    const char *how = profile->measured ? "measured" : "assumed until `dram plan --calibrate` measures it";
    const struct {
        const char *name, *remark;
        int64_t bytes;
    } rows[] = {{"arena", "", p->plan->arena_bytes},
                {"driver's context", how, profile->context_bytes},
                {"libraries, kernels", how, profile->loaded_bytes},
                {"NCCL", "assumed", profile->comm_bytes},
                {"process", "", dram_plan_process(p->plan)}};
    if (!profile->gpu) return;
    dram_str_add(p->out, "\n%-22s%12s\n", "process on the GPU", p->unit);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (rows[i].bytes)
            dram_str_add(p->out, "  %-20s%12.*f%s%s\n", rows[i].name, p->decimals, in_unit(p, rows[i].bytes),
                         *rows[i].remark ? "   " : "", rows[i].remark);
}

static void add_programs(const page *p)
{
    char name[WIDTH], at[WIDTH], head[16];
    snprintf(head, sizeof head, "peak %s", p->unit);
    dram_str_add(p->out, "\n%-22s%8s%12s%12s  %s\n", "program", "nodes", "GFLOP", head, "fullest at");
    for (int i = 0; i < p->plan->n_programs; i++) {
        const dram_program *program = &p->plan->programs[i];
        dram_str_add(p->out, "  %-20s%8d%12.3f%12.*f  %s\n", cut_front(program->graph->name, 19, name, sizeof name),
                     program->graph->n_nodes, (double)program->flops * 1e-9, p->decimals,
                     in_unit(p, p->plan->slots_bytes + program->placement.top),
                     program->graph->n_nodes ? cut_front(dram_program_peak_at(program), 44, at, sizeof at) : "-");
    }
}

/* Those that are pulled with what they save, those that are left with what they would save. FLOPs are a share of an
 * update's without the lever. */
static void add_levers(const page *p, bool pulled)
{
    const dram_plan_facts *facts = p->facts;
    char head[24];
    bool begun = false;
    snprintf(head, sizeof head, "%s %s", pulled ? "saves" : "would save", p->unit);
    for (int i = 0; i < facts->n_levers; i++) {
        const dram_lever *l = &facts->levers[i];
        if (l->pulled != pulled) continue;
        if (!begun)
            dram_str_add(p->out, "\n%-22s%-10s%-10s%16s%12s  %s\n", pulled ? "levers pulled" : "levers left", "setting",
                         "set by", head, "FLOPs", "results");
        begun = true;
        dram_str_add(p->out, "  %-20s%-10s%-10s%16.*f%+10.2f %%  %s\n", l->name, l->setting, l->set_by, p->decimals,
                     in_unit(p, l->saved_bytes),
                     share(l->added_flops, facts->update_flops - (pulled ? l->added_flops : 0)), l->effect);
    }
}

static void add_largest(const page *p)
{
    dram_living list[LARGEST];
    if (!p->fullest) return;
    const dram_graph *g = p->fullest->graph;
    int n = dram_plan_largest(p->plan, list, LARGEST);
    char head[64];
    snprintf(head, sizeof head, "largest in %s", g->name);
    dram_str_add(p->out, "\n%-22.22s%12s  %-5s %-20s %s\n", head, p->unit, "type", "shape", "name");
    for (int i = 0; i < n; i++) {
        const dram_living *l = &list[i];
        dram_category category = DRAM_CATEGORY_WORKSPACE;
        char shape[96] = "", cut[WIDTH], full[320];
        const char *type = "";
        if (l->kind == DRAM_LIVING_VALUE) {
            const dram_value *v = g->values[l->index];
            category = v->category;
            type = dram_dtype_name(v->dtype);
            dram_format_shape(&v->shape, shape, sizeof shape);
        } else if (l->kind == DRAM_LIVING_SLOT) {
            const dram_slot *s = p->plan->slots->at[l->index];
            category = s->category;
            type = dram_dtype_name(s->dtype);
            dram_format_shape(&s->shape, shape, sizeof shape);
        }
        dram_str_add(p->out, "  %-20s%12.*f  %-5s %-20.20s %s\n", dram_category_name(category), p->decimals,
                     in_unit(p, l->bytes), type, shape,
                     cut_front(dram_living_name(p->plan, l, full, sizeof full), 36, cut, sizeof cut));
    }
    if (g->backward_begin)
        dram_str_add(p->out, "  (~2: the second value of that name; .again: made again in the backward)\n");
}

dram_status dram_plan_text(const dram_plan *plan, const dram_plan_facts *facts, dram_str *out)
{
    const page p = page_of(plan, facts, out);
    add_verdict(&p);
    add_categories(&p);
    add_process(&p);
    add_programs(&p);
    add_levers(&p, true);
    add_levers(&p, false);
    add_largest(&p);
    return out->failed ? dram_fail(DRAM_ERR_MEMORY, "no memory for the text of the plan") : DRAM_OK;
}
