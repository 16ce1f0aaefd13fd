#include "plan/plan.h"

#include <string.h>

#include "base/alloc.h"

static int64_t round_up(int64_t bytes, int64_t align)
{
    return (bytes + align - 1) / align * align;
}

static bool has_slot_bytes(const dram_value *v)
{
    return v->slot != DRAM_NONE;
}

/* First and last node of each value: from its producer (the program's start for a staged input) to its last reader. */
static void find_lifetimes(dram_program *p, dram_plan_options options)
{
    const dram_graph *g = p->graph;
    int32_t end = g->n_nodes ? g->n_nodes - 1 : 0;
    for (int v = 0; v < g->n_values; v++) {
        const dram_value *value = g->values[v];
        p->value[v].first = value->producer == DRAM_NONE ? 0 : value->producer;
        p->value[v].last = p->value[v].first;
        p->value[v].alias = DRAM_NONE;
    }
    for (int i = 0; i < g->n_nodes; i++)
        for (int k = 0; k < g->nodes[i]->n_in; k++)
            if (g->nodes[i]->in[k] != DRAM_NONE) p->value[g->nodes[i]->in[k]].last = i;
    for (int v = 0; v < g->n_values; v++) {
        const dram_value *value = g->values[v];
        bool whole = has_slot_bytes(value);
        if (whole) p->value[v].first = 0;
        if (whole || value->output || !options.eager_free) p->value[v].last = end;
    }
}

/* An update must come after every reader of what it overwrites: a reader after it would see the new bytes. */
static dram_status check_updates(const dram_graph *g)
{
    for (int i = 0; i < g->n_nodes; i++) {
        const dram_node *node = g->nodes[i];
        for (int o = 0; o < node->n_out; o++) {
            int from = dram_op_updates(node->op, o);
            if (from == DRAM_NONE) continue;
            for (int j = i + 1; j < g->n_nodes; j++)
                for (int k = 0; k < g->nodes[j]->n_in; k++)
                    if (g->nodes[j]->in[k] == node->in[from])
                        return dram_fail(DRAM_ERR_INTERNAL, "%s: %s reads %s after %s has updated it", g->name,
                                         g->nodes[j]->name, g->values[node->in[from]]->name, node->name);
        }
    }
    return DRAM_OK;
}

/* Whether output 0 of node i may take over the bytes of its input k. */
static bool may_take(const dram_program *p, int i, int k)
{
    const dram_graph *g = p->graph;
    const dram_node *node = g->nodes[i];
    dram_val v = node->in[k];
    if (v == DRAM_NONE || !(dram_op_rows[node->op].alias >> k & 1)) return false;
    const dram_value *in = g->values[v], *out = g->values[node->out[0]];
    if (in->kind != DRAM_VALUE_TEMP || has_slot_bytes(in) || in->output || p->value[v].last != i) return false;
    if (in->space != out->space || in->dtype != out->dtype) return false;
    if (dram_elements(&in->shape) != dram_elements(&out->shape)) return false;
    for (int j = 0; j < node->n_in; j++)
        if (j != k && node->in[j] == v) return false;
    return true;
}

static void choose_aliases(dram_program *p, dram_plan_options options)
{
    const dram_graph *g = p->graph;
    for (int i = 0; i < g->n_nodes; i++) {
        const dram_node *node = g->nodes[i];
        for (int o = 0; o < node->n_out; o++) {
            int from = dram_op_updates(node->op, o);
            if (from != DRAM_NONE) p->value[node->out[o]].alias = node->in[from];
        }
        if (!options.in_place || p->value[node->out[0]].alias != DRAM_NONE) continue;
        for (int k = 0; k < node->n_in; k++)
            if (may_take(p, i, k)) {
                p->value[node->out[0]].alias = node->in[k];
                break;
            }
    }
}

static dram_val storage_of(const dram_program *p, dram_val v)
{
    while (p->value[v].alias != DRAM_NONE) v = p->value[v].alias;
    return v;
}

/* One buffer for each storage that is not a slot, and one for each workspace; owner[i] is the value, or -1 - node. */
static int list_buffers(dram_program *p, dram_buffer *buffers, int32_t *owner)
{
    const dram_graph *g = p->graph;
    int n = 0;
    for (int v = 0; v < g->n_values; v++) {
        if (has_slot_bytes(g->values[v]) || p->value[v].alias != DRAM_NONE) continue;
        owner[n] = v;
        buffers[n++] = (dram_buffer){.bytes = p->value[v].bytes, .first = p->value[v].first, .last = p->value[v].last};
    }
    /* A storage lives until the last value that took it over dies. */
    for (int v = 0; v < g->n_values; v++) {
        if (p->value[v].alias == DRAM_NONE || has_slot_bytes(g->values[v])) continue;
        dram_val root = storage_of(p, v);
        for (int b = 0; b < n; b++)
            if (owner[b] == root && p->value[v].last > buffers[b].last) buffers[b].last = p->value[v].last;
    }
    for (int i = 0; i < g->n_nodes; i++)
        if (p->workspace_bytes[i]) {
            owner[n] = -1 - i;
            buffers[n++] = (dram_buffer){.bytes = p->workspace_bytes[i], .first = i, .last = i};
        }
    return n;
}

