/* Random graphs over two spaces, planned and then run symbolically: every value is a token, an arena is an array of
 * tokens, and each read must find the token that it expects. Nothing of the planner is believed but the offsets.
 *
 * What is beside the compute queue (copies, and nodes put on the third queue) runs as late as a device may run it. From
 * the moment it is issued, what it writes and its workspace are junk. It reads and writes when a compute node waits for
 * it, or a node of another queue that a compute node waits for, or at the end. */
#include "support/fakes.h"

#include <stdlib.h>

enum { CELL = 64, MAX_PROGRAMS = 3 };

typedef struct {
    dram_slots slots;
    dram_graph *graph[MAX_PROGRAMS];
    int n_graphs;
    char why[320]; /* of a failed run */
    int32_t *cell[DRAM_SPACE_COUNT];
    int pending[256]; /* nodes beside the compute queue that were issued and have not run, in order */
    int n_pending;
    int32_t tokens;
    int32_t *slot_token;
} world;

static int below(dram_rng *r, int n)
{
    return (int)dram_rng_below(r, (uint64_t)n);
}

/* Values that may still be read: what was updated may not. */
typedef struct {
    dram_val v[512];
    int n;
} readable;

static void forget(readable *list, dram_val v)
{
    for (int i = 0; i < list->n; i++)
        if (list->v[i] == v) {
            list->v[i] = list->v[--list->n];
            return;
        }
}

/* An input like one that is there, mostly young, so that lives are short and bytes get used again. */
static dram_val some_value(const readable *list, dram_rng *r)
{
    int reach = below(r, 4) ? 6 : list->n;
    if (reach > list->n) reach = list->n;
    return list->v[list->n - 1 - below(r, reach)];
}

/* One of that space, or of any for a copy. */
static dram_val some_value_in(const readable *list, const dram_graph *g, dram_space space, bool any, dram_rng *r)
{
    for (int tries = 0; tries < 60; tries++) {
        dram_val v = some_value(list, r);
        if (any || g->values[v]->space == space) return v;
    }
    return DRAM_NONE;
}

static bool is_among(const dram_val *in, int n, dram_val v)
{
    for (int i = 0; i < n; i++)
        if (in[i] == v) return true;
    return false;
}

/* What a node beside the compute queue reads and writes may be read and written late. */
static bool is_used_late(const dram_graph *g, dram_val v)
{
    for (int i = 0; i < g->n_nodes; i++) {
        const dram_node *node = g->nodes[i];
        if (node->queue == DRAM_QUEUE_COMPUTE) continue;
        if (is_among(node->in, node->n_in, v) || is_among(node->out, node->n_out, v)) return true;
    }
    return false;
}

static dram_val updatable(const readable *list, const dram_graph *g, const dram_val *in, int n, dram_rng *r)
{
    for (int tries = 0; tries < 40; tries++) {
        dram_val v = list->v[below(r, list->n)];
        if (!g->values[v]->output && !is_among(in, n, v) && g->values[v]->space == g->space && !is_used_late(g, v))
            return v;
    }
    return DRAM_NONE;
}

