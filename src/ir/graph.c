#include "ir/graph.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "ir/op.h"

const char *dram_category_name(dram_category category)
{
    static const char *const name[DRAM_CATEGORY_COUNT] = {
#define X(ID, NAME) [DRAM_CATEGORY_##ID] = NAME,
        DRAM_CATEGORY_LIST(X)
#undef X
    };
    return name[category];
}

dram_status dram_graph_new(const char *name, dram_slots *slots, dram_graph **graph)
{
    dram_graph *g = dram_calloc(1, sizeof *g);
    if (!g) return dram_fail(DRAM_ERR_MEMORY, "no memory for the graph %s", name);
    g->name = name;
    g->slots = slots;
    g->category = DRAM_CATEGORY_ACTIVATIONS;
    *graph = g;
    return DRAM_OK;
}

void dram_graph_free(dram_graph *g)
{
    if (!g) return;
    for (int i = 0; i < g->n_values; i++) {
        dram_free((void *)(uintptr_t)g->values[i]->name);
        dram_free(g->values[i]);
    }
    for (int i = 0; i < g->n_nodes; i++) {
        dram_free((void *)(uintptr_t)g->nodes[i]->name);
        dram_free(g->nodes[i]);
    }
    dram_free(g->values);
    dram_free(g->nodes);
    dram_free(g->slot_value);
    dram_index_free(&g->names);
    dram_free(g);
}

dram_status dram_graph_fail(dram_graph *g, const char *format, ...)
{
    if (g->status == DRAM_OK) {
        char text[512];
        va_list args;
        va_start(args, format);
        vsnprintf(text, sizeof text, format, args);
        va_end(args);
        g->status = dram_fail(DRAM_ERR_INTERNAL, "%s: %s", g->name, text);
    }
    return g->status;
}

static dram_status out_of_memory(dram_graph *g)
{
    if (g->status == DRAM_OK) g->status = dram_fail(DRAM_ERR_MEMORY, "no memory for the graph %s", g->name);
    return g->status;
}

int64_t dram_value_bytes(const dram_value *value)
{
    return dram_elements(&value->shape) * dram_dtype_bytes(value->dtype);
}

int dram_scope_push(dram_graph *g, const char *part)
{
    int length = (int)strlen(g->scope);
    int n = snprintf(g->scope + length, sizeof g->scope - (size_t)length, "%s%s", length ? "." : "", part);
    if (n < 0 || length + n >= (int)sizeof g->scope) dram_graph_fail(g, "the name %s is too long", g->scope);
    return length;
}

void dram_scope_pop(dram_graph *g, int length)
{
    g->scope[length] = '\0';
}

void dram_block_enter(dram_graph *g)
{
    if (g->block) dram_graph_fail(g, "%s: a block inside a block", g->scope);
    g->block = ++g->n_blocks;
}

void dram_block_leave(dram_graph *g)
{
    g->block = 0;
}

/* The value of that name, DRAM_NONE. */
static dram_val find_name(const dram_graph *g, const char *name)
{
    uint64_t hash = dram_hash_name(name);
    for (int at = -1, i; (i = dram_index_next(&g->names, hash, &at)) >= 0;)
        if (strcmp(g->values[i]->name, name) == 0) return i;
    return DRAM_NONE;
}

/* "scope.part", made unique with ~2, ~3, ... */
static char *unique_name(dram_graph *g, const char *scope, const char *part)
{
    char name[256];
    int n = snprintf(name, sizeof name - 8, "%s%s%s", scope, *scope && *part ? "." : "", part);
    if (n >= (int)sizeof name - 8) n = (int)sizeof name - 9;
    dram_val first = find_name(g, name);
    if (first != DRAM_NONE) {
        dram_value *v = g->values[first];
        do snprintf(name + n, sizeof name - (size_t)n, "~%d", ++v->namesakes + 1);
        while (find_name(g, name) != DRAM_NONE);
    }
    return dram_strdup(name);
}