static void account_peak(dram_program *p, const dram_buffer *buffers, const int32_t *owner, int n)
{
    for (int b = 0; b < n; b++) {
        int32_t at = p->placement.max_live_at;
        if (buffers[b].first > at || buffers[b].last < at) continue;
        dram_category c = DRAM_CATEGORY_WORKSPACE;
        if (owner[b] >= 0) {
            dram_val v = owner[b]; /* the account names the value that holds the storage now */
            for (int w = 0; w < p->graph->n_values; w++)
                if (p->value[w].first <= at && p->value[w].last >= at && storage_of(p, w) == owner[b]) v = w;
            c = p->graph->values[v]->category;
        }
        p->live_at_peak[c] += buffers[b].bytes;
    }
}

/* Whether input k is given and no earlier input is the same value. */
static bool first_mention(const dram_node *node, int k)
{
    for (int j = 0; j < k; j++)
        if (node->in[j] == node->in[k]) return false;
    return node->in[k] != DRAM_NONE;
}

static void find_floor(dram_program *p)
{
    const dram_graph *g = p->graph;
    for (int i = 0; i < g->n_nodes; i++) {
        const dram_node *node = g->nodes[i];
        int64_t bytes = p->workspace_bytes[i];
        for (int k = 0; k < node->n_in; k++)
            if (first_mention(node, k) && !has_slot_bytes(g->values[node->in[k]])) bytes += p->value[node->in[k]].bytes;
        for (int o = 0; o < node->n_out; o++)
            if (p->value[node->out[o]].alias == DRAM_NONE) bytes += p->value[node->out[o]].bytes;
        if (bytes <= p->floor_bytes) continue;
        p->floor_bytes = bytes;
        p->floor_at = i;
    }
}

static void set_offsets(const dram_plan *plan, dram_program *p, const dram_buffer *buffers, const int32_t *owner, int n)
{
    const dram_graph *g = p->graph;
    for (int b = 0; b < n; b++) {
        int64_t offset = plan->slots_bytes + buffers[b].offset;
        if (owner[b] >= 0)
            p->value[owner[b]].offset = offset;
        else
            p->workspace_offset[-1 - owner[b]] = offset;
    }
    for (int v = 0; v < g->n_values; v++) {
        if (has_slot_bytes(g->values[v]))
            p->value[v].offset = plan->slot_offset[g->values[v]->slot];
        else if (p->value[v].alias != DRAM_NONE)
            p->value[v].offset = p->value[storage_of(p, v)].offset;
    }
}

static dram_status plan_program(const dram_plan *plan, const dram_graph *g, dram_program *p)
{
    dram_status status = DRAM_OK;
    dram_buffer *buffers = NULL;
    int32_t *owner = NULL;
    size_t n_values = (size_t)g->n_values + 1, n_nodes = (size_t)g->n_nodes + 1;
    int a, b;
    p->graph = g;
    p->value = dram_calloc(n_values, sizeof *p->value);
    p->workspace_offset = dram_calloc(n_nodes, sizeof *p->workspace_offset);
    p->workspace_bytes = dram_calloc(n_nodes, sizeof *p->workspace_bytes);
    buffers = dram_calloc(n_values + n_nodes, sizeof *buffers);
    owner = dram_calloc(n_values + n_nodes, sizeof *owner);
    if (!p->value || !p->workspace_offset || !p->workspace_bytes || !buffers || !owner) {
        status = dram_fail(DRAM_ERR_MEMORY, "no memory to plan %s", g->name);
        goto done;
    }
    TRY_GOTO(check_updates(g), done);
    for (int v = 0; v < g->n_values; v++)
        p->value[v].bytes = round_up(dram_value_bytes(g->values[v]), plan->profile.align);
    for (int i = 0; i < g->n_nodes; i++) {
        p->workspace_bytes[i] = round_up(dram_node_workspace(g, g->nodes[i], &plan->profile), plan->profile.align);
        p->flops += dram_node_flops(g, g->nodes[i]);
    }
    find_lifetimes(p, plan->options);
    choose_aliases(p, plan->options);
    int n = list_buffers(p, buffers, owner);
    TRY_GOTO(dram_place(buffers, n, &p->placement), done);
    int shared = dram_place_overlap(buffers, n, &a, &b);
    if (shared) {
        status = shared < 0 ? dram_fail(DRAM_ERR_MEMORY, "no memory to plan %s", g->name)
                            : dram_fail(DRAM_ERR_INTERNAL, "%s: the plan lets two living buffers share bytes", g->name);
        goto done;
    }
    set_offsets(plan, p, buffers, owner, n);
    account_peak(p, buffers, owner, n);
    find_floor(p);
done:
    dram_free(buffers);
    dram_free(owner);
    return status;
}

