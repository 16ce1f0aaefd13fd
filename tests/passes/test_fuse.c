/* Updates are brought to the earliest place they may have, and no result can tell. */
#include "passes/fuse.h"
#include "support/fakes.h"

enum { LAYERS = 5, BYTES = 4096 };

typedef struct {
    dram_slots slots;
    dram_graph *g;
    dram_val weight[LAYERS], gradient[LAYERS];
} net;

static dram_val node(net *n, dram_op op, const char *name, int k, dram_val a, dram_val b)
{
    char full[32];
    snprintf(full, sizeof full, "%s%d", name, k);
    return fake_node(n->g, op, full, BYTES, 0, b == DRAM_NONE ? 1 : 2, a, b, DRAM_NONE);
}

/* Forward and backward of a chain of layers: layer k's gradient is made before its dgrad reads its weight. */
static void build(net *n)
{
    char name[32];
    dram_val x[LAYERS + 1], d;
    *n = (net){0};
    assert_int_equal(dram_graph_new("step", &n->slots, &n->g), DRAM_OK);
    x[0] = dram_graph_input(n->g, "image", DRAM_U8, DRAM_SHAPE(BYTES));
    for (int k = 0; k < LAYERS; k++) {
        snprintf(name, sizeof name, "w%d", k);
        n->weight[k] = fake_slot(n->g, "student", name, BYTES, DRAM_CATEGORY_STUDENT_WEIGHTS);
        x[k + 1] = node(n, DRAM_OP_conv2d, "conv", k, x[k], n->weight[k]);
    }
    d = x[LAYERS];
    n->g->backward_begin = n->g->n_nodes;
    for (int k = LAYERS - 1; k >= 0; k--) {
        n->gradient[k] = node(n, DRAM_OP_conv2d_wgrad, "wgrad", k, x[k], d);
        d = node(n, DRAM_OP_conv2d_dgrad, "dgrad", k, d, n->weight[k]);
    }
}

static void destroy(net *n)
{
    dram_graph_free(n->g);
    dram_slots_free(&n->slots);
}

static dram_val state_of(net *n, int k, const char *kind)
{
    char name[32];
    snprintf(name, sizeof name, "%s%d", kind, k);
    return fake_slot(n->g, "optimizer", name, BYTES, DRAM_CATEGORY_OPTIMIZER);
}

static dram_val append(net *n, dram_op op, const char *name, const dram_val *in, int n_in)
{
    dram_val out[DRAM_MAX_OUT];
    dram_graph_add(n->g, op, name, &(dram_attr){.out_h = op == DRAM_OP_sumsq || op == DRAM_OP_clip_factor ? 64 : 0}, in,
                   n_in, out);
    assert_int_equal(n->g->status, DRAM_OK);
    return out[0];
}

static void append_update(net *n, int k, dram_val hyper, dram_val clip)
{
    dram_val m = state_of(n, k, "m"), v = state_of(n, k, "v");
    append(n, DRAM_OP_adamw, "adamw", (dram_val[]){n->weight[k], n->gradient[k], m, v, hyper, clip}, 6);
}

static int place_of(const net *n, const char *name)
{
    for (int i = 0; i < n->g->n_nodes; i++)
        if (strcmp(n->g->nodes[i]->name, name) == 0) return i;
    fail_msg("no node %s", name);
    return -1;
}

static void check_graph(const net *n)
{
    for (int i = 0; i < n->g->n_nodes; i++)
        for (int o = 0; o < n->g->nodes[i]->n_out; o++)
            assert_int_equal(n->g->values[n->g->nodes[i]->out[o]]->producer, i);
    for (int i = 0; i < n->g->n_nodes; i++)
        for (int k = 0; k < n->g->nodes[i]->n_in; k++)
            if (n->g->nodes[i]->in[k] != DRAM_NONE) assert_true(n->g->values[n->g->nodes[i]->in[k]]->producer < i);
}

static int64_t gradients_alive(const net *n)
{
    dram_plan *plan;
    dram_profile profile = dram_profile_cpu(1);
    if (dram_plan_make(&(const dram_graph *){n->g}, 1, &n->slots, &profile, DRAM_PLAN_USUAL, &plan) != DRAM_OK)
        fail_msg("%s", dram_error_text());
    int64_t bytes = 0;
    for (int i = 0; i < n->g->n_nodes; i++) {
        int64_t alive = 0;
        for (int k = 0; k < LAYERS; k++) {
            const dram_place_of_value *v = &plan->programs[0].value[n->gradient[k]];
            if (v->first <= i && v->last >= i) alive += v->bytes;
        }
        if (alive > bytes) bytes = alive;
    }
    dram_plan_free(plan);
    return bytes;
}

