#include "passes/recompute.h"

#include <string.h>

#include "base/alloc.h"
#include "passes/recompute_build.h"

enum { SMALL = 64 << 10 }; /* bytes: what is smaller is not in the chain's numbers, so that their divisor stays large */

static dram_status take_memory(dram_recompute *r)
{
    size_t values = (size_t)r->g->n_values + 1, nodes = (size_t)r->g->n_nodes + 1;
    r->bytes = dram_calloc(values, sizeof *r->bytes);
    r->big = dram_calloc(values, sizeof *r->big);
    r->workspace = dram_calloc(nodes, sizeof *r->workspace);
    r->big_workspace = dram_calloc(nodes, sizeof *r->big_workspace);
    r->current = dram_calloc(values, sizeof *r->current);
    r->memo = dram_calloc(values, sizeof *r->memo);
    r->memo_key = dram_calloc(values, sizeof *r->memo_key);
    r->memo_step = dram_calloc(values, sizeof *r->memo_step);
    r->keep = dram_calloc(values, sizeof *r->keep);
    r->demanded = dram_calloc(nodes, sizeof *r->demanded);
    r->list = dram_calloc(values, sizeof *r->list);
    r->option = dram_calloc((size_t)r->blocks.length + 1, sizeof *r->option);
    r->chain.stage = dram_calloc((size_t)r->blocks.length + 1, sizeof *r->chain.stage);
    if (r->bytes && r->big && r->workspace && r->big_workspace && r->current && r->memo && r->memo_key &&
        r->memo_step && r->keep && r->demanded && r->list && r->option && r->chain.stage)
        return DRAM_OK;
    return dram_fail(DRAM_ERR_MEMORY, "no memory to study %s", r->g->name);
}

static void find_sizes(dram_recompute *r, const dram_profile *profile)
{
    const dram_graph *g = r->g;
    for (int v = 0; v < g->n_values; v++) {
        const dram_value *value = g->values[v];
        if (value->slot != DRAM_NONE || value->space != DRAM_SPACE_DEVICE) continue;
        r->bytes[v] = dram_aligned(profile, dram_value_bytes(value));
        r->big[v] = r->bytes[v] < SMALL ? 0 : r->bytes[v];
    }
    for (int i = 0; i < g->n_nodes; i++) {
        if (dram_node_space(g, g->nodes[i]) != DRAM_SPACE_DEVICE) continue;
        r->workspace[i] = dram_aligned(profile, dram_node_workspace(g, g->nodes[i], profile));
        r->big_workspace[i] = r->workspace[i] < SMALL ? 0 : r->workspace[i];
    }
}

double dram_recompute_time(const dram_recompute *r, int node)
{
    return r->options.seconds ? r->options.seconds[node] : (double)dram_node_flops(r->g, r->g->nodes[node]);
}

/* ---- the numbers of the chain ---- */

static bool is_kept(void *context, int value)
{
    const dram_recompute *r = context;
    return value < r->g->n_values && r->keep[value];
}

static dram_status peak_of(dram_recompute *r, int from, int n_start, int64_t *peak)
{
    const dram_trace_sizes sizes = {.bytes = r->big, .workspace = r->big_workspace, .in_place = r->options.in_place};
    return dram_trace_peak(&r->trace, &sizes, from, r->trace.n, r->list, n_start, is_kept, r, peak);
}

static bool is_link(const dram_recompute *r, dram_val v)
{
    return r->blocks.is_next[v] && !r->blocks.is_pinned[v] && !dram_runs_once(r->g, r->g->values[v]->producer);
}

/* Marks in `keep` the stage's outputs that the next one reads, and under an option (-1: none) what it keeps. Pinned
 * values are kept too, but are not in the numbers. */
static void mark_kept(dram_recompute *r, int s, int option)
{
    const dram_block_stage *stage = &r->blocks.stage[s];
    memset(r->keep, 0, (size_t)r->g->n_values * sizeof *r->keep);
    if (option >= 0) dram_recompute_needs(r, s, option, r->keep);
    for (int i = stage->forward; i < stage->forward_end; i++)
        for (int o = 0; o < r->g->nodes[i]->n_out; o++) {
            dram_val v = r->g->nodes[i]->out[o];
            r->keep[v] = (r->keep[v] || is_link(r, v)) && !r->blocks.is_pinned[v];
        }
}