/* One node of a random op of the real list, with its real rules of aliasing and updating. */
static void random_node(dram_graph *g, readable *list, dram_rng *r)
{
    static const int sizes[] = {0, 16, 64, 100, 256, 256, 256, 1000, 4096};
    dram_op op = below(r, 8) ? (dram_op)below(r, DRAM_OP_COUNT) : DRAM_OP_copy;
    g->space = below(r, 3) ? DRAM_SPACE_DEVICE : DRAM_SPACE_HOST;
    const dram_op_row *row = &dram_op_rows[op];
    dram_val in[DRAM_MAX_IN], out[DRAM_MAX_OUT];
    bool updated[DRAM_MAX_IN] = {false};
    dram_attr attr = {.stride = below(r, 3) || op == DRAM_OP_copy ? 0 : sizes[below(r, 9)]};
    int n = row->min_in + below(r, row->max_in - row->min_in + 1);
    for (int o = 0; o < row->n_out; o++) {
        int from = dram_op_updates(op, o);
        if (from != DRAM_NONE) updated[from] = true;
    }
    for (int i = 0; i < n; i++) in[i] = DRAM_NONE;
    for (int i = 0; i < n; i++)
        if (updated[i]) {
            in[i] = updatable(list, g, in, n, r);
            if (in[i] == DRAM_NONE) return;
        }
    for (int i = 0; i < n; i++) {
        if (updated[i] || (i >= row->min_in && below(r, 4) == 0)) continue;
        dram_val v = some_value_in(list, g, g->space, op == DRAM_OP_copy, r);
        if (v == DRAM_NONE && i >= row->min_in) continue;
        if (v == DRAM_NONE) return;
        bool clash = false; /* what a node updates, it reads in one place only */
        for (int k = 0; k < n; k++) clash |= updated[k] && in[k] == v;
        if (clash) return;
        in[i] = v;
    }
    if (n == 0 || in[0] == DRAM_NONE || below(r, 2)) {
        attr.out_h = sizes[below(r, 9)];
        attr.mode = 1;
    }
    dram_graph_add(g, op, "n", &attr, in, n, out);
    assert_int_equal(g->status, DRAM_OK);
    dram_node *node = g->nodes[g->n_nodes - 1];
    if (below(r, 6) == 0 && !dram_node_updates(node)) node->queue = DRAM_QUEUE_COMM;
    for (int i = 0; i < n; i++)
        if (updated[i]) forget(list, in[i]);
    for (int o = 0; o < row->n_out; o++) {
        list->v[list->n++] = out[o];
        if (below(r, 12) == 0) dram_graph_output(g, out[o]);
    }
}

static void open_world(world *w, int programs, int nodes, uint64_t seed)
{
    dram_rng r = dram_rng_make(seed, DRAM_RNG_TEST, 7);
    *w = (world){.n_graphs = programs};
    for (int p = 0; p < programs; p++) {
        readable list = {.n = 0};
        char name[16];
        assert_int_equal(dram_graph_new("program", &w->slots, &w->graph[p]), DRAM_OK);
        dram_graph *g = w->graph[p];
        for (int i = 0; i < 4; i++) {
            snprintf(name, sizeof name, "x%d", i);
            g->space = i == 3 ? DRAM_SPACE_HOST : DRAM_SPACE_DEVICE;
            list.v[list.n++] = dram_graph_input(g, name, DRAM_U8, DRAM_SHAPE(256));
        }
        for (int i = 0; i < 8; i++) { /* each program reads some of twelve slots, and adds others than the last */
            int k = below(&r, 12);
            snprintf(name, sizeof name, "w%d", k);
            dram_val v = dram_graph_slot(g, &(dram_slot){.name = name,
                                                         .dtype = DRAM_U8,
                                                         .shape = DRAM_SHAPE(100 * k),
                                                         .category = (dram_category)(k % 4),
                                                         .space = k % 3 ? DRAM_SPACE_DEVICE : DRAM_SPACE_HOST,
                                                         .group = "student"});
            if (!is_among(list.v, list.n, v)) list.v[list.n++] = v;
        }
        for (int i = 0; i < nodes; i++) {
            g->category = (dram_category)below(&r, DRAM_CATEGORY_COUNT);
            random_node(g, &list, &r);
        }
    }
}

static void close_world(world *w)
{
    for (int p = 0; p < w->n_graphs; p++) dram_graph_free(w->graph[p]);
    dram_slots_free(&w->slots);
    for (int s = 0; s < DRAM_SPACE_COUNT; s++) free(w->cell[s]);
    free(w->slot_token);
}

static void write_cells(world *w, dram_space space, int64_t offset, int64_t bytes, int32_t token)
{
    for (int64_t c = offset / CELL; c < (offset + bytes) / CELL; c++) w->cell[space][c] = token;
}

