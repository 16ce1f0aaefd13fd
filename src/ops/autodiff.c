#include "ops/autodiff.h"

#include "base/alloc.h"
#include "ops/call.h"

struct dram_backward {
    dram_graph *graph;
    dram_val *gradient; /* of each value of the forward; DRAM_NONE = none so far */
    int n_values;       /* values of the forward */
};

dram_graph *dram_backward_graph(dram_backward *b)
{
    return b->graph;
}

dram_val dram_gradient_of(const dram_backward *b, dram_val v)
{
    return v >= 0 && v < b->n_values ? b->gradient[v] : DRAM_NONE;
}

dram_val dram_grad_out(const dram_backward *b, const dram_node *node, int o)
{
    return dram_gradient_of(b, node->out[o]);
}

bool dram_grad_wanted(const dram_backward *b, const dram_node *node, int i)
{
    return i < node->n_in && node->in[i] != DRAM_NONE && b->graph->values[node->in[i]]->requires_grad;
}

dram_val dram_grad_take(dram_backward *b, const dram_node *node, int i)
{
    dram_val sum = b->gradient[node->in[i]];
    b->gradient[node->in[i]] = DRAM_NONE;
    return sum;
}

void dram_grad_give(dram_backward *b, const dram_node *node, int i, dram_val v)
{
    dram_val sum = b->gradient[node->in[i]];
    b->gradient[node->in[i]] = sum == DRAM_NONE ? v : DRAM_CALL(b->graph, add, "sum", NULL, sum, v);
}

static bool has_gradient(const dram_backward *b, const dram_node *node)
{
    for (int o = 0; o < node->n_out; o++)
        if (dram_grad_out(b, node, o) != DRAM_NONE) return true;
    return false;
}

/* Gradients of weights are accounted as such, everything else of the backward as activations. */
static void account_weight_gradients(const dram_backward *b)
{
    for (int v = 0; v < b->n_values; v++)
        if (b->gradient[v] != DRAM_NONE && b->graph->values[v]->kind == DRAM_VALUE_SLOT)
            b->graph->values[b->gradient[v]]->category = DRAM_CATEGORY_GRADIENTS;
}

dram_status dram_backward_build(dram_graph *g, const dram_val *of, const dram_val *seed, int n, dram_backward **out)
{
    TRY(g->status);
    dram_backward *b = dram_calloc(1, sizeof *b);
    if (b) b->gradient = dram_alloc((size_t)g->n_values * sizeof *b->gradient);
    if (!b || !b->gradient) {
        dram_free(b);
        return g->status = dram_fail(DRAM_ERR_MEMORY, "no memory for the gradients of %s", g->name);
    }
    b->graph = g;
    b->n_values = g->n_values;
    for (int v = 0; v < b->n_values; v++) b->gradient[v] = DRAM_NONE;
    for (int i = 0; i < n; i++) {
        if (!dram_shape_equal(dram_shape_of(g, of[i]), dram_shape_of(g, seed[i])))
            dram_graph_fail(g, "the seed of %s has another shape", g->values[of[i]]->name);
        dram_val sum = b->gradient[of[i]];
        b->gradient[of[i]] = sum == DRAM_NONE ? seed[i] : DRAM_CALL(g, add, "sum", NULL, sum, seed[i]);
    }
    bool detached = g->detached;
    g->backward_begin = g->n_nodes;
    g->detached = true; /* no gradient of a gradient */
    for (int i = g->n_nodes - 1; i >= 0 && g->status == DRAM_OK; i--) {
        const dram_node *node = g->nodes[i];
        if (!g->values[node->out[0]]->requires_grad || !has_gradient(b, node)) continue;
        int scope = dram_scope_push(g, node->name);
        g->block = node->block;
        dram_status status = dram_op_rules[node->op]->grad(b, node);
        if (g->status == DRAM_OK) g->status = status;
        dram_scope_pop(g, scope);
    }
    g->detached = detached;
    g->block = 0;
    if (g->status == DRAM_OK) account_weight_gradients(b);
    *out = b;
    return g->status;
}

void dram_backward_free(dram_backward *b)
{
    if (!b) return;
    dram_free(b->gradient);
    dram_free(b);
}