/* A new value with an owned name; NULL (and the sticky status) when memory is out. */
static dram_value *new_value(dram_graph *g, char *name, dram_val *index)
{
    if (!name || !DRAM_GROW(g->values, g->values_room, g->n_values + 1)) {
        dram_free(name);
        out_of_memory(g);
        return NULL;
    }
    dram_value *v = dram_calloc(1, sizeof *v);
    if (!v || !dram_index_add(&g->names, dram_hash_name(name), g->n_values)) {
        dram_free(v);
        dram_free(name);
        out_of_memory(g);
        return NULL;
    }
    v->name = name;
    v->slot = DRAM_NONE;
    v->producer = DRAM_NONE;
    v->category = g->category;
    v->space = g->space;
    *index = g->n_values;
    g->values[g->n_values++] = v;
    return v;
}

dram_val dram_graph_input(dram_graph *g, const char *name, dram_dtype dtype, dram_shape shape)
{
    dram_val index = DRAM_NONE;
    if (g->status != DRAM_OK) return DRAM_NONE;
    dram_value *v = new_value(g, unique_name(g, "", name), &index);
    if (!v) return DRAM_NONE;
    v->kind = DRAM_VALUE_INPUT;
    v->dtype = dtype;
    v->shape = shape;
    v->category = DRAM_CATEGORY_INPUT;
    return index;
}

static bool remember_slot(dram_graph *g, int slot, dram_val v)
{
    if (slot >= g->slot_values) {
        int room = g->slot_values;
        if (!DRAM_GROW(g->slot_value, room, slot + 1)) return false;
        for (int i = g->slot_values; i < room; i++) g->slot_value[i] = DRAM_NONE;
        g->slot_values = room;
    }
    g->slot_value[slot] = v;
    return true;
}

dram_val dram_graph_slot(dram_graph *g, const dram_slot *slot)
{
    int index;
    dram_val v = DRAM_NONE;
    if (g->status != DRAM_OK) return DRAM_NONE;
    g->status = dram_slots_add(g->slots, slot, &index);
    if (g->status != DRAM_OK) return DRAM_NONE;
    if (index < g->slot_values && g->slot_value[index] != DRAM_NONE) return g->slot_value[index];
    dram_value *value = new_value(g, unique_name(g, slot->group, slot->name), &v);
    if (!value) return DRAM_NONE;
    value->kind = DRAM_VALUE_SLOT;
    value->slot = index;
    value->dtype = slot->dtype;
    value->shape = slot->shape;
    value->space = slot->space;
    value->category = slot->category;
    value->requires_grad = slot->trainable; /* of a detached node the outputs carry none, whatever it reads */
    if (!remember_slot(g, index, v)) {
        out_of_memory(g);
        return DRAM_NONE;
    }
    return v;
}

static dram_node *new_node(dram_graph *g, dram_op op, const char *name, const dram_attr *attr)
{
    if (!DRAM_GROW(g->nodes, g->nodes_room, g->n_nodes + 1)) return NULL;
    dram_node *node = dram_calloc(1, sizeof *node);
    if (!node) return NULL;
    node->op = op;
    node->queue = dram_op_rows[op].queue;
    node->block = g->block;
    node->name = unique_name(g, g->scope, name);
    if (!node->name) {
        dram_free(node);
        return NULL;
    }
    if (attr) node->attr = *attr;
    for (int i = 0; i < DRAM_MAX_IN; i++) node->in[i] = DRAM_NONE;
    for (int o = 0; o < DRAM_MAX_OUT; o++) node->out[o] = DRAM_NONE;
    g->nodes[g->n_nodes++] = node;
    return node;
}

/* Takes the last node and the values from n_values on away again, after a failure. */
static void undo(dram_graph *g, int n_values)
{
    dram_node *node = g->nodes[--g->n_nodes];
    dram_free((void *)(uintptr_t)node->name);
    dram_free(node);
    while (g->n_values > n_values) {
        dram_value *v = g->values[--g->n_values];
        dram_index_drop(&g->names, dram_hash_name(v->name), g->n_values);
        dram_free((void *)(uintptr_t)v->name);
        dram_free(v);
    }
}