static bool cells_hold(const world *w, dram_space space, int64_t offset, int64_t bytes, int32_t token)
{
    for (int64_t c = offset / CELL; c < (offset + bytes) / CELL; c++)
        if (w->cell[space][c] != token) return false;
    return true;
}

static void write_value(world *w, const dram_program *p, dram_val v, int32_t token)
{
    write_cells(w, p->graph->values[v]->space, p->value[v].offset, p->value[v].bytes, token);
}

static bool value_holds(world *w, const dram_program *p, const int32_t *token, dram_val v, const char *when)
{
    if (cells_hold(w, p->graph->values[v]->space, p->value[v].offset, p->value[v].bytes, token[v])) return true;
    snprintf(w->why, sizeof w->why, "%s, %s", p->graph->values[v]->name, when);
    return false;
}

/* Whether output o of the node may destroy input v: it is planned or bound to lie on it. */
static bool takes(const dram_program *p, const dram_node *node, dram_val v)
{
    for (int o = 0; o < node->n_out; o++)
        if (p->value[node->out[o]].alias == v) return true;
    return false;
}

static bool work_node(world *w, const dram_program *p, int i, int32_t *token)
{
    const dram_node *node = p->graph->nodes[i];
    dram_space space = dram_node_space(p->graph, node);
    for (int k = 0; k < node->n_in; k++)
        if (node->in[k] != DRAM_NONE && !value_holds(w, p, token, node->in[k], "when read")) return false;
    int32_t junk = w->tokens++;
    write_cells(w, space, p->workspace_offset[i], p->workspace_bytes[i], junk);
    for (int k = 0; k < node->n_in; k++)
        if (node->in[k] != DRAM_NONE && !value_holds(w, p, token, node->in[k], "under a workspace")) return false;
    for (int o = 0; o < node->n_out; o++) {
        token[node->out[o]] = w->tokens++;
        write_value(w, p, node->out[o], token[node->out[o]]);
    }
    for (int o = 0; o < node->n_out; o++)
        if (!value_holds(w, p, token, node->out[o], "written over by its neighbour")) return false;
    for (int k = 0; k < node->n_in; k++) /* a kernel may read an input until it ends */
        if (node->in[k] != DRAM_NONE && !takes(p, node, node->in[k]) &&
            !value_holds(w, p, token, node->in[k], "written over by a reader"))
            return false;
    if (cells_hold(w, space, p->workspace_offset[i], p->workspace_bytes[i], junk)) return true;
    snprintf(w->why, sizeof w->why, "the workspace of %s is written over", node->name);
    return false;
}

static bool work_pending(world *w, const dram_program *p, int at, int32_t *token);

/* Runs those of the first n pending nodes that made what the node reads. */
static bool work_needs(world *w, const dram_program *p, const dram_node *node, int n, int32_t *token)
{
    for (int c = 0; c < n; c++) {
        if (w->pending[c] < 0) continue;
        const dram_node *other = p->graph->nodes[w->pending[c]];
        for (int o = 0; o < other->n_out; o++)
            if (w->pending[c] >= 0 && is_among(node->in, node->n_in, other->out[o]) && !work_pending(w, p, c, token))
                return false;
    }
    return true;
}

/* Runs a pending node, after those before it on its queue and after what it reads. */
static bool work_pending(world *w, const dram_program *p, int at, int32_t *token)
{
    int i = w->pending[at];
    const dram_node *node = p->graph->nodes[i];
    for (int c = 0; c < at; c++)
        if (w->pending[c] >= 0 && p->graph->nodes[w->pending[c]]->queue == node->queue && !work_pending(w, p, c, token))
            return false;
    if (!work_needs(w, p, node, at, token)) return false;
    w->pending[at] = -1;
    return work_node(w, p, i, token);
}

