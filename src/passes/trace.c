#include "passes/trace.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "ir/readers.h"

dram_status dram_trace_open(const dram_graph *g, dram_trace *t)
{
    *t = (dram_trace){.g = g};
    if (!DRAM_GROW(t->origin, t->values_room, g->n_values + 1))
        return dram_fail(DRAM_ERR_MEMORY, "no memory to order %s", g->name);
    for (int v = 0; v < g->n_values; v++) t->origin[v] = v;
    t->n_values = g->n_values;
    return DRAM_OK;
}

void dram_trace_close(dram_trace *t)
{
    dram_free(t->step);
    dram_free(t->origin);
    dram_free(t->last);
    *t = (dram_trace){0};
}

void dram_trace_clear(dram_trace *t)
{
    t->n = t->beside = 0;
    t->n_values = t->g->n_values;
}

dram_status dram_trace_add(dram_trace *t, int index, bool copy, const int *in, int *out)
{
    const dram_node *node = t->g->nodes[index];
    if (!DRAM_GROW(t->step, t->room, t->n + 1) || !DRAM_GROW(t->origin, t->values_room, t->n_values + DRAM_MAX_OUT))
        return dram_fail(DRAM_ERR_MEMORY, "no memory to order %s", t->g->name);
    dram_trace_step *step = &t->step[t->n++];
    *step = (dram_trace_step){.node = index, .copy = copy};
    t->beside += node->queue != DRAM_QUEUE_COMPUTE;
    memcpy(step->in, in, (size_t)node->n_in * sizeof *in);
    for (int o = 0; o < node->n_out; o++) {
        step->out[o] = copy ? t->n_values++ : node->out[o];
        t->origin[step->out[o]] = node->out[o];
        if (out) out[o] = step->out[o];
    }
    return DRAM_OK;
}

/* Marks in `last` of a value that is not counted, and of one that stays to the end. */
enum { NOT_COUNTED = -2, TO_THE_END = INT32_MAX };

static int64_t bytes_of(const dram_trace *t, const dram_trace_sizes *sizes, int v)
{
    return sizes->bytes[t->origin[v]];
}

static dram_status find_last(dram_trace *t, int from, int to, const int *start, int n_start,
                             bool (*keeps)(void *context, int value), void *context)
{
    if (!DRAM_GROW(t->last, t->last_room, t->n_values + 1))
        return dram_fail(DRAM_ERR_MEMORY, "no memory to order %s", t->g->name);
    for (int v = 0; v < t->n_values; v++) t->last[v] = NOT_COUNTED;
    for (int s = 0; s < n_start; s++) t->last[start[s]] = from - 1;
    for (int i = from; i < to; i++) {
        const dram_node *node = t->g->nodes[t->step[i].node];
        for (int k = 0; k < node->n_in; k++) {
            int v = t->step[i].in[k];
            if (v != DRAM_NONE && t->last[v] != NOT_COUNTED) t->last[v] = i;
        }
        for (int o = 0; o < node->n_out; o++) t->last[t->step[i].out[o]] = i;
    }
    for (int v = 0; v < t->n_values; v++)
        if (t->last[v] != NOT_COUNTED && keeps(context, v)) t->last[v] = TO_THE_END;
    return DRAM_OK;
}

dram_status dram_trace_peak(dram_trace *t, const dram_trace_sizes *sizes, int from, int to, const int *start,
                            int n_start, bool (*keeps)(void *context, int value), void *context, int64_t *peak)
{
    int64_t live = 0;
    TRY(find_last(t, from, to, start, n_start, keeps, context));
    const dram_lives lives = {.g = t->g, .origin = t->origin, .last = t->last};
    for (int s = 0; s < n_start; s++)
        if (t->last[start[s]] >= from) live += bytes_of(t, sizes, start[s]);
    *peak = live;
    for (int i = from; i < to; i++) {
        const dram_trace_step *step = &t->step[i];
        const dram_node *node = t->g->nodes[step->node];
        int taken = sizes->in_place ? dram_takes_over(&lives, i, node, step->in, step->out) : DRAM_NONE;
        for (int o = 0; o < node->n_out; o++) {
            bool own = dram_op_updates(node->op, o) == DRAM_NONE && !(o == 0 && taken != DRAM_NONE);
            if (own) live += bytes_of(t, sizes, step->out[o]);
        }
        if (live + sizes->workspace[step->node] > *peak) *peak = live + sizes->workspace[step->node];
        for (int k = 0; k < node->n_in; k++) {
            int v = step->in[k];
            if (v == DRAM_NONE || t->last[v] != i || v == taken) continue;
            live -= bytes_of(t, sizes, v);
            t->last[v] = NOT_COUNTED; /* named twice, it dies once */
        }
        for (int o = 0; o < node->n_out; o++)
            if (t->last[step->out[o]] == i && dram_op_updates(node->op, o) == DRAM_NONE)
                live -= bytes_of(t, sizes, step->out[o]);
    }
    return DRAM_OK;
}

static dram_status add_copy(dram_graph *g, const dram_node *node, const dram_val *in, dram_val *out)
{
    char name[256];
    const dram_value *first = g->values[node->out[0]];
    g->block = node->block;
    g->category = first->category;
    g->space = first->space;
    snprintf(name, sizeof name, "%s.again", node->name);
    dram_graph_add(g, node->op, name, &node->attr, in, node->n_in, out);
    return g->status;
}

dram_status dram_trace_apply(const dram_trace *t, dram_graph *g)
{
    dram_status status;
    dram_category category = g->category;
    dram_space space = g->space;
    bool detached = g->detached;
    dram_val *real = dram_alloc((size_t)t->n_values * sizeof *real);
    int *order = dram_alloc(((size_t)t->n + 1) * sizeof *order);
    if (!real || !order) {
        status = dram_fail(DRAM_ERR_MEMORY, "no memory to order %s", g->name);
        goto done;
    }
    g->detached = true;
    for (int v = 0; v < t->n_values; v++) real[v] = t->origin[v];
    for (int i = 0; i < t->n; i++) {
        const dram_trace_step *step = &t->step[i];
        dram_node *node = g->nodes[step->node];
        dram_val in[DRAM_MAX_IN], out[DRAM_MAX_OUT];
        for (int k = 0; k < node->n_in; k++) in[k] = step->in[k] == DRAM_NONE ? DRAM_NONE : real[step->in[k]];
        if (!step->copy) {
            memcpy(node->in, in, (size_t)node->n_in * sizeof *in);
            order[i] = step->node;
            continue;
        }
        TRY_GOTO(add_copy(g, node, in, out), done);
        order[i] = g->n_nodes - 1;
        for (int o = 0; o < node->n_out; o++) real[step->out[o]] = out[o];
    }
    status = dram_graph_order(g, order);
done:
    g->detached = detached;
    g->category = category;
    g->space = space;
    g->block = 0;
    dram_free(real);
    dram_free(order);
    return status;
}
