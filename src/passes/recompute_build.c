#include "passes/recompute_build.h"

#include <string.h>

int dram_recompute_plain_option(const dram_recompute *r)
{
    return r->options.norms ? 1 : 0;
}

double dram_recompute_time(const dram_recompute *r, int node)
{
    return r->options.seconds ? r->options.seconds[node] : (double)dram_node_flops(r->g, r->g->nodes[node]);
}

void dram_recompute_begin(dram_recompute *r)
{
    dram_trace_clear(&r->trace);
    r->operation = r->operations = 0;
    for (int v = 0; v < r->g->n_values; v++) {
        r->current[v] = v;
        r->memo_key[v] = -1;
    }
    for (int s = 1; s <= r->blocks.length; s++) r->option[s] = dram_recompute_plain_option(r);
}

/* Whether a node of the stage's forward is made again in its backward. */
static bool is_remade(const dram_recompute *r, int s, int option, int node)
{
    int i = node - r->blocks.stage[s].forward;
    if (dram_is_weight_cast(r->g, node)) return true;
    return i < DRAM_BLOCK_NODES && (r->blocks.stage[s].remade[option] >> i & 1);
}

void dram_recompute_needs(const dram_recompute *r, int s, int option, bool *keep)
{
    const dram_graph *g = r->g;
    const dram_block_stage *stage = &r->blocks.stage[s];
    for (int i = stage->backward; i < stage->backward_end; i++)
        for (int k = 0; k < g->nodes[i]->n_in; k++)
            if (g->nodes[i]->in[k] != DRAM_NONE && r->blocks.of_value[g->nodes[i]->in[k]] == s)
                keep[g->nodes[i]->in[k]] = true;
    /* From the last to the first: what is made again passes its need on to its inputs. */
    for (int i = stage->forward_end - 1; i >= stage->forward; i--) {
        const dram_node *node = g->nodes[i];
        bool wanted = false;
        if (dram_runs_once(g, i) || !is_remade(r, s, option, i)) continue;
        for (int o = 0; o < node->n_out; o++) {
            wanted |= keep[node->out[o]] && !r->blocks.is_pinned[node->out[o]];
            if (!r->blocks.is_pinned[node->out[o]]) keep[node->out[o]] = false;
        }
        for (int k = 0; wanted && k < node->n_in; k++)
            if (node->in[k] != DRAM_NONE && r->blocks.of_value[node->in[k]] == s) keep[node->in[k]] = true;
    }
}

static dram_status resolve(dram_recompute *r, int stage, dram_val v, int *version);

/* Whether this operation has made v again, and not so long ago that it would be held for nothing in between: what is
 * cheap to make is made for each of two readers far from each other. */
static bool is_at_hand(const dram_recompute *r, dram_val v)
{
    enum { FAR = 6 }; /* steps of the compute queue */
    if (r->memo_key[v] != r->operation) return false;
    return r->trace.n - r->trace.beside - r->memo_step[v] <= FAR || !dram_is_cheap(r->g, r->g->values[v]->producer);
}

/* Runs the producer of v again, unless that was just done. */
static dram_status remake(dram_recompute *r, int stage, dram_val v, int *version)
{
    int index = r->g->values[v]->producer, in[DRAM_MAX_IN], out[DRAM_MAX_OUT];
    const dram_node *node = r->g->nodes[index];
    if (!is_at_hand(r, v)) {
        for (int k = 0; k < node->n_in; k++) TRY(resolve(r, stage, node->in[k], &in[k]));
        TRY(dram_trace_add(&r->trace, index, true, in, out));
        for (int o = 0; o < node->n_out; o++) {
            r->memo[node->out[o]] = out[o];
            r->memo_key[node->out[o]] = r->operation;
            r->memo_step[node->out[o]] = r->trace.n - r->trace.beside;
        }
    }
    *version = r->memo[v];
    return DRAM_OK;
}

/* What the backward of a stage (0: of none) reads for v; for a repeated forward, the stage's own values are those it
 * has just made. */
static dram_status resolve(dram_recompute *r, int stage, dram_val v, int *version)
{
    *version = v;
    if (v == DRAM_NONE) return DRAM_OK;
    int producer = r->g->values[v]->producer, of = r->blocks.of_value[v];
    if (producer == DRAM_NONE || producer >= r->g->backward_begin) return DRAM_OK;
    *version = r->current[v];
    if (dram_runs_once(r->g, producer) || r->blocks.is_pinned[v]) return DRAM_OK;
    bool again = of ? of == stage && is_remade(r, of, r->option[of], producer)
                    : dram_is_weight_cast(r->g, producer) || (r->options.norms && dram_is_cheap(r->g, producer));
    return again ? remake(r, stage, v, version) : DRAM_OK;
}

dram_status dram_recompute_first(dram_recompute *r, int s)
{
    const dram_block_stage *stage = &r->blocks.stage[s];
    for (int i = stage->forward; i < stage->forward_end; i++)
        TRY(dram_trace_add(&r->trace, i, false, r->g->nodes[i]->in, NULL));
    return DRAM_OK;
}

