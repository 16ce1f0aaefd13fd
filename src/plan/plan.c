#include "plan/plan.h"

#include <string.h>

#include "base/alloc.h"
#include "ir/readers.h"
#include "plan/lifetimes.h"

static bool has_slot_bytes(const dram_value *v)
{
    return v->slot != DRAM_NONE;
}

/* Only a copy has its input and output on different sides of device and host. */
static dram_status check_spaces(const dram_graph *g)
{
    for (int i = 0; i < g->n_nodes; i++) {
        const dram_node *node = g->nodes[i];
        dram_space space = dram_node_space(g, node);
        for (int k = 0; k < node->n_in + node->n_out && node->op != DRAM_OP_copy; k++) {
            dram_val v = k < node->n_in ? node->in[k] : node->out[k - node->n_in];
            if (v == DRAM_NONE) continue;
            dram_space other = g->values[v]->space;
            if ((space == DRAM_SPACE_DEVICE && other == DRAM_SPACE_HOST) ||
                (space == DRAM_SPACE_HOST && other == DRAM_SPACE_DEVICE))
                return dram_fail(DRAM_ERR_INTERNAL, "%s: %s runs in one space and %s is in another", g->name,
                                 node->name, g->values[v]->name);
        }
    }
    return DRAM_OK;
}

/* What a program is planned with. */
typedef struct {
    const dram_plan *plan;
    dram_program *p;
    const dram_graph *g;
    dram_val *storage;    /* of each value */
    dram_buffer *buffers; /* of one space */
    int32_t *owner;       /* of each buffer: a value, or -1 - node for its workspace, or REGION */
    int32_t *buffer_of;   /* of each value that is an owner */
    int32_t *done;        /* of each node: to whose end it holds its workspace */
    int n;
} layout;

/* All of the teacher's activations as one buffer, where they are kept apart; the workspaces of the comm queue as one. */
enum { REGION = INT32_MIN, TURNS };

typedef enum { ALL, TEACHERS, OTHERS } part;

static void add_buffer(layout *l, int32_t owner, int64_t bytes, int32_t first, int32_t last)
{
    l->owner[l->n] = owner;
    l->buffers[l->n++] = (dram_buffer){.bytes = bytes, .first = first, .last = last};
}

static bool takes_turns(const dram_node *node)
{
    return node->queue == DRAM_QUEUE_COMM;
}

/* The comm queue's nodes run one after another, but for neighbours, which may go in one call. So their workspaces take
 * turns in one buffer, from the first of them to where the last is joined; neighbours' lie side by side. */
static void list_turns(layout *l, dram_space space)
{
    const dram_graph *g = l->g;
    int64_t bytes = 0, side = 0;
    int32_t first = DRAM_NONE, last = 0;
    for (int i = 0; i < g->n_nodes; i++) {
        if (!takes_turns(g->nodes[i])) side = 0;
        if (!takes_turns(g->nodes[i]) || !l->p->workspace_bytes[i] || dram_node_space(g, g->nodes[i]) != space)
            continue;
        l->p->workspace_offset[i] = side;
        side += l->p->workspace_bytes[i];
        if (side > bytes) bytes = side;
        if (first == DRAM_NONE) first = i;
        if (l->done[i] > last) last = l->done[i];
    }
    if (bytes) add_buffer(l, TURNS, bytes, first, last);
}

static void move_turns(const layout *l, dram_space space, int64_t base)
{
    for (int i = 0; i < l->g->n_nodes; i++)
        if (takes_turns(l->g->nodes[i]) && l->p->workspace_bytes[i] && dram_node_space(l->g, l->g->nodes[i]) == space)
            l->p->workspace_offset[i] += base;
}

/* One buffer for each storage of the space that is not a slot, and one for each workspace. */
static void list_buffers(layout *l, dram_space space, part which)
{
    const dram_graph *g = l->g;
    const dram_program *p = l->p;
    l->n = 0;
    for (int v = 0; v < g->n_values; v++) {
        const dram_value *value = g->values[v];
        l->buffer_of[v] = -1;
        if (has_slot_bytes(value) || p->value[v].alias != DRAM_NONE || value->space != space) continue;
        if (which != ALL && dram_of_teacher(value) != (which == TEACHERS)) continue;
        l->buffer_of[v] = l->n;
        add_buffer(l, v, p->value[v].bytes, p->value[v].first, p->value[v].last);
    }
    /* A storage lives until the last value that took it over dies. */
    for (int v = 0; v < g->n_values; v++) {
        int32_t b = has_slot_bytes(g->values[v]) ? -1 : l->buffer_of[l->storage[v]];
        if (b >= 0 && p->value[v].last > l->buffers[b].last) l->buffers[b].last = p->value[v].last;
    }
    if (which == TEACHERS) return;
    list_turns(l, space);
    for (int i = 0; i < g->n_nodes; i++)
        if (p->workspace_bytes[i] && !takes_turns(g->nodes[i]) && dram_node_space(g, g->nodes[i]) == space)
            add_buffer(l, -1 - i, p->workspace_bytes[i], i, l->done[i]);
}