/* Norm, factor and update of each weight behind its last reader; one gradient alive at a time. */
static void fused(void **state)
{
    (void)state;
    net n;
    build(&n);
    dram_val hyper = dram_graph_input(n.g, "hyper", DRAM_U8, DRAM_SHAPE(16)), sum = DRAM_NONE;
    for (int k = LAYERS - 1; k >= 0; k--) {
        sum = append(&n, DRAM_OP_sumsq, "squares", (dram_val[]){n.gradient[k], sum}, 2);
        append_update(&n, k, hyper, append(&n, DRAM_OP_clip_factor, "clip", &sum, 1));
    }
    /* A repeated forward, which comes into the backward after the update was built. */
    fake_node(n.g, DRAM_OP_cast, "again", BYTES, 0, 1, n.gradient[4], DRAM_NONE, DRAM_NONE);
    dram_node *last = n.g->nodes[n.g->n_nodes - 1];
    int to = place_of(&n, "dgrad1");
    memmove(n.g->nodes + to + 1, n.g->nodes + to, (size_t)(n.g->n_nodes - 1 - to) * sizeof(dram_node *));
    n.g->nodes[to] = last;
    for (int i = 0; i < n.g->n_nodes; i++)
        for (int o = 0; o < n.g->nodes[i]->n_out; o++) n.g->values[n.g->nodes[i]->out[o]]->producer = i;
    last->in[0] = n.weight[3]; /* the weight itself, not what the update has made of it */
    assert_int_equal(gradients_alive(&n), LAYERS * BYTES);
    assert_int_equal(dram_fuse_updates(n.g), DRAM_OK);
    check_graph(&n);
    for (int k = 0; k < LAYERS; k++) {
        char name[32], grad[32];
        snprintf(grad, sizeof grad, "dgrad%d", k);
        if (k == LAYERS - 1)
            snprintf(name, sizeof name, "adamw");
        else
            snprintf(name, sizeof name, "adamw~%d", LAYERS - k);
        const char *after = k == 3 ? "again" : grad;
        assert_int_equal(place_of(&n, name), place_of(&n, after) + 1);
    }
    assert_int_equal(place_of(&n, "squares"), place_of(&n, "wgrad4") + 1);
    assert_int_equal(place_of(&n, "clip"), place_of(&n, "wgrad4") + 2);
    assert_true(gradients_alive(&n) <= 3 * BYTES); /* two wait for their weight's last reader: 3's comes late */
    /* It is where it should be: nothing moves a second time. */
    dram_node *order[128];
    assert_true(n.g->n_nodes < 128);
    memcpy(order, n.g->nodes, (size_t)n.g->n_nodes * sizeof *order);
    assert_int_equal(dram_fuse_updates(n.g), DRAM_OK);
    assert_memory_equal(order, n.g->nodes, (size_t)n.g->n_nodes * sizeof *order);
    destroy(&n);
}

/* A norm that gets no gradient of its own, and the low-precision copy of a weight: what reads their outputs may come to
 * read the weights themselves, when recompute makes the outputs again there. */
static void behind_what_may_be_made_again(void **state)
{
    (void)state;
    for (int copied = 0; copied < 2; copied++) {
        net n = {0};
        assert_int_equal(dram_graph_new("step", &n.slots, &n.g), DRAM_OK);
        dram_val x = dram_graph_input(n.g, "image", DRAM_U8, DRAM_SHAPE(BYTES));
        dram_val w = n.weight[0] = fake_slot(n.g, "student", "w", BYTES, DRAM_CATEGORY_STUDENT_WEIGHTS);
        dram_val made = copied ? fake_node(n.g, DRAM_OP_cast, "cast", BYTES, 0, 1, w, DRAM_NONE, DRAM_NONE)
                               : fake_node(n.g, DRAM_OP_layernorm, "norm", BYTES, 0, 3, x, w, w);
        dram_val y = node(&n, DRAM_OP_conv2d, "conv", 0, x, w);
        n.g->backward_begin = n.g->n_nodes;
        n.gradient[0] = node(&n, DRAM_OP_conv2d_wgrad, "wgrad", 0, x, y);
        dram_val d = node(&n, DRAM_OP_relu_grad, "other", 0, y, y);
        dram_graph_output(n.g, node(&n, DRAM_OP_conv2d_wgrad, "reader", 0, made, d));
        dram_val hyper = dram_graph_input(n.g, "hyper", DRAM_U8, DRAM_SHAPE(16));
        dram_val sum = append(&n, DRAM_OP_sumsq, "squares", &n.gradient[0], 1);
        append_update(&n, 0, hyper, append(&n, DRAM_OP_clip_factor, "clip", &sum, 1));
        assert_int_equal(dram_fuse_updates(n.g), DRAM_OK);
        check_graph(&n);
        assert_int_equal(place_of(&n, "clip"), place_of(&n, "wgrad0") + 2);
        assert_int_equal(place_of(&n, "adamw"), place_of(&n, "reader0") + 1);
        destroy(&n);
    }
}

