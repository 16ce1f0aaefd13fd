#include "report/plan_json.h"

#include <stdio.h>

#include "io/json.h"

static bool add_bytes(cJSON *o, const char *key, int64_t value)
{
    return cJSON_AddNumberToObject(o, key, (double)value) != NULL;
}

static bool add_categories(cJSON *root, const dram_plan *plan)
{
    int64_t bytes[DRAM_CATEGORY_COUNT];
    cJSON *o = cJSON_AddObjectToObject(root, "categories");
    dram_plan_account(plan, bytes);
    for (int c = 0; c < DRAM_CATEGORY_COUNT; c++)
        if (!o || !add_bytes(o, dram_category_name((dram_category)c), bytes[c])) return false;
    return true;
}

static bool add_levers(cJSON *root, const dram_lever *levers, int n)
{
    cJSON *array = cJSON_AddArrayToObject(root, "levers");
    if (!array) return false;
    for (int i = 0; i < n; i++) {
        const dram_lever *l = &levers[i];
        cJSON *o = dram_json_append(array);
        if (!o || !cJSON_AddStringToObject(o, "name", l->name) || !cJSON_AddStringToObject(o, "setting", l->setting) ||
            !cJSON_AddBoolToObject(o, "pulled", l->pulled) || !add_bytes(o, "saved_bytes", l->saved_bytes) ||
            !add_bytes(o, "added_flops", l->added_flops) || !cJSON_AddStringToObject(o, "effect", l->effect) ||
            !cJSON_AddStringToObject(o, "set_by", l->set_by))
            return false;
    }
    return true;
}

static bool add_programs(cJSON *root, const dram_plan *plan)
{
    cJSON *array = cJSON_AddArrayToObject(root, "programs");
    if (!array) return false;
    for (int i = 0; i < plan->n_programs; i++) {
        const dram_program *p = &plan->programs[i];
        cJSON *o = dram_json_append(array);
        if (!o || !cJSON_AddStringToObject(o, "name", p->graph->name) || !add_bytes(o, "nodes", p->graph->n_nodes) ||
            !add_bytes(o, "flops", p->flops) || !add_bytes(o, "peak_bytes", plan->slots_bytes + p->placement.top) ||
            !cJSON_AddStringToObject(o, "peak_at", dram_program_peak_at(p)))
            return false;
    }
    return true;
}

/* Of an update and of the whole run. Seconds are null where no file of times is named. */
static bool add_time(cJSON *root, const dram_plan_facts *f)
{
    double updates = (double)f->updates;
    if (!cJSON_AddNumberToObject(root, "run_flops", updates * (double)f->update_flops)) return false;
    if (f->time.seconds == 0)
        return cJSON_AddNullToObject(root, "update_seconds") && cJSON_AddNullToObject(root, "run_seconds") &&
               cJSON_AddNullToObject(root, "timed_share");
    return cJSON_AddNumberToObject(root, "update_seconds", f->time.seconds) &&
           cJSON_AddNumberToObject(root, "run_seconds", updates * f->time.seconds) &&
           cJSON_AddNumberToObject(root, "timed_share", f->time.timed);
}

/* What the process takes of a GPU, null on the CPU. */
static bool add_process(cJSON *root, const dram_plan *plan)
{
    const dram_profile *p = &plan->profile;
    if (!p->gpu) return cJSON_AddNullToObject(root, "process_bytes") && cJSON_AddNullToObject(root, "overhead_bytes");
    cJSON *o = add_bytes(root, "process_bytes", dram_plan_process(plan))
                   ? cJSON_AddObjectToObject(root, "overhead_bytes")
                   : NULL;
    return o && add_bytes(o, "context", p->context_bytes) && add_bytes(o, "libraries", p->loaded_bytes) &&
           cJSON_AddBoolToObject(o, "measured", p->measured);
}

/* What filling the cache takes, null without one. */
static bool add_cache(cJSON *root, const dram_plan_cache *cache)
{
    if (!cache->directory) return cJSON_AddNullToObject(root, "cache") != NULL;
    cJSON *o = cJSON_AddObjectToObject(root, "cache");
    return o && dram_json_add_text(o, "directory", cache->directory) &&
           cJSON_AddStringToObject(o, "format", cache->format) &&
           add_bytes(o, "fill_arena_bytes", cache->arena_bytes) && add_bytes(o, "fill_host_bytes", cache->host_bytes) &&
           add_bytes(o, "image_disk_bytes", cache->image_bytes);
}