static dram_status place(layout *l, dram_placement *placement)
{
    int a, b;
    TRY(dram_place(l->buffers, l->n, placement));
    int shared = dram_place_overlap(l->buffers, l->n, &a, &b);
    if (shared < 0) return dram_fail(DRAM_ERR_MEMORY, "no memory to plan %s", l->g->name);
    if (shared) return dram_fail(DRAM_ERR_INTERNAL, "%s: the plan lets two living buffers share bytes", l->g->name);
    return DRAM_OK;
}

/* Adds where the buffers begin to what they lie in: a space's slots, or the region. */
static void set_offsets(layout *l, dram_space space, int64_t base)
{
    for (int b = 0; b < l->n; b++) {
        int64_t offset = base + l->buffers[b].offset;
        if (l->owner[b] >= 0)
            l->p->value[l->owner[b]].offset = offset;
        else if (l->owner[b] == TURNS)
            move_turns(l, space, offset);
        else if (l->owner[b] != REGION)
            l->p->workspace_offset[-1 - l->owner[b]] = offset;
    }
}

static void account_peak(layout *l)
{
    const dram_program *p = l->p;
    int32_t at = p->placement.max_live_at;
    dram_val *holder = l->storage + l->g->n_values; /* the account names the value that holds the storage now */
    for (int v = 0; v < l->g->n_values; v++) holder[v] = v;
    for (int v = 0; v < l->g->n_values; v++)
        if (p->value[v].first <= at && p->value[v].last >= at) holder[l->storage[v]] = v;
    for (int b = 0; b < l->n; b++) {
        if (l->buffers[b].first > at || l->buffers[b].last < at) continue;
        dram_category c = DRAM_CATEGORY_WORKSPACE;
        if (l->owner[b] >= 0) c = l->g->values[holder[l->owner[b]]]->category;
        if (l->owner[b] == REGION) c = DRAM_CATEGORY_TEACHER_ACTIVATIONS;
        l->p->live_at_peak[c] += l->buffers[b].bytes;
    }
}

/* The device's space. Kept apart, the teacher's activations are placed by themselves, as one buffer of the rest. */
static dram_status place_device(layout *l)
{
    dram_program *p = l->p;
    dram_placement apart = {0};
    bool share = l->plan->options.share_teacher;
    if (!share) {
        list_buffers(l, DRAM_SPACE_DEVICE, TEACHERS);
        TRY(place(l, &apart));
        set_offsets(l, DRAM_SPACE_DEVICE, 0);
    }
    list_buffers(l, DRAM_SPACE_DEVICE, share ? ALL : OTHERS);
    if (apart.top) add_buffer(l, REGION, apart.top, 0, l->g->n_nodes - 1);
    TRY(place(l, &p->placement));
    set_offsets(l, DRAM_SPACE_DEVICE, l->plan->slots_bytes);
    if (apart.top) {
        int64_t base = l->plan->slots_bytes + l->buffers[l->n - 1].offset;
        for (int v = 0; v < l->g->n_values; v++) {
            const dram_value *value = l->g->values[v];
            bool own = !has_slot_bytes(value) && p->value[v].alias == DRAM_NONE && value->space == DRAM_SPACE_DEVICE;
            if (own && dram_of_teacher(value)) p->value[v].offset += base;
        }
    }
    account_peak(l);
    return DRAM_OK;
}

static dram_status place_spaces(layout *l)
{
    dram_program *p = l->p;
    TRY(place_device(l));
    for (int s = 0; s < DRAM_SPACE_COUNT; s++) {
        dram_placement placement;
        if (s == DRAM_SPACE_DEVICE) continue;
        list_buffers(l, (dram_space)s, ALL);
        TRY(place(l, &placement));
        set_offsets(l, (dram_space)s, l->plan->outside_slots[s]);
        p->outside[s] = placement.top;
    }
    for (int v = 0; v < l->g->n_values; v++) {
        const dram_value *value = l->g->values[v];
        p->value[v].offset = has_slot_bytes(value) ? l->plan->slot_offset[value->slot] : p->value[l->storage[v]].offset;
    }
    return DRAM_OK;
}

/* Whether input k is given and no earlier input is the same value. */
static bool first_mention(const dram_node *node, int k)
{
    for (int j = 0; j < k; j++)
        if (node->in[j] == node->in[k]) return false;
    return node->in[k] != DRAM_NONE;
}

/* Bytes of a value in the device's space above the slots. */
static int64_t device_bytes(const dram_program *p, dram_val v)
{
    const dram_value *value = p->graph->values[v];
    return value->space != DRAM_SPACE_DEVICE || has_slot_bytes(value) ? 0 : p->value[v].bytes;
}

static void find_floor(dram_program *p)
{
    const dram_graph *g = p->graph;
    for (int i = 0; i < g->n_nodes; i++) {
        const dram_node *node = g->nodes[i];
        int64_t bytes = dram_node_space(g, node) == DRAM_SPACE_DEVICE ? p->workspace_bytes[i] : 0;
        for (int k = 0; k < node->n_in; k++)
            if (first_mention(node, k)) bytes += device_bytes(p, node->in[k]);
        for (int o = 0; o < node->n_out; o++)
            if (p->value[node->out[o]].alias == DRAM_NONE) bytes += device_bytes(p, node->out[o]);
        if (bytes <= p->floor_bytes) continue;
        p->floor_bytes = bytes;
        p->floor_at = i;
    }
}