/* With one norm over all gradients, the updates wait for it. */
static void unfused(void **state)
{
    (void)state;
    net n;
    build(&n);
    int nodes = n.g->n_nodes;
    dram_val hyper = dram_graph_input(n.g, "hyper", DRAM_U8, DRAM_SHAPE(16)), sum = DRAM_NONE;
    for (int k = 0; k < LAYERS; k++) sum = append(&n, DRAM_OP_sumsq, "squares", (dram_val[]){n.gradient[k], sum}, 2);
    dram_val clip = append(&n, DRAM_OP_clip_factor, "clip", &sum, 1);
    for (int k = 0; k < LAYERS; k++) append_update(&n, k, hyper, clip);
    assert_int_equal(dram_fuse_updates(n.g), DRAM_OK);
    check_graph(&n);
    /* The first sum is that of the first layer, whose gradient comes last but for one dgrad, which reads its weight. */
    assert_int_equal(place_of(&n, "squares"), nodes - 1);
    assert_int_equal(place_of(&n, "clip"), nodes - 1 + LAYERS);
    assert_int_equal(place_of(&n, "adamw~2"), place_of(&n, "clip") + 1);
    assert_int_equal(place_of(&n, "adamw~5"), place_of(&n, "adamw~2") + 3);
    assert_int_equal(place_of(&n, "adamw"), place_of(&n, "dgrad0") + 1);
    assert_int_equal(gradients_alive(&n), LAYERS * BYTES);
    destroy(&n);
}

/* A micro-batch's gradients go into their sums at once. */
static void accumulated(void **state)
{
    (void)state;
    net n;
    build(&n);
    for (int k = 0; k < LAYERS; k++)
        append(&n, DRAM_OP_accumulate, "accumulate", (dram_val[]){state_of(&n, k, "sum"), n.gradient[k]}, 2);
    assert_int_equal(dram_fuse_updates(n.g), DRAM_OK);
    check_graph(&n);
    for (int k = 0; k < LAYERS; k++) {
        char name[32], grad[32];
        snprintf(grad, sizeof grad, "wgrad%d", k);
        snprintf(name, sizeof name, k ? "accumulate~%d" : "accumulate", k + 1);
        assert_int_equal(place_of(&n, name), place_of(&n, grad) + 1);
    }
    assert_int_equal(gradients_alive(&n), BYTES);
    destroy(&n);
}

/* The update of what was accumulated: nothing but nodes that move, and their clearing behind them. */
static void update_alone(void **state)
{
    (void)state;
    net n = {0};
    assert_int_equal(dram_graph_new("update", &n.slots, &n.g), DRAM_OK);
    dram_val hyper = dram_graph_input(n.g, "hyper", DRAM_U8, DRAM_SHAPE(16)), sum = DRAM_NONE;
    for (int k = 0; k < LAYERS; k++) {
        n.weight[k] = state_of(&n, k, "w");
        n.gradient[k] = state_of(&n, k, "sum");
        sum = append(&n, DRAM_OP_sumsq, "squares", (dram_val[]){n.gradient[k], sum}, 2);
    }
    dram_val clip = append(&n, DRAM_OP_clip_factor, "clip", &sum, 1);
    for (int k = 0; k < LAYERS; k++) append_update(&n, k, hyper, clip);
    for (int k = 0; k < LAYERS; k++) append(&n, DRAM_OP_clear, "clear", &n.gradient[k], 1);
    dram_node *order[128];
    memcpy(order, n.g->nodes, (size_t)n.g->n_nodes * sizeof *order);
    assert_int_equal(dram_fuse_updates(n.g), DRAM_OK);
    assert_memory_equal(order, n.g->nodes, (size_t)n.g->n_nodes * sizeof *order);
    check_graph(&n);
    destroy(&n);
    net empty = {0};
    assert_int_equal(dram_graph_new("empty", &empty.slots, &empty.g), DRAM_OK);
    assert_int_equal(dram_fuse_updates(empty.g), DRAM_OK);
    destroy(&empty);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fused),        cmocka_unit_test(behind_what_may_be_made_again),
        cmocka_unit_test(unfused),      cmocka_unit_test(accumulated),
        cmocka_unit_test(update_alone),
    };
    return cmocka_run_group_tests(tests, fake_setup, NULL);
}