static bool run_node(world *w, const dram_program *p, int i, int32_t *token)
{
    const dram_node *node = p->graph->nodes[i];
    if (node->queue == DRAM_QUEUE_COMPUTE)
        return work_needs(w, p, node, w->n_pending, token) && work_node(w, p, i, token);
    for (int o = 0; o < node->n_out; o++) /* it may begin, and then wait; an input it reads before it writes there */
        if (p->value[node->out[o]].alias == DRAM_NONE) write_value(w, p, node->out[o], w->tokens++);
    write_cells(w, dram_node_space(p->graph, node), p->workspace_offset[i], p->workspace_bytes[i], w->tokens++);
    assert_true(w->n_pending < 256);
    w->pending[w->n_pending++] = i;
    return true;
}

static bool run_program(world *w, const dram_plan *plan, const dram_program *p)
{
    const dram_graph *g = p->graph;
    int32_t *token = calloc((size_t)g->n_values + 1, sizeof *token);
    bool good = true;
    assert_non_null(token);
    for (int v = 0; v < g->n_values; v++) {
        if (g->values[v]->kind == DRAM_VALUE_SLOT) token[v] = w->slot_token[g->values[v]->slot];
        if (g->values[v]->kind != DRAM_VALUE_INPUT) continue;
        token[v] = w->tokens++;
        write_value(w, p, v, token[v]);
    }
    w->n_pending = 0;
    for (int i = 0; i < g->n_nodes && good; i++) good = run_node(w, p, i, token);
    for (int c = 0; c < w->n_pending && good; c++) good = w->pending[c] < 0 || work_pending(w, p, c, token);
    for (int v = 0; v < g->n_values && good; v++)
        if (g->values[v]->output) good = value_holds(w, p, token, v, "an output at the end");
    for (int s = 0; s < g->slot_values; s++)
        if (g->slot_value[s] != DRAM_NONE) w->slot_token[s] = token[g->slot_value[s]];
    for (int s = 0; s < w->slots.n && good; s++) {
        good =
            cells_hold(w, w->slots.at[s]->space, plan->slot_offset[s], dram_plan_slot_bytes(plan, s), w->slot_token[s]);
        if (!good) snprintf(w->why, sizeof w->why, "slot %s at the end", w->slots.at[s]->name);
    }
    free(token);
    return good;
}

/* Runs the programs one after another, twice, over the same arenas. */
static bool run_all(world *w, const dram_plan *plan)
{
    bool good = true;
    w->tokens = 1;
    for (int s = 0; s < DRAM_SPACE_COUNT; s++) {
        free(w->cell[s]);
        w->cell[s] = calloc((size_t)(dram_plan_arena(plan, (dram_space)s) / CELL) + 1, sizeof *w->cell[s]);
        assert_non_null(w->cell[s]);
    }
    free(w->slot_token);
    w->slot_token = calloc((size_t)w->slots.n + 1, sizeof *w->slot_token);
    assert_non_null(w->slot_token);
    for (int s = 0; s < w->slots.n; s++) {
        w->slot_token[s] = w->tokens++;
        write_cells(w, w->slots.at[s]->space, plan->slot_offset[s], dram_plan_slot_bytes(plan, s), w->slot_token[s]);
    }
    for (int i = 0; i < 2 * plan->n_programs && good; i++)
        good = run_program(w, plan, &plan->programs[i % plan->n_programs]);
    return good;
}

static void raise_to(int64_t *most, int64_t value)
{
    if (value > *most) *most = value;
}

/* Everything within the arena of its space, temporaries above the slots, the numbers of the plan in order. Gives the
 * aliases. */