/* What ranks send each other for an update, null with one. */
static bool add_traffic(cJSON *root, const dram_profile *p, const dram_plan_facts *f)
{
    double bytes = 0, calls = 0;
    if (f->ranks <= 1) return cJSON_AddNullToObject(root, "comm") != NULL;
    cJSON *o = cJSON_AddObjectToObject(root, "comm"), *by_op = o ? cJSON_AddObjectToObject(o, "by_op") : NULL;
    for (int op = 0; op < DRAM_OP_COUNT; op++) {
        if (f->traffic.calls[op] == 0) continue;
        cJSON *one = by_op ? cJSON_AddObjectToObject(by_op, dram_op_rows[op].name) : NULL;
        if (!one || !cJSON_AddNumberToObject(one, "bytes_sent", f->traffic.bytes[op]) ||
            !cJSON_AddNumberToObject(one, "calls", f->traffic.calls[op]))
            return false;
        bytes += f->traffic.bytes[op];
        calls += f->traffic.calls[op];
    }
    return by_op && cJSON_AddNumberToObject(o, "bytes_sent", bytes) && cJSON_AddNumberToObject(o, "calls", calls) &&
           (p->gpu ? add_bytes(o, "comm_bytes", p->comm_bytes) : cJSON_AddNullToObject(o, "comm_bytes") != NULL);
}

static bool add_ranks(cJSON *root, const dram_plan *plan, const dram_plan_facts *f)
{
    char hash[17];
    snprintf(hash, sizeof hash, "%016llx", (unsigned long long)dram_plan_hash(plan));
    return cJSON_AddNumberToObject(root, "ranks", f->ranks) &&
           cJSON_AddNumberToObject(root, "effective_batch", f->effective_batch) &&
           cJSON_AddStringToObject(root, "plan_hash", hash) && add_traffic(root, &plan->profile, f);
}

/* Address space besides the arena, null on a GPU. */
static bool add_mapped(cJSON *root, const dram_mapped *mapped)
{
    if (!mapped->blas_bytes) return cJSON_AddNullToObject(root, "mapped_bytes") != NULL;
    cJSON *o = cJSON_AddObjectToObject(root, "mapped_bytes");
    return o && add_bytes(o, "openblas", mapped->blas_bytes) && add_bytes(o, "stacks", mapped->stack_bytes);
}

cJSON *dram_plan_json(const dram_plan *plan, const dram_plan_facts *f)
{
    cJSON *root = cJSON_CreateObject();
    bool fits = !f->budget_bytes || plan->arena_bytes <= f->budget_bytes;
    if (root && cJSON_AddBoolToObject(root, "fits", fits) &&
        (f->budget_bytes ? add_bytes(root, "budget_bytes", f->budget_bytes)
                         : cJSON_AddNullToObject(root, "budget_bytes") != NULL) &&
        add_bytes(root, "planned_peak_bytes", plan->arena_bytes) && add_bytes(root, "arena_bytes", plan->arena_bytes) &&
        add_bytes(root, "host_bytes", plan->host_bytes) && add_bytes(root, "max_live_bytes", plan->max_live_bytes) &&
        add_process(root, plan) && add_mapped(root, &f->mapped) && add_bytes(root, "floor_bytes", f->floor_bytes) &&
        cJSON_AddNumberToObject(root, "recompute_ratio", f->recompute_ratio) &&
        cJSON_AddNumberToObject(root, "recompute_student_ratio", f->recompute_student_ratio) &&
        dram_json_add_text(root, "recompute", f->recompute.text) && dram_json_add_text(root, "pulled", f->pulled) &&
        add_bytes(root, "update_flops", f->update_flops) && add_bytes(root, "teacher_flops", f->teacher_flops) &&
        add_time(root, f) && add_categories(root, plan) && add_levers(root, f->levers, f->n_levers) &&
        add_programs(root, plan) && add_cache(root, &f->cache) && add_ranks(root, plan, f))
        return root;
    cJSON_Delete(root);
    dram_fail(DRAM_ERR_MEMORY, "no memory for the report of the plan");
    return NULL;
}
