#include "plan/lifetimes.h"

#include "base/alloc.h"
#include "ir/readers.h"

/* Of a node: no later node of the compute queue waits for it. */
enum { NEVER = INT32_MAX };

/* Where each node is known to be done: itself on the compute queue, where all that comes later runs after it. Else the
 * first compute node that waits for it: one that reads what it made, or that waits for a reader on another queue. */
static void find_joins(const dram_graph *g, int32_t *join)
{
    for (int i = 0; i < g->n_nodes; i++) join[i] = g->nodes[i]->queue == DRAM_QUEUE_COMPUTE ? i : NEVER;
    for (int i = g->n_nodes - 1; i >= 0; i--) /* all readers of what node i made have been here */
        for (int k = 0; k < g->nodes[i]->n_in; k++) {
            int32_t made = g->nodes[i]->in[k] == DRAM_NONE ? DRAM_NONE : g->values[g->nodes[i]->in[k]]->producer;
            if (made != DRAM_NONE && g->nodes[made]->queue != DRAM_QUEUE_COMPUTE && join[i] < join[made])
                join[made] = join[i];
        }
}

/* What a node beside the compute queue reads and writes lives until the queues join. */
static void keep_to_the_joins(const dram_graph *g, const int32_t *join, int32_t *last)
{
    for (int j = 0; j < g->n_nodes; j++) {
        const dram_node *node = g->nodes[j];
        for (int k = 0; k < node->n_in; k++)
            if (node->in[k] != DRAM_NONE && last[node->in[k]] < join[j]) last[node->in[k]] = join[j];
        for (int o = 0; o < node->n_out; o++)
            if (last[node->out[o]] < join[j]) last[node->out[o]] = join[j];
    }
}

/* An update comes after every reader of what it overwrites: one after it would see the new bytes. And what another
 * queue may still be at is not overwritten before the two join. */
static dram_status check_updates(const dram_graph *g, const int32_t *last_reader, const int32_t *join, int32_t *updater)
{
    for (int v = 0; v < g->n_values; v++) updater[v] = NEVER;
    for (int i = 0; i < g->n_nodes; i++)
        for (int o = 0; o < g->nodes[i]->n_out; o++) {
            int k = dram_op_updates(g->nodes[i]->op, o);
            if (k == DRAM_NONE) continue;
            dram_val v = g->nodes[i]->in[k];
            updater[v] = i;
            if (last_reader[v] > i)
                return dram_fail(DRAM_ERR_INTERNAL, "%s: %s reads %s after %s has updated it", g->name,
                                 g->nodes[last_reader[v]]->name, g->values[v]->name, g->nodes[i]->name);
        }
    for (int j = 0; j < g->n_nodes; j++) {
        const dram_node *node = g->nodes[j];
        for (int k = 0; k < node->n_in + node->n_out; k++) {
            dram_val v = k < node->n_in ? node->in[k] : node->out[k - node->n_in];
            if (v == DRAM_NONE || updater[v] >= join[j] || g->nodes[updater[v]]->queue == node->queue) continue;
            return dram_fail(DRAM_ERR_INTERNAL, "%s: %s updates %s while %s may still be at it", g->name,
                             g->nodes[updater[v]]->name, g->values[v]->name, node->name);
        }
    }
    return DRAM_OK;
}

/* Of each value its last reader, if that is beside compute and is the only node that may be at the value when it runs:
 * it may write over it, although the value's life ends where the queues join. Else DRAM_NONE. */
static void find_sole_readers(const dram_graph *g, const int32_t *last_reader, const int32_t *join, int32_t *sole)
{
    for (int v = 0; v < g->n_values; v++) {
        int32_t i = last_reader[v];
        sole[v] = i != DRAM_NONE && g->nodes[i]->queue != DRAM_QUEUE_COMPUTE ? i : DRAM_NONE;
    }
    for (int j = 0; j < g->n_nodes; j++)
        for (int k = 0; k < g->nodes[j]->n_in; k++) {
            dram_val v = g->nodes[j]->in[k];
            if (v == DRAM_NONE || sole[v] == DRAM_NONE || sole[v] == j) continue;
            if (join[j] > sole[v] && g->nodes[j]->queue != g->nodes[sole[v]]->queue) sole[v] = DRAM_NONE;
        }
}

/* What dies at node i for it to take over. A value that it takes is the output's from there on. */
static dram_val take_over(const dram_lives *lives, int i, const int32_t *sole, int32_t *last)
{
    const dram_node *node = lives->g->nodes[i];
    int32_t held[DRAM_MAX_IN];
    for (int k = 0; k < node->n_in; k++) {
        held[k] = node->in[k] == DRAM_NONE ? DRAM_NONE : last[node->in[k]];
        if (node->in[k] != DRAM_NONE && sole[node->in[k]] == i) last[node->in[k]] = i;
    }
    dram_val taken = dram_takes_over(lives, i, node, node->in, node->out);
    for (int k = node->n_in - 1; k >= 0; k--)
        if (node->in[k] != DRAM_NONE && node->in[k] != taken) last[node->in[k]] = held[k];
    return taken;
}

static void choose_aliases(dram_program *p, dram_plan_options options, const int32_t *sole, int32_t *last)
{
    const dram_graph *g = p->graph;
    const dram_lives lives = {.g = g, .last = last, .apart = !options.share_teacher};
    for (int v = 0; v < g->n_values; v++) p->value[v].alias = DRAM_NONE;
    for (int i = 0; i < g->n_nodes; i++) {
        const dram_node *node = g->nodes[i];
        for (int o = 0; o < node->n_out; o++) {
            int from = dram_op_updates(node->op, o);
            if (from != DRAM_NONE) p->value[node->out[o]].alias = node->in[from];
        }
        dram_val taken = options.in_place ? take_over(&lives, i, sole, last) : DRAM_NONE;
        if (taken != DRAM_NONE) p->value[node->out[0]].alias = taken;
    }
}

dram_status dram_lifetimes_find(dram_program *p, dram_plan_options options, int32_t *done)
{
    const dram_graph *g = p->graph;
    int32_t end = g->n_nodes ? g->n_nodes - 1 : 0;
    dram_readers readers;
    TRY(dram_readers_find(g, &readers));
    int32_t *last = readers.last;
    find_joins(g, done);
    dram_status status = check_updates(g, last, done, readers.first);
    if (status != DRAM_OK) goto failed;
    int32_t *sole = readers.first;
    find_sole_readers(g, last, done, sole);
    for (int v = 0; v < g->n_values && !options.eager_free; v++) sole[v] = DRAM_NONE;
    for (int v = 0; v < g->n_values; v++) {
        const dram_value *value = g->values[v];
        bool whole = value->slot != DRAM_NONE;
        p->value[v].first = whole || value->producer == DRAM_NONE ? 0 : value->producer;
        if (last[v] < p->value[v].first) last[v] = p->value[v].first;
        if (whole || value->output || !options.eager_free) last[v] = end;
    }
    keep_to_the_joins(g, done, last);
    choose_aliases(p, options, sole, last);
    for (int v = 0; v < g->n_values; v++) p->value[v].last = last[v] < end ? last[v] : end;
    for (int i = 0; i < g->n_nodes; i++)
        if (done[i] > end) done[i] = end;
failed:
    dram_readers_free(&readers);
    return status;
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