static int check_numbers(const dram_plan *plan)
{
    int64_t account[DRAM_CATEGORY_COUNT], sum = 0, host = 0, top[DRAM_SPACE_COUNT], slots[DRAM_SPACE_COUNT];
    int aliases = 0;
    for (int s = 0; s < DRAM_SPACE_COUNT; s++)
        top[s] = slots[s] = s == DRAM_SPACE_DEVICE ? plan->slots_bytes : plan->outside_slots[s];
    for (int i = 0; i < plan->n_programs; i++) {
        const dram_program *p = &plan->programs[i];
        int64_t alive = 0;
        for (int v = 0; v < p->graph->n_values; v++) {
            const dram_place_of_value *at = &p->value[v];
            dram_space space = p->graph->values[v]->space;
            assert_int_equal(at->offset % plan->profile.align, 0);
            assert_int_equal(at->bytes % plan->profile.align, 0);
            assert_true(at->bytes >= dram_value_bytes(p->graph->values[v]));
            assert_true(at->first <= at->last && at->first >= 0);
            bool slot = p->graph->values[v]->slot != DRAM_NONE;
            assert_true(slot ? at->offset + at->bytes <= slots[space] : at->offset >= slots[space] || at->bytes == 0);
            raise_to(&top[space], at->offset + at->bytes);
            if (at->alias != DRAM_NONE) assert_int_equal(p->graph->values[at->alias]->space, space);
            aliases += at->alias != DRAM_NONE;
        }
        for (int k = 0; k < p->graph->n_nodes; k++)
            if (p->workspace_bytes[k])
                raise_to(&top[dram_node_space(p->graph, p->graph->nodes[k])],
                         p->workspace_offset[k] + p->workspace_bytes[k]);
        for (int c = 0; c < DRAM_CATEGORY_COUNT; c++) alive += p->live_at_peak[c];
        assert_int_equal(alive, p->placement.max_live);
        assert_true(p->floor_bytes <= p->placement.max_live);
        assert_true(p->placement.max_live <= p->placement.top);
    }
    for (int s = 0; s < DRAM_SPACE_COUNT; s++) {
        assert_int_equal(top[s], dram_plan_arena(plan, (dram_space)s));
        if (s != DRAM_SPACE_DEVICE) host += top[s];
    }
    assert_int_equal(host, plan->host_bytes);
    dram_plan_account(plan, account);
    for (int c = 0; c < DRAM_CATEGORY_COUNT; c++) sum += account[c];
    assert_int_equal(sum, plan->max_live_bytes);
    assert_true(plan->floor_bytes <= plan->max_live_bytes);
    assert_true(plan->max_live_bytes <= plan->arena_bytes);
    return aliases;
}

/* The teacher's activations, chains of aliases followed, share no byte with anything else of the device. */
static void check_apart(const dram_plan *plan)
{
    for (int i = 0; i < plan->n_programs; i++) {
        const dram_program *p = &plan->programs[i];
        const dram_graph *g = p->graph;
        for (int a = 0; a < g->n_values; a++) {
            const dram_value *teacher = g->values[a];
            if (teacher->category != DRAM_CATEGORY_TEACHER_ACTIVATIONS || teacher->slot != DRAM_NONE) continue;
            if (teacher->space != DRAM_SPACE_DEVICE || p->value[a].alias != DRAM_NONE) continue;
            for (int b = 0; b < g->n_values; b++) {
                const dram_value *other = g->values[b];
                if (other->space != DRAM_SPACE_DEVICE || p->value[b].alias != DRAM_NONE) continue;
                if (other->category == DRAM_CATEGORY_TEACHER_ACTIVATIONS && other->slot == DRAM_NONE) continue;
                assert_true(p->value[a].offset + p->value[a].bytes <= p->value[b].offset ||
                            p->value[b].offset + p->value[b].bytes <= p->value[a].offset);
            }
        }
    }
}

static void no_living_byte_is_overwritten(void **state)
{
    (void)state;
    static const int lengths[] = {1, 3, 8, 20, 35, 60};
    int aliases = 0, reused = 0;
    for (uint64_t seed = 0; seed < 48; seed++) {
        world w;
        open_world(&w, 1 + (int)(seed % MAX_PROGRAMS), lengths[seed % 6], seed);
        for (int options = 0; options < 6; options++) {
            bool share = options < 4;
            dram_plan *plan = fake_plan_with(w.graph, w.n_graphs, &w.slots,
                                             (dram_plan_options){.in_place = options & 1,
                                                                 .eager_free = !share || options >> 1,
                                                                 .share_teacher = share});
            int taken = check_numbers(plan);
            if (!share) check_apart(plan);
            if (!run_all(&w, plan)) fail_msg("seed %d, options %d: %s", (int)seed, options, w.why);
            if (options == 3) {
                int64_t apart = 0;
                aliases += taken;
                const dram_program *p = &plan->programs[0];
                for (int v = 0; v < p->graph->n_values; v++)
                    if (p->graph->values[v]->slot == DRAM_NONE) apart += p->value[v].bytes;
                reused += apart > 2 * p->placement.top;
            }
            dram_plan_free(plan);
        }
        close_world(&w);
    }
    assert_true(aliases > 100);
    assert_true(reused > 10);
}

