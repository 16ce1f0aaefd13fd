#include "passes/blocks.h"

#include "base/alloc.h"

static bool is_output(const dram_graph *g, const dram_node *node)
{
    for (int o = 0; o < node->n_out; o++)
        if (g->values[node->out[o]]->output) return true;
    return false;
}

bool dram_runs_once(const dram_graph *g, int index)
{
    const dram_node *node = g->nodes[index];
    return dram_op_rows[node->op].trait == DRAM_TRAIT_ONCE || dram_node_updates(node) || is_output(g, node);
}

bool dram_is_weight_cast(const dram_graph *g, int index)
{
    const dram_node *node = g->nodes[index];
    return node->op == DRAM_OP_cast && g->values[node->in[0]]->kind == DRAM_VALUE_SLOT;
}

bool dram_is_cheap(const dram_graph *g, int index)
{
    const dram_node *node = g->nodes[index];
    const dram_op_row *row = &dram_op_rows[node->op];
    for (int k = row->min_in; k < node->n_in; k++)
        if (node->in[k] != DRAM_NONE) return false;
    return row->trait == DRAM_TRAIT_CHEAP && !g->values[node->out[0]]->output;
}

/* Numbers the blocks that have both a forward and a backward, in the order of their forward. */
static dram_status number_stages(dram_blocks *b)
{
    const dram_graph *g = b->g;
    size_t blocks = (size_t)g->n_blocks + 1;
    int *number = dram_calloc(blocks, sizeof *number);
    b->stage = dram_calloc(blocks, sizeof *b->stage);
    if (!number || !b->stage) {
        dram_free(number);
        return dram_fail(DRAM_ERR_MEMORY, "no memory to study %s", g->name);
    }
    for (int i = g->backward_begin; i < g->n_nodes; i++) number[g->nodes[i]->block] = -1;
    for (int i = 0; i < g->backward_begin; i++) {
        int block = g->nodes[i]->block;
        if (block && number[block] < 0) {
            number[block] = ++b->length;
            b->stage[b->length].forward = i;
        }
        if (block && number[block] > 0) b->stage[number[block]].forward_end = i + 1;
    }
    for (int i = 0; i < g->n_nodes; i++) {
        int s = g->nodes[i]->block ? number[g->nodes[i]->block] : 0;
        b->of_node[i] = s > 0 ? s : 0;
        if (s <= 0 || i < g->backward_begin) continue;
        if (!b->stage[s].backward) b->stage[s].backward = i;
        b->stage[s].backward_end = i + 1;
    }
    dram_free(number);
    return DRAM_OK;
}

/* Each stage is one run of nodes forward and one backward, the latter in the reverse order. */
static dram_status check_stages(const dram_blocks *b)
{
    const dram_graph *g = b->g;
    for (int s = 1; s <= b->length; s++) {
        const dram_block_stage *stage = &b->stage[s];
        bool good = stage->backward && (s == 1 || b->stage[s - 1].backward >= stage->backward_end);
        for (int i = stage->forward; i < stage->forward_end; i++) good = good && b->of_node[i] == s;
        for (int i = stage->backward; i < stage->backward_end; i++) good = good && b->of_node[i] == s;
        if (!good)
            return dram_fail(DRAM_ERR_INTERNAL, "%s: the block of %s is not in one piece", g->name,
                             g->nodes[stage->forward]->name);
    }
    return DRAM_OK;
}

static void study_readers(dram_blocks *b)
{
    const dram_graph *g = b->g;
    for (int s = 1; s <= b->length; s++)
        for (int i = b->stage[s].forward; i < b->stage[s].forward_end; i++)
            for (int o = 0; o < g->nodes[i]->n_out; o++) b->of_value[g->nodes[i]->out[o]] = s;
    for (int v = 0; v < g->n_values; v++) b->last_outsider[v] = DRAM_NONE;
    for (int i = 0; i < g->n_nodes; i++)
        for (int k = 0; k < g->nodes[i]->n_in; k++) {
            dram_val v = g->nodes[i]->in[k];
            if (v != DRAM_NONE && b->of_node[i] == 0) b->last_outsider[v] = i;
            int s = v == DRAM_NONE ? 0 : b->of_value[v], at = b->of_node[i];
            if (s == 0 || at == s) continue;
            if (at == s + 1)
                b->is_next[v] = true;
            else
                b->is_pinned[v] = true;
        }
    for (int v = 0; v < g->n_values; v++)
        if (b->of_value[v] && g->values[v]->output) b->is_pinned[v] = true;
}

dram_status dram_blocks_open(const dram_graph *g, dram_blocks *b)
{
    dram_status status;
    *b = (dram_blocks){.g = g};
    b->of_node = dram_calloc((size_t)g->n_nodes + 1, sizeof *b->of_node);
    b->of_value = dram_calloc((size_t)g->n_values + 1, sizeof *b->of_value);
    b->is_next = dram_calloc((size_t)g->n_values + 1, sizeof *b->is_next);
    b->is_pinned = dram_calloc((size_t)g->n_values + 1, sizeof *b->is_pinned);
    b->last_outsider = dram_calloc((size_t)g->n_values + 1, sizeof *b->last_outsider);
    if (!b->of_node || !b->of_value || !b->is_next || !b->is_pinned || !b->last_outsider) {
        status = dram_fail(DRAM_ERR_MEMORY, "no memory to study %s", g->name);
        goto failed;
    }
    TRY_GOTO(dram_readers_find(g, &b->readers), failed);
    if (g->backward_begin) {
        TRY_GOTO(number_stages(b), failed);
        TRY_GOTO(check_stages(b), failed);
        study_readers(b);
    }
    return DRAM_OK;
failed:
    dram_blocks_close(b);
    return status;
}

void dram_blocks_close(dram_blocks *b)
{
    dram_free(b->stage);
    dram_free(b->of_node);
    dram_free(b->of_value);
    dram_free(b->is_next);
    dram_free(b->is_pinned);
    dram_readers_free(&b->readers);
    dram_free(b->last_outsider);
    *b = (dram_blocks){0};
}