/* Puts the kept values into the list and gives their bytes. */
static int64_t list_kept(dram_recompute *r, int *n)
{
    int64_t bytes = 0;
    *n = 0;
    for (int v = 0; v < r->g->n_values; v++) {
        if (!r->keep[v]) continue;
        r->list[(*n)++] = v;
        bytes += r->big[v];
    }
    return bytes;
}

static dram_status forward_peak(dram_recompute *r, int s, int64_t *peak)
{
    dram_recompute_begin(r);
    TRY(dram_recompute_first(r, s));
    return peak_of(r, 0, 0, peak);
}

/* d[s] and what waits for later; the gradients of the stage's weights. Marks in `keep` what outlives the backward, and
 * adds to the list what comes into it. */
static void study_gradients(dram_recompute *r, int s, int *n_start, int64_t *incoming, int64_t *waiting,
                            int64_t *weights)
{
    const dram_graph *g = r->g;
    const dram_block_stage *stage = &r->blocks.stage[s];
    *incoming = *waiting = *weights = 0;
    for (int i = stage->backward; i < stage->backward_end; i++) {
        for (int k = 0; k < g->nodes[i]->n_in; k++) {
            dram_val v = g->nodes[i]->in[k];
            int producer = v == DRAM_NONE ? DRAM_NONE : g->values[v]->producer;
            if (producer < g->backward_begin || (producer >= stage->backward && producer < stage->backward_end))
                continue;
            bool seen = false;
            for (int j = 0; j < *n_start; j++) seen |= r->list[j] == v;
            if (seen) continue;
            r->list[(*n_start)++] = v;
            *incoming += r->big[v];
            if (s < r->blocks.length && r->blocks.of_node[producer] == 0) *waiting += r->big[v];
        }
        for (int o = 0; o < g->nodes[i]->n_out; o++) {
            dram_val v = g->nodes[i]->out[o];
            bool to_update = r->blocks.last_outsider[v] >= stage->backward_end;
            if (r->blocks.readers.last[v] < stage->backward_end) continue;
            r->keep[v] = true;
            if (to_update) *weights += r->big[v];
        }
    }
}

typedef struct {
    int64_t incoming, waiting, weights;
} gradients;

static dram_status measure_option(dram_recompute *r, int s, int k, dram_chain_option *o, gradients *g)
{
    const dram_block_stage *stage = &r->blocks.stage[s];
    int n_start, end;
    mark_kept(r, s, k);
    o->kept = list_kept(r, &n_start);
    TRY(forward_peak(r, s, &o->forward_peak));
    if (o->forward_peak < o->kept) o->forward_peak = o->kept;
    memset(r->keep, 0, (size_t)r->g->n_values * sizeof *r->keep);
    study_gradients(r, s, &n_start, &g->incoming, &g->waiting, &g->weights);
    end = r->trace.n;
    r->option[s] = k;
    TRY(dram_recompute_backward(r, s));
    TRY(peak_of(r, end, n_start, &o->backward_peak));
    if (o->backward_peak < o->kept + g->incoming) o->backward_peak = o->kept + g->incoming;
    o->forward = o->backward = 0;
    for (int i = stage->forward; i < stage->forward_end; i++) o->forward += dram_recompute_time(r, i);
    for (int i = end; i < r->trace.n; i++) o->backward += dram_recompute_time(r, r->trace.step[i].node);
    return DRAM_OK;
}

static bool is_dominated(const dram_chain_option *a, const dram_chain_option *by)
{
    return by->kept <= a->kept && by->backward <= a->backward && by->forward_peak <= a->forward_peak &&
           by->backward_peak <= a->backward_peak;
}

/* Adds the option unless one there is as good in everything. With no room left it takes the place of the one that costs
 * most time, if it costs less. Options 0 and 1 stay. */