/* The last node that reads v; -1 if there is none. */
static int last_read(const dram_graph *g, dram_val v)
{
    for (int i = g->n_nodes - 1; i >= 0; i--)
        if (is_among(g->nodes[i]->in, g->nodes[i]->n_in, v)) return i;
    return -1;
}

/* The checker must see a plan that is wrong: a value is moved onto another that lives at the same node, or a lifetime
 * is cut by taking bytes that are still read. */
static void a_wrong_plan_is_seen(void **state)
{
    (void)state;
    int moved = 0;
    for (uint64_t seed = 0; seed < 40; seed++) {
        world w;
        open_world(&w, 1, 30, seed);
        dram_plan *plan = fake_plan(w.graph, 1, &w.slots, true, true);
        dram_program *p = &plan->programs[0];
        if (!run_all(&w, plan)) fail_msg("seed %d: %s", (int)seed, w.why);
        /* The last read of `a` finds what `b`, made before it, wrote there. */
        for (int a = 0; a < w.graph[0]->n_values; a++)
            for (int b = 0; b < w.graph[0]->n_values; b++) {
                const dram_value *va = w.graph[0]->values[a], *vb = w.graph[0]->values[b];
                if (va->slot != DRAM_NONE || vb->slot != DRAM_NONE || vb->producer == DRAM_NONE) continue;
                if (!p->value[a].bytes || p->value[b].bytes != p->value[a].bytes) continue;
                if (va->space != vb->space || p->value[a].first >= vb->producer) continue;
                if (is_used_late(w.graph[0], a) || is_used_late(w.graph[0], b)) continue; /* in an order of its own */
                if (last_read(w.graph[0], a) <= vb->producer && !(va->output && p->value[a].last > vb->producer))
                    continue;
                int64_t right = p->value[b].offset;
                bool chained = p->value[b].alias != DRAM_NONE;
                for (int v = 0; v < w.graph[0]->n_values; v++)
                    chained |= p->value[v].alias == b || p->value[v].alias == a;
                if (chained || right == p->value[a].offset) continue;
                p->value[b].offset = p->value[a].offset;
                assert_false(run_all(&w, plan));
                assert_true(w.why[0]);
                p->value[b].offset = right;
                moved++;
            }
        assert_true(run_all(&w, plan));
        dram_plan_free(plan);
        close_world(&w);
    }
    assert_true(moved > 100);
}

static void the_same_graph_has_the_same_plan(void **state)
{
    (void)state;
    world w;
    open_world(&w, 1, 80, 5);
    dram_plan *a = fake_plan(w.graph, 1, &w.slots, true, true), *b = fake_plan(w.graph, 1, &w.slots, true, true);
    assert_int_equal(a->arena_bytes, b->arena_bytes);
    assert_memory_equal(a->programs[0].value, b->programs[0].value,
                        (size_t)w.graph[0]->n_values * sizeof(dram_place_of_value));
    assert_memory_equal(a->programs[0].workspace_offset, b->programs[0].workspace_offset,
                        (size_t)w.graph[0]->n_nodes * sizeof(int64_t));
    dram_plan_free(a);
    dram_plan_free(b);
    close_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_living_byte_is_overwritten),
        cmocka_unit_test(a_wrong_plan_is_seen),
        cmocka_unit_test(the_same_graph_has_the_same_plan),
    };
    return cmocka_run_group_tests(tests, fake_setup, NULL);
}