static bool inputs_are_good(dram_graph *g, const dram_op_row *row, const char *name, const dram_val *in, int n_in)
{
    if (n_in < row->min_in || n_in > row->max_in) {
        dram_graph_fail(g, "%s: %s takes %d to %d inputs, not %d", name, row->name, row->min_in, row->max_in, n_in);
        return false;
    }
    for (int i = 0; i < n_in; i++)
        if ((in[i] == DRAM_NONE && i < row->min_in) || in[i] < DRAM_NONE || in[i] >= g->n_values) {
            dram_graph_fail(g, "%s: input %d of %s is missing", name, i, row->name);
            return false;
        }
    return true;
}

/* An output that updates a slot is that slot from now on; readers made later read the new value. */
static dram_status bind_updates(dram_graph *g, dram_node *node)
{
    for (int o = 0; o < node->n_out; o++) {
        int i = dram_op_updates(node->op, o);
        if (i == DRAM_NONE) continue;
        const dram_value *old = dram_value_at(g, node->in[i]);
        dram_value *now = dram_value_at(g, node->out[o]);
        now->slot = old->slot;
        now->category = old->category;
        now->space = old->space;
        if (old->slot == DRAM_NONE) continue;
        if (g->slot_value[old->slot] != node->in[i])
            return dram_graph_fail(g, "%s updates %s, which is not its present value", node->name, old->name);
        g->slot_value[old->slot] = node->out[o];
    }
    return DRAM_OK;
}

void dram_graph_add(dram_graph *g, dram_op op, const char *name, const dram_attr *attr, const dram_val *in, int n_in,
                    dram_val *outs)
{
    const dram_op_row *row = &dram_op_rows[op];
    dram_value *out[DRAM_MAX_OUT];
    int n_values = g->n_values;
    bool needs_grad = false;
    for (int o = 0; o < row->n_out; o++) outs[o] = DRAM_NONE;
    if (g->status != DRAM_OK || !inputs_are_good(g, row, name, in, n_in)) return;
    dram_node *node = new_node(g, op, name, attr);
    if (!node) {
        out_of_memory(g);
        return;
    }
    node->n_in = n_in;
    node->n_out = row->n_out;
    for (int i = 0; i < n_in; i++) {
        node->in[i] = in[i];
        if (in[i] != DRAM_NONE) needs_grad |= g->values[in[i]]->requires_grad;
    }
    for (int o = 0; o < row->n_out; o++) {
        static const char *const part[DRAM_MAX_OUT] = {"", "1", "2", "3"};
        out[o] = new_value(g, unique_name(g, node->name, part[o]), &node->out[o]);
        if (!out[o]) {
            undo(g, n_values);
            return;
        }
        out[o]->producer = g->n_nodes - 1;
        out[o]->requires_grad = needs_grad && row->differentiable && !g->detached;
    }
    if (dram_op_rules[op]->shape(g, node, out) != DRAM_OK || bind_updates(g, node) != DRAM_OK) {
        undo(g, n_values);
        return;
    }
    for (int o = 0; o < row->n_out; o++) outs[o] = node->out[o];
}

void dram_graph_output(dram_graph *g, dram_val v)
{
    if (g->status == DRAM_OK) g->values[v]->output = true;
}

dram_status dram_graph_order(dram_graph *g, const int *order)
{
    TRY(g->status);
    dram_node **nodes = dram_alloc(((size_t)g->n_nodes + 1) * sizeof *nodes);
    if (!nodes) return out_of_memory(g);
    for (int i = 0; i < g->n_nodes; i++) nodes[i] = g->nodes[order[i]];
    for (int i = 0; i < g->n_nodes; i++) {
        g->nodes[i] = nodes[i];
        for (int o = 0; o < nodes[i]->n_out; o++) g->values[nodes[i]->out[o]]->producer = i;
    }
    dram_free(nodes);
    return DRAM_OK;
}