static void add_option(dram_recompute *r, int s, uint64_t remade, const dram_chain_option *o)
{
    dram_block_stage *stage = &r->blocks.stage[s];
    dram_chain_stage *numbers = &r->chain.stage[s];
    int at = numbers->n_options, first = dram_recompute_plain_option(r) + 1;
    for (int k = 0; k < numbers->n_options; k++)
        if (at >= first && is_dominated(o, &numbers->option[k])) return;
    if (at == DRAM_CHAIN_OPTIONS) {
        at = first;
        for (int k = first; k < DRAM_CHAIN_OPTIONS; k++)
            if (numbers->option[k].backward > numbers->option[at].backward) at = k;
        if (numbers->option[at].backward <= o->backward) return;
    } else {
        numbers->n_options = stage->n_options = at + 1;
    }
    stage->remade[at] = remade;
    numbers->option[at] = *o;
}

/* Products whose output is large and would be kept when the norms are made again: each of them may be made again
 * too. */
static int list_products(dram_recompute *r, int s, int *bit)
{
    enum { MOST = 4 };
    const dram_block_stage *stage = &r->blocks.stage[s];
    int n = 0;
    mark_kept(r, s, dram_recompute_plain_option(r));
    for (int i = stage->forward; i < stage->forward_end && i - stage->forward < DRAM_BLOCK_NODES && n < MOST; i++) {
        const dram_node *node = r->g->nodes[i];
        bool product = dram_op_rows[node->op].trait == DRAM_TRAIT_PRODUCT;
        if (product && r->keep[node->out[0]] && !is_link(r, node->out[0]) && r->big[node->out[0]])
            bit[n++] = i - stage->forward;
    }
    return n;
}

static dram_status study_stage(dram_recompute *r, int s, gradients *of)
{
    dram_block_stage *stage = &r->blocks.stage[s];
    dram_chain_stage *numbers = &r->chain.stage[s];
    dram_chain_option o;
    uint64_t cheap = 0;
    int bit[4], n_start;
    for (int i = stage->forward; i < stage->forward_end && i - stage->forward < DRAM_BLOCK_NODES; i++)
        if (dram_is_cheap(r->g, i) && !is_link(r, r->g->nodes[i]->out[0])) cheap |= 1ull << (i - stage->forward);
    mark_kept(r, s, -1);
    numbers->x = list_kept(r, &n_start);
    numbers->pinned = n_start == 0;
    TRY(forward_peak(r, s, &numbers->plain_peak));
    stage->remade[0] = 0;
    TRY(measure_option(r, s, 0, &o, of));
    numbers->forward = o.forward;
    numbers->d = of->incoming;
    add_option(r, s, 0, &o);
    if (!r->options.norms) return DRAM_OK;
    stage->remade[1] = cheap;
    TRY(measure_option(r, s, 1, &o, of));
    add_option(r, s, cheap, &o);
    int products = r->options.more ? list_products(r, s, bit) : 0;
    for (int subset = 1; subset < 1 << products; subset++) {
        uint64_t remade = cheap;
        for (int b = 0; b < products; b++)
            if (subset >> b & 1) remade |= 1ull << bit[b];
        stage->remade[DRAM_CHAIN_OPTIONS] = remade;
        TRY(measure_option(r, s, DRAM_CHAIN_OPTIONS, &o, of));
        add_option(r, s, remade, &o);
    }
    return DRAM_OK;
}

/* Bytes that the loss and all between the last stage's forward and its backward need. */
static dram_status study_loss(dram_recompute *r)
{
    int from, n_start = 0;
    TRY(dram_recompute_trace(r, NULL));
    memset(r->keep, 0, (size_t)r->g->n_values * sizeof *r->keep);
    for (from = 0; from < r->trace.n; from++)
        if (r->trace.step[from].node >= r->blocks.stage[r->blocks.length].forward_end) break;
    int to = from;
    while (to < r->trace.n && r->blocks.of_node[r->trace.step[to].node] == 0) to++;
    r->trace.n = to;
    return peak_of(r, from, n_start, &r->chain.loss_peak);
}

/* Pinned values of a stage live from its forward to its backward: held by all that comes in between, the loss
 * included. */