static bool is_demanded(const dram_recompute *r, int s, int node, const bool *keep)
{
    const dram_blocks *b = &r->blocks;
    if (dram_runs_once(r->g, node)) return false;
    for (int o = 0; o < r->g->nodes[node]->n_out; o++) {
        dram_val v = r->g->nodes[node]->out[o];
        if (b->is_pinned[v] || b->of_value[v] != s) continue;
        if (b->is_next[v] || keep[v]) return true;
    }
    return false;
}

dram_status dram_recompute_repeat(dram_recompute *r, int s, int option)
{
    const dram_block_stage *stage = &r->blocks.stage[s];
    int in[DRAM_MAX_IN], out[DRAM_MAX_OUT];
    r->operation = ++r->operations;
    memset(r->keep, 0, (size_t)r->g->n_values * sizeof *r->keep);
    if (option >= 0) dram_recompute_needs(r, s, option, r->keep);
    for (int i = stage->forward_end - 1; i >= stage->forward; i--) {
        r->demanded[i] = is_demanded(r, s, i, r->keep);
        for (int k = 0; r->demanded[i] && k < r->g->nodes[i]->n_in; k++)
            if (r->g->nodes[i]->in[k] != DRAM_NONE) r->keep[r->g->nodes[i]->in[k]] = true;
    }
    for (int i = stage->forward; i < stage->forward_end; i++) {
        const dram_node *node = r->g->nodes[i];
        if (!r->demanded[i]) continue;
        for (int k = 0; k < node->n_in; k++) {
            dram_val v = node->in[k];
            if (v != DRAM_NONE && r->blocks.of_value[v] == 0)
                TRY(resolve(r, s, v, &in[k]));
            else
                in[k] = v == DRAM_NONE ? v : r->current[v];
        }
        TRY(dram_trace_add(&r->trace, i, true, in, out));
        for (int o = 0; o < node->n_out; o++)
            if (!r->blocks.is_pinned[node->out[o]]) r->current[node->out[o]] = out[o];
    }
    return DRAM_OK;
}

dram_status dram_recompute_backward(dram_recompute *r, int s)
{
    const dram_block_stage *stage = &r->blocks.stage[s];
    int in[DRAM_MAX_IN];
    r->operation = ++r->operations;
    for (int i = stage->backward; i < stage->backward_end; i++) {
        for (int k = 0; k < r->g->nodes[i]->n_in; k++) TRY(resolve(r, s, r->g->nodes[i]->in[k], &in[k]));
        TRY(dram_trace_add(&r->trace, i, false, in, NULL));
    }
    return DRAM_OK;
}

static dram_status bad_schedule(const dram_recompute *r, int stage)
{
    return dram_fail(DRAM_ERR_INTERNAL, "%s: the schedule does not come to block %d in time", r->g->name, stage);
}

/* The schedule's operations before the backward of stage s, which has been reached. */
static dram_status run_schedule(dram_recompute *r, const dram_chain_schedule *schedule, int *at, int s)
{
    for (; *at < schedule->n; ++*at) {
        const dram_chain_op *op = &schedule->op[*at];
        if (op->kind == DRAM_CHAIN_LOSS) continue;
        if (op->kind == DRAM_CHAIN_BACKWARD) {
            if (op->stage != s) break;
            ++*at;
            return DRAM_OK;
        }
        bool save = op->kind == DRAM_CHAIN_SAVE;
        if (save) r->option[op->stage] = op->option;
        TRY(dram_recompute_repeat(r, op->stage, save ? op->option : -1));
    }
    return bad_schedule(r, s);
}

static dram_status forward_part(dram_recompute *r, const dram_chain_schedule *schedule, int *at)
{
    const dram_graph *g = r->g;
    for (int i = 0; i < (g->backward_begin ? g->backward_begin : g->n_nodes); i++) {
        int s = r->blocks.of_node[i];
        if (s && i == r->blocks.stage[s].forward && schedule) {
            const dram_chain_op *op = &schedule->op[*at];
            if (*at >= schedule->n || op->stage != s || op->kind > DRAM_CHAIN_SAVE) return bad_schedule(r, s);
            if (op->kind == DRAM_CHAIN_SAVE) r->option[s] = op->option;
            ++*at;
        }
        TRY(dram_trace_add(&r->trace, i, false, g->nodes[i]->in, NULL));
    }
    return DRAM_OK;
}

dram_status dram_recompute_trace(dram_recompute *r, const dram_chain_schedule *schedule)
{
    const dram_graph *g = r->g;
    int at = 0, in[DRAM_MAX_IN];
    if (schedule && schedule->n == 0) schedule = NULL;
    dram_recompute_begin(r);
    TRY(forward_part(r, schedule, &at));
    for (int i = g->backward_begin ? g->backward_begin : g->n_nodes; i < g->n_nodes; i++) {
        int s = r->blocks.of_node[i];
        if (s) {
            if (i != r->blocks.stage[s].backward) continue;
            if (schedule) TRY(run_schedule(r, schedule, &at, s));
            TRY(dram_recompute_backward(r, s));
            continue;
        }
        r->operation = 0;
        for (int k = 0; k < g->nodes[i]->n_in; k++) TRY(resolve(r, 0, g->nodes[i]->in[k], &in[k]));
        TRY(dram_trace_add(&r->trace, i, false, in, NULL));
    }
    return DRAM_OK;
}
