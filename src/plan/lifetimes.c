#include "plan/lifetimes.h"

#include "base/alloc.h"

/* The first node of another queue that waits for node j: the first reader of what it wrote; `end` if there is none. */
static int32_t join_of(const dram_graph *g, int j, const int32_t *first_reader, int32_t end)
{
    int32_t join = INT32_MAX;
    for (int o = 0; o < g->nodes[j]->n_out; o++) {
        int32_t reader = first_reader[g->nodes[j]->out[o]];
        if (reader < join) join = reader;
    }
    return join == INT32_MAX ? end : join;
}

/* What a node beside the compute queue reads and writes lives until the queues join, and is not updated before. */
static dram_status keep_to_the_joins(dram_program *p, int32_t end)
{
    const dram_graph *g = p->graph;
    dram_status status = DRAM_OK;
    int32_t *first_reader = dram_alloc(((size_t)g->n_values + 1) * 2 * sizeof *first_reader);
    if (!first_reader) return dram_fail(DRAM_ERR_MEMORY, "no memory to plan %s", g->name);
    int32_t *updater = first_reader + g->n_values;
    for (int v = 0; v < g->n_values; v++) first_reader[v] = updater[v] = INT32_MAX;
    for (int i = g->n_nodes - 1; i >= 0; i--) {
        const dram_node *node = g->nodes[i];
        for (int k = 0; k < node->n_in; k++) {
            dram_val v = node->in[k];
            if (v == DRAM_NONE || g->values[v]->producer == DRAM_NONE) continue;
            if (g->nodes[g->values[v]->producer]->queue != node->queue) first_reader[v] = i;
        }
        for (int o = 0; o < node->n_out; o++)
            if (dram_op_updates(node->op, o) != DRAM_NONE) updater[node->in[dram_op_updates(node->op, o)]] = i;
    }
    for (int j = 0; j < g->n_nodes && status == DRAM_OK; j++) {
        const dram_node *node = g->nodes[j];
        if (node->queue == DRAM_QUEUE_COMPUTE) continue;
        int32_t join = join_of(g, j, first_reader, end);
        for (int k = 0; k < node->n_in + node->n_out; k++) {
            dram_val v = k < node->n_in ? node->in[k] : node->out[k - node->n_in];
            if (v == DRAM_NONE) continue;
            if (p->value[v].last < join) p->value[v].last = join;
            if (updater[v] < join)
                status = dram_fail(DRAM_ERR_INTERNAL, "%s: %s updates %s while %s may still be at it", g->name,
                                   g->nodes[updater[v]]->name, g->values[v]->name, node->name);
        }
    }
    dram_free(first_reader);
    return status;
}

dram_status dram_lifetimes_find(dram_program *p, dram_plan_options options)
{
    const dram_graph *g = p->graph;
    int32_t end = g->n_nodes ? g->n_nodes - 1 : 0;
    bool queues = false;
    for (int v = 0; v < g->n_values; v++) {
        const dram_value *value = g->values[v];
        p->value[v].first = value->producer == DRAM_NONE ? 0 : value->producer;
        p->value[v].last = p->value[v].first;
        p->value[v].alias = DRAM_NONE;
    }
    for (int i = 0; i < g->n_nodes; i++) {
        queues |= g->nodes[i]->queue != DRAM_QUEUE_COMPUTE;
        for (int k = 0; k < g->nodes[i]->n_in; k++)
            if (g->nodes[i]->in[k] != DRAM_NONE) p->value[g->nodes[i]->in[k]].last = i;
    }
    for (int v = 0; v < g->n_values; v++) {
        const dram_value *value = g->values[v];
        bool whole = value->slot != DRAM_NONE;
        if (whole) p->value[v].first = 0;
        if (whole || value->output || !options.eager_free) p->value[v].last = end;
    }
    return queues ? keep_to_the_joins(p, end) : DRAM_OK;
}

dram_status dram_check_updates(const dram_graph *g)
{
    dram_status status = DRAM_OK;
    const dram_node **updater = dram_calloc((size_t)g->n_values + 1, sizeof *updater);
    if (!updater) return dram_fail(DRAM_ERR_MEMORY, "no memory to plan %s", g->name);
    for (int i = 0; i < g->n_nodes && status == DRAM_OK; i++) {
        const dram_node *node = g->nodes[i];
        for (int k = 0; k < node->n_in; k++) {
            dram_val v = node->in[k];
            if (v != DRAM_NONE && updater[v])
                status = dram_fail(DRAM_ERR_INTERNAL, "%s: %s reads %s after %s has updated it", g->name, node->name,
                                   g->values[v]->name, updater[v]->name);
        }
        for (int o = 0; o < node->n_out; o++) {
            int from = dram_op_updates(node->op, o);
            if (from != DRAM_NONE) updater[node->in[from]] = node;
        }
    }
    dram_free(updater);
    return status;
}

/* Whether output 0 of node i may take over the bytes of its input k. */
static bool may_take(const dram_program *p, int i, int k, dram_plan_options options)
{
    const dram_graph *g = p->graph;
    const dram_node *node = g->nodes[i];
    dram_val v = node->in[k];
    if (v == DRAM_NONE || p->value[v].last != i) return false;
    const dram_value *in = g->values[v], *out = g->values[node->out[0]];
    if (!options.share_teacher && dram_of_teacher(in) != dram_of_teacher(out)) return false;
    return dram_op_may_take(node, node->in, k, in, out);
}

void dram_aliases_choose(dram_program *p, dram_plan_options options)
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
            if (may_take(p, i, k, options)) {
                p->value[node->out[0]].alias = node->in[k];
                break;
            }
    }
}

void dram_storage_find(const dram_program *p, dram_val *storage)
{
    int n = p->graph->n_values;
    for (int v = 0; v < n; v++) storage[v] = DRAM_NONE;
    for (int v = 0; v < n; v++) {
        dram_val root = v;
        while (storage[root] == DRAM_NONE && p->value[root].alias != DRAM_NONE) root = p->value[root].alias;
        if (storage[root] != DRAM_NONE) root = storage[root];
        for (dram_val w = v; storage[w] == DRAM_NONE; w = p->value[w].alias) {
            storage[w] = root;
            if (p->value[w].alias == DRAM_NONE) break;
        }
    }
}