static int64_t pinned_bytes(const dram_recompute *r, int s)
{
    int64_t bytes = 0;
    for (int i = r->blocks.stage[s].forward; i < r->blocks.stage[s].forward_end; i++)
        for (int o = 0; o < r->g->nodes[i]->n_out; o++)
            if (r->blocks.is_pinned[r->g->nodes[i]->out[o]]) bytes += r->big[r->g->nodes[i]->out[o]];
    return bytes;
}

static dram_status study_chain(dram_recompute *r)
{
    dram_status status = DRAM_OK;
    int length = r->chain.length = r->blocks.length;
    if (length == 0) return DRAM_OK;
    gradients *of = dram_calloc((size_t)length + 1, sizeof *of);
    if (!of) return dram_fail(DRAM_ERR_MEMORY, "no memory to study %s", r->g->name);
    for (int s = 1; s <= length; s++) TRY_GOTO(study_stage(r, s, &of[s]), done);
    for (int s = 1; s <= length; s++) {
        int64_t held = 0;
        for (int j = s + 1; j <= length; j++) held += of[j].weights;
        for (int j = 1; j < s; j++) held += of[j].waiting;
        for (int j = 1; j <= s; j++) held += pinned_bytes(r, j);
        r->chain.stage[s].held = held;
    }
    status = study_loss(r);
    for (int s = 1; s <= length; s++) r->chain.loss_peak += pinned_bytes(r, s);
done:
    dram_free(of);
    return status;
}

dram_status dram_recompute_open(const dram_graph *g, const dram_profile *profile, dram_recompute_options options,
                                dram_recompute **out)
{
    dram_status status;
    TRY(g->status);
    dram_recompute *r = dram_calloc(1, sizeof *r);
    if (!r) return dram_fail(DRAM_ERR_MEMORY, "no memory to study %s", g->name);
    r->g = g;
    r->options = options;
    TRY_GOTO(dram_blocks_open(g, &r->blocks), failed);
    TRY_GOTO(take_memory(r), failed);
    TRY_GOTO(dram_trace_open(g, &r->trace), failed);
    find_sizes(r, profile);
    TRY_GOTO(study_chain(r), failed);
    *out = r;
    return DRAM_OK;
failed:
    dram_recompute_close(r);
    return status;
}

void dram_recompute_close(dram_recompute *r)
{
    if (!r) return;
    void *const memory[] = {r->bytes, r->big,      r->workspace,  r->big_workspace, r->current,
                            r->memo,  r->memo_key, r->memo_step,  r->keep,          r->demanded,
                            r->list,  r->option,   r->chain.stage};
    for (size_t i = 0; i < sizeof memory / sizeof memory[0]; i++) dram_free(memory[i]);
    dram_trace_close(&r->trace);
    dram_blocks_close(&r->blocks);
    dram_free(r);
}

const dram_chain *dram_recompute_chain(const dram_recompute *r)
{
    return &r->chain;
}

/* ---- a whole program ---- */

static bool is_output(void *context, int value)
{
    const dram_recompute *r = context;
    return r->g->values[r->trace.origin[value]]->output;
}

dram_status dram_recompute_measure(dram_recompute *r, const dram_chain_schedule *schedule, int64_t *live_bytes,
                                   int64_t *added_flops)
{
    const dram_trace_sizes sizes = {.bytes = r->bytes, .workspace = r->workspace, .in_place = r->options.in_place};
    int n = 0;
    TRY(dram_recompute_trace(r, schedule));
    *added_flops = 0;
    for (int i = 0; i < r->trace.n; i++)
        if (r->trace.step[i].copy) *added_flops += dram_node_flops(r->g, r->g->nodes[r->trace.step[i].node]);
    for (int v = 0; v < r->g->n_values; v++)
        if (r->g->values[v]->kind == DRAM_VALUE_INPUT) r->list[n++] = v;
    return dram_trace_peak(&r->trace, &sizes, 0, r->trace.n, r->list, n, is_output, r, live_bytes);
}

dram_status dram_recompute_apply(dram_recompute *r, dram_graph *g, const dram_chain_schedule *schedule)
{
    TRY(dram_recompute_trace(r, schedule));
    return dram_trace_apply(&r->trace, g);
}