static dram_status place_slots(dram_plan *plan)
{
    plan->slot_offset = dram_calloc((size_t)plan->slots->n + 1, sizeof *plan->slot_offset);
    if (!plan->slot_offset) return dram_fail(DRAM_ERR_MEMORY, "no memory to plan the weights");
    for (int s = 0; s < plan->slots->n; s++) {
        const dram_slot *slot = plan->slots->at[s];
        int64_t bytes = dram_plan_slot_bytes(plan, s);
        plan->slot_offset[s] = plan->slots_bytes;
        plan->slots_bytes += bytes;
        plan->slots_by_category[slot->category] += bytes;
    }
    return DRAM_OK;
}

dram_status dram_plan_make(const dram_graph *const *graphs, int n, const dram_slots *slots, const dram_profile *profile,
                           dram_plan_options options, dram_plan **out)
{
    dram_status status;
    dram_plan *plan = dram_calloc(1, sizeof *plan);
    if (!plan) return dram_fail(DRAM_ERR_MEMORY, "no memory for the plan");
    plan->profile = *profile;
    plan->options = options;
    plan->slots = slots;
    plan->programs = dram_calloc((size_t)n + 1, sizeof *plan->programs);
    if (!plan->programs) {
        status = dram_fail(DRAM_ERR_MEMORY, "no memory for the plan");
        goto failed;
    }
    TRY_GOTO(place_slots(plan), failed);
    plan->arena_bytes = plan->max_live_bytes = plan->floor_bytes = plan->slots_bytes;
    plan->n_programs = n;
    for (int i = 0; i < n; i++) {
        dram_program *p = &plan->programs[i];
        TRY_GOTO(plan_program(plan, graphs[i], p), failed);
        if (p->placement.top > plan->programs[plan->peak_program].placement.top) plan->peak_program = i;
        if (plan->slots_bytes + p->placement.top > plan->arena_bytes)
            plan->arena_bytes = plan->slots_bytes + p->placement.top;
        if (plan->slots_bytes + p->placement.max_live > plan->max_live_bytes)
            plan->max_live_bytes = plan->slots_bytes + p->placement.max_live;
        if (plan->slots_bytes + p->floor_bytes > plan->floor_bytes)
            plan->floor_bytes = plan->slots_bytes + p->floor_bytes;
    }
    *out = plan;
    return DRAM_OK;
failed:
    dram_plan_free(plan);
    return status;
}

void dram_plan_free(dram_plan *plan)
{
    if (!plan) return;
    for (int i = 0; i < plan->n_programs; i++) {
        dram_free(plan->programs[i].value);
        dram_free(plan->programs[i].workspace_offset);
        dram_free(plan->programs[i].workspace_bytes);
    }
    dram_free(plan->programs);
    dram_free(plan->slot_offset);
    dram_free(plan);
}

int64_t dram_plan_slot_bytes(const dram_plan *plan, int s)
{
    const dram_slot *slot = plan->slots->at[s];
    return round_up(dram_elements(&slot->shape) * dram_dtype_bytes(slot->dtype), plan->profile.align);
}

const dram_program *dram_plan_fullest(const dram_plan *plan)
{
    const dram_program *peak = plan->n_programs ? plan->programs : NULL;
    for (int i = 0; i < plan->n_programs; i++)
        if (plan->programs[i].placement.max_live > peak->placement.max_live) peak = &plan->programs[i];
    return peak;
}

void dram_plan_account(const dram_plan *plan, int64_t bytes[DRAM_CATEGORY_COUNT])
{
    const dram_program *peak = dram_plan_fullest(plan);
    for (int c = 0; c < DRAM_CATEGORY_COUNT; c++)
        bytes[c] = plan->slots_by_category[c] + (peak ? peak->live_at_peak[c] : 0);
}

const char *dram_program_peak_at(const dram_program *program)
{
    const dram_graph *g = program->graph;
    return g->n_nodes ? g->nodes[program->placement.max_live_at]->name : "";
}