static void close_layout(layout *l)
{
    dram_free(l->storage);
    dram_free(l->buffers);
    dram_free(l->owner);
    dram_free(l->buffer_of);
    dram_free(l->done);
}

static dram_status open_layout(layout *l, const dram_plan *plan, const dram_graph *g, dram_program *p)
{
    size_t n_values = (size_t)g->n_values + 1, n_nodes = (size_t)g->n_nodes + 1;
    *l = (layout){.plan = plan, .p = p, .g = g};
    p->graph = g;
    p->value = dram_calloc(n_values, sizeof *p->value);
    p->workspace_offset = dram_calloc(n_nodes, sizeof *p->workspace_offset);
    p->workspace_bytes = dram_calloc(n_nodes, sizeof *p->workspace_bytes);
    l->storage = dram_calloc(2 * n_values, sizeof *l->storage);
    l->buffers = dram_calloc(n_values + n_nodes, sizeof *l->buffers);
    l->owner = dram_calloc(n_values + n_nodes, sizeof *l->owner);
    l->buffer_of = dram_calloc(n_values, sizeof *l->buffer_of);
    l->done = dram_calloc(n_nodes, sizeof *l->done);
    if (p->value && p->workspace_offset && p->workspace_bytes && l->storage && l->buffers && l->owner && l->buffer_of &&
        l->done)
        return DRAM_OK;
    return dram_fail(DRAM_ERR_MEMORY, "no memory to plan %s", g->name);
}

static dram_status plan_program(const dram_plan *plan, const dram_graph *g, dram_program *p)
{
    dram_status status;
    layout l;
    TRY_GOTO(open_layout(&l, plan, g, p), done);
    TRY_GOTO(check_spaces(g), done);
    for (int v = 0; v < g->n_values; v++)
        p->value[v].bytes = dram_aligned(&plan->profile, dram_value_bytes(g->values[v]));
    for (int i = 0; i < g->n_nodes; i++) {
        p->workspace_bytes[i] = dram_aligned(&plan->profile, dram_node_workspace(g, g->nodes[i], &plan->profile));
        p->flops += dram_node_flops(g, g->nodes[i]);
    }
    TRY_GOTO(dram_lifetimes_find(p, plan->options, l.done), done);
    dram_storage_find(p, l.storage);
    TRY_GOTO(place_spaces(&l), done);
    find_floor(p);
done:
    close_layout(&l);
    return status;
}

static dram_status place_slots(dram_plan *plan)
{
    plan->slot_offset = dram_calloc((size_t)plan->slots->n + 1, sizeof *plan->slot_offset);
    if (!plan->slot_offset) return dram_fail(DRAM_ERR_MEMORY, "no memory to plan the weights");
    for (int s = 0; s < plan->slots->n; s++) {
        const dram_slot *slot = plan->slots->at[s];
        int64_t bytes = dram_plan_slot_bytes(plan, s);
        bool on_device = slot->space == DRAM_SPACE_DEVICE;
        int64_t *end = on_device ? &plan->slots_bytes : &plan->outside_slots[slot->space];
        plan->slot_offset[s] = *end;
        *end += bytes;
        if (on_device) plan->slots_by_category[slot->category] += bytes;
    }
    return DRAM_OK;
}

static void raise_to(int64_t *most, int64_t value)
{
    if (value > *most) *most = value;
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
    memcpy(plan->outside_bytes, plan->outside_slots, sizeof plan->outside_bytes);
    plan->n_programs = n;
    for (int i = 0; i < n; i++) {
        dram_program *p = &plan->programs[i];
        TRY_GOTO(plan_program(plan, graphs[i], p), failed);
        if (p->placement.top > plan->programs[plan->peak_program].placement.top) plan->peak_program = i;
        raise_to(&plan->arena_bytes, plan->slots_bytes + p->placement.top);
        raise_to(&plan->max_live_bytes, plan->slots_bytes + p->placement.max_live);
        raise_to(&plan->floor_bytes, plan->slots_bytes + p->floor_bytes);
        for (int s = 0; s < DRAM_SPACE_COUNT; s++)
            raise_to(&plan->outside_bytes[s], plan->outside_slots[s] + p->outside[s]);
    }
    for (int s = 0; s < DRAM_SPACE_COUNT; s++) plan->host_bytes += plan->outside_bytes[s];
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

int64_t dram_slot_bytes(const dram_slot *slot, const dram_profile *profile)
{
    return dram_aligned(profile, dram_elements(&slot->shape) * dram_dtype_bytes(slot->dtype));
}

int64_t dram_plan_slot_bytes(const dram_plan *plan, int s)
{
    return dram_slot_bytes(plan->slots->at[s], &plan->profile);
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
