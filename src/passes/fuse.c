#include "passes/fuse.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "passes/blocks.h"
#include "passes/collect.h"

/* A node's key. Nodes that stay are STEP apart; one that moves has a key one above what the last node it needs is ready
 * at: that one's key, but for a sum over ranks. */
typedef struct {
    int64_t key, ready;
    int index; /* before sorting */
    dram_node *node;
} place;

static const int64_t STEP = (int64_t)1 << 32;

static bool moves(const dram_node *node)
{
    return dram_op_rows[node->op].trait == DRAM_TRAIT_UPDATE;
}

static bool overwrites(const dram_node *node, int input)
{
    for (int o = 0; o < node->n_out; o++)
        if (dram_op_updates(node->op, o) == input) return true;
    return false;
}

/* What needs a sum over ranks, or a gather in a bucket, stands before the next bucket, so that a bucket is under way
 * while one fills; behind the whole bucket where it is the last. */
static void ready_sums(const dram_graph *g, place *places)
{
    int bucket = DRAM_NONE, first = DRAM_NONE;
    dram_op op = DRAM_OP_COUNT;
    int64_t ready = 0;
    for (int i = g->n_nodes - 1; i >= 0; i--) {
        if (!dram_is_in_bucket(g->nodes[i])) continue;
        if (g->nodes[i]->attr.bucket != bucket || g->nodes[i]->op != op)
            ready = first == DRAM_NONE ? (i + 1) * STEP : first * STEP + STEP / 2;
        bucket = g->nodes[i]->attr.bucket;
        op = g->nodes[i]->op;
        first = i;
        places[i].ready = ready;
    }
}

/* At which key this node may run, less one; 0 when it needs none. read[v]: key of the last reader of v so far. */
static int64_t needed(const dram_graph *g, const dram_node *node, const place *places, const int64_t *read)
{
    int64_t key = 0;
    for (int k = 0; k < node->n_in; k++) {
        dram_val v = node->in[k];
        if (v == DRAM_NONE) continue;
        int producer = g->values[v]->producer;
        if (producer != DRAM_NONE && places[producer].ready > key) key = places[producer].ready;
        if (overwrites(node, k) && read[v] > key) key = read[v];
    }
    return key;
}

/* Who reads what recompute may make again (the low-precision copy of a weight, a norm's output) may come to read what
 * that is made from, a weight among it. */
static void note_reader(const dram_graph *g, dram_val v, int64_t key, int64_t *read)
{
    int producer = g->values[v]->producer;
    if (read[v] < key) read[v] = key;
    if (producer == DRAM_NONE || !(g->nodes[producer]->op == DRAM_OP_cast || dram_is_cheap(g, producer))) return;
    for (int k = 0; k < g->nodes[producer]->n_in; k++)
        if (g->nodes[producer]->in[k] != DRAM_NONE) note_reader(g, g->nodes[producer]->in[k], key, read);
}

static int by_key(const void *left, const void *right)
{
    const place *a = left, *b = right;
    if (a->key != b->key) return a->key < b->key ? -1 : 1;
    return a->index - b->index;
}

dram_status dram_fuse_updates(dram_graph *g)
{
    int n = g->n_nodes;
    if (g->status != DRAM_OK) return g->status;
    place *places = dram_calloc((size_t)n + 1, sizeof *places);
    int64_t *read = dram_calloc((size_t)g->n_values + 1, sizeof *read);
    int *order = dram_alloc(((size_t)n + 1) * sizeof *order);
    if (!places || !read || !order) {
        dram_free(order);
        dram_free(places);
        dram_free(read);
        return dram_fail(DRAM_ERR_MEMORY, "no memory to order %s", g->name);
    }
    ready_sums(g, places);
    for (int i = 0; i < n; i++) {
        dram_node *node = g->nodes[i];
        int64_t key = moves(node) ? needed(g, node, places, read) + 1 : (i + 1) * STEP;
        places[i] =
            (place){.key = key, .ready = places[i].ready > key ? places[i].ready : key, .index = i, .node = node};
        for (int k = 0; k < node->n_in; k++)
            if (node->in[k] != DRAM_NONE) note_reader(g, node->in[k], key, read);
    }
    qsort(places, (size_t)n, sizeof *places, by_key);
    for (int i = 0; i < n; i++) {
        order[i] = places[i].index;
        if (i > 0 && moves(places[i].node)) places[i].node->block = places[i - 1].node->block;
    }
    dram_status status = dram_graph_order(g, order);
    dram_free(order);
    dram_free(places);
    dram_free(read);
    return status;
}
