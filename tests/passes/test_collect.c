/* Sums over ranks stand in buckets behind what they add; what reads them stands before the next bucket; the plan holds
 * their bytes until the queues join. */
#include "passes/collect.h"
#include "passes/fuse.h"
#include "passes/passes.h"
#include "support/fakes.h"

enum { LAYERS = 5, BYTES = 4096, WORK = 1024 };

typedef struct {
    dram_slots slots;
    dram_graph *g;
    dram_val weight[LAYERS], gradient[LAYERS], sum[LAYERS];
    dram_plan *plan;
} net;

static dram_val node(net *n, dram_op op, const char *name, int k, dram_val a, dram_val b)
{
    char full[32];
    snprintf(full, sizeof full, "%s%d", name, k);
    return fake_node(n->g, op, full, BYTES, 0, b == DRAM_NONE ? 1 : 2, a, b, DRAM_NONE);
}

static dram_val small(net *n, dram_op op, const char *name, int k, const dram_val *in, int n_in)
{
    char full[32];
    dram_val out[DRAM_MAX_OUT];
    snprintf(full, sizeof full, "%s%d", name, k);
    dram_graph_add(n->g, op, full, &(dram_attr){.out_h = op == DRAM_OP_adamw ? 0 : 64}, in, n_in, out);
    assert_int_equal(n->g->status, DRAM_OK);
    return out[0];
}

/* Forward and backward of a chain of layers, each a block of its own. */
static void build_backward(net *n)
{
    char name[32];
    dram_val x[LAYERS + 1], d;
    int block[LAYERS];
    *n = (net){0};
    assert_int_equal(dram_graph_new("step", &n->slots, &n->g), DRAM_OK);
    x[0] = dram_graph_input(n->g, "image", DRAM_U8, DRAM_SHAPE(BYTES));
    for (int k = 0; k < LAYERS; k++) {
        snprintf(name, sizeof name, "w%d", k);
        n->weight[k] = fake_slot(n->g, "student", name, BYTES, DRAM_CATEGORY_STUDENT_WEIGHTS);
        dram_block_enter(n->g);
        block[k] = n->g->block;
        x[k + 1] = node(n, DRAM_OP_conv2d, "conv", k, x[k], n->weight[k]);
        dram_block_leave(n->g);
    }
    d = x[LAYERS];
    n->g->backward_begin = n->g->n_nodes;
    for (int k = LAYERS - 1; k >= 0; k--) {
        n->g->block = block[k];
        n->gradient[k] = node(n, DRAM_OP_conv2d_wgrad, "wgrad", k, x[k], d);
        d = node(n, DRAM_OP_conv2d_dgrad, "dgrad", k, d, n->weight[k]);
    }
    n->g->block = 0;
}

/* The last node is the sum of a weight's gradient; one that is not has no bucket, and stays. */
static void is_of_a_weight(net *n)
{
    n->g->nodes[n->g->n_nodes - 1]->attr.bucket = 1;
}

static void append_sums(net *n)
{
    char name[32];
    for (int k = LAYERS - 1; k >= 0; k--) {
        snprintf(name, sizeof name, "sum%d", k);
        n->sum[k] = fake_node(n->g, DRAM_OP_all_reduce, name, BYTES, WORK, 1, n->gradient[k], DRAM_NONE, DRAM_NONE);
        is_of_a_weight(n);
    }
}

/* Each weight after the norm so far, or all after the whole norm. */
static void append_updates(net *n, bool fused)
{
    char m[32], v[32];
    dram_val hyper = dram_graph_input(n->g, "hyper", DRAM_U8, DRAM_SHAPE(16)), sum = DRAM_NONE, clip = DRAM_NONE;
    for (int k = LAYERS - 1; k >= 0; k--) {
        sum = small(n, DRAM_OP_sumsq, "squares", k, (dram_val[]){n->sum[k], sum}, 2);
        if (!fused && k) continue;
        clip = small(n, DRAM_OP_clip_factor, "clip", k, &sum, 1);
        for (int i = fused ? k : LAYERS - 1; i >= k; i--) {
            snprintf(m, sizeof m, "m%d", i);
            snprintf(v, sizeof v, "v%d", i);
            dram_val first = fake_slot(n->g, "optimizer", m, BYTES, DRAM_CATEGORY_OPTIMIZER);
            dram_val second = fake_slot(n->g, "optimizer", v, BYTES, DRAM_CATEGORY_OPTIMIZER);
            small(n, DRAM_OP_adamw, "adamw", i, (dram_val[]){n->weight[i], n->sum[i], first, second, hyper, clip}, 6);
        }
    }
}

static void build(net *n, int64_t bucket, bool fused)
{
    build_backward(n);
    append_sums(n);
    append_updates(n, fused);
    assert_int_equal(dram_collect(n->g, bucket), DRAM_OK);
    if (fused) assert_int_equal(dram_fuse_updates(n->g), DRAM_OK);
}

static void destroy(net *n)
{
    dram_plan_free(n->plan);
    dram_graph_free(n->g);
    dram_slots_free(&n->slots);
}

/* The order from a node on: names with a space behind each, conv left out. */
static void assert_order(const net *n, const char *want)
{
    char text[1200] = "";
    for (int i = n->g->backward_begin; i < n->g->n_nodes; i++) {
        size_t at = strlen(text);
        snprintf(text + at, sizeof text - at, "%s%s", i > n->g->backward_begin ? " " : "", n->g->nodes[i]->name);
    }
    assert_string_equal(text, want);
}

static int place_of(const net *n, const char *name)
{
    for (int i = 0; i < n->g->n_nodes; i++)
        if (strcmp(n->g->nodes[i]->name, name) == 0) return i;
    fail_msg("no node %s", name);
    return -1;
}

/* Two gradients a bucket, and one that is left; the updates of a bucket before the next one, in the block that is then
 * being undone. */
static void buckets_with_lag_one(void **state)
{
    (void)state;
    net n;
    build(&n, 2 * BYTES, true);
    assert_order(&n, "wgrad4 dgrad4 wgrad3 sum4 sum3 dgrad3 wgrad2 dgrad2 wgrad1 "
                     "squares4 clip4 squares3 adamw4 clip3 adamw3 sum2 sum1 dgrad1 wgrad0 "
                     "squares2 clip2 squares1 adamw2 clip1 adamw1 sum0 squares0 clip0 dgrad0 adamw0");
    static const struct {
        const char *name;
        int bucket, block;
    } want[] = {{"sum4", 1, 4}, {"sum3", 1, 4}, {"sum2", 2, 2}, {"sum1", 2, 2}, {"sum0", 3, 1}};
    for (int i = 0; i < LAYERS; i++) {
        const dram_node *sum = n.g->nodes[place_of(&n, want[i].name)];
        assert_int_equal(sum->attr.bucket, want[i].bucket);
        assert_int_equal(sum->block, want[i].block);
        assert_int_equal(sum->queue, DRAM_QUEUE_COMM);
    }
    assert_int_equal(n.g->nodes[place_of(&n, "adamw4")]->block, 2);
    destroy(&n);
}

static void a_small_and_a_large_bucket(void **state)
{
    (void)state;
    net n;
    build(&n, 1, true);
    assert_order(&n,
                 "wgrad4 sum4 dgrad4 wgrad3 squares4 clip4 adamw4 sum3 dgrad3 wgrad2 squares3 clip3 adamw3 sum2 dgrad2 "
                 "wgrad1 squares2 clip2 adamw2 sum1 dgrad1 wgrad0 squares1 clip1 adamw1 sum0 squares0 clip0 dgrad0 "
                 "adamw0");
    destroy(&n);
    build(&n, 100 * BYTES, true);
    assert_order(
        &n, "wgrad4 dgrad4 wgrad3 dgrad3 wgrad2 dgrad2 wgrad1 dgrad1 wgrad0 sum4 sum3 sum2 sum1 sum0 squares4 clip4 "
            "squares3 adamw4 clip3 squares2 adamw3 clip2 squares1 adamw2 clip1 squares0 adamw1 clip0 dgrad0 "
            "adamw0");
    destroy(&n);
}

/* What waits for the whole norm stays at the end: every bucket but the last is under way while the backward goes on. */
static void clipping_waits_for_all(void **state)
{
    (void)state;
    net n;
    build(&n, 2 * BYTES, false);
    assert_order(&n, "wgrad4 dgrad4 wgrad3 sum4 sum3 dgrad3 wgrad2 dgrad2 wgrad1 sum2 sum1 dgrad1 wgrad0 sum0 dgrad0 "
                     "squares4 squares3 squares2 squares1 squares0 clip0 adamw4 adamw3 adamw2 adamw1 adamw0");
    destroy(&n);
}

/* Two gradients of one node are not parted, whatever the bucket. */
static void gradients_of_one_node(void **state)
{
    (void)state;
    net n = {0};
    dram_val out[DRAM_MAX_OUT];
    assert_int_equal(dram_graph_new("step", &n.slots, &n.g), DRAM_OK);
    dram_val x = dram_graph_input(n.g, "x", DRAM_U8, DRAM_SHAPE(BYTES));
    n.g->backward_begin = 1;
    node(&n, DRAM_OP_relu, "forward", 0, x, DRAM_NONE);
    dram_graph_add(n.g, DRAM_OP_layernorm_grad, "grad", &(dram_attr){.out_h = BYTES}, (dram_val[]){x, x, x}, 3, out);
    node(&n, DRAM_OP_relu, "later", 0, out[0], DRAM_NONE);
    for (int o = 0; o < 3; o++) {
        node(&n, DRAM_OP_all_reduce, "sum", o, out[o], DRAM_NONE);
        is_of_a_weight(&n);
    }
    node(&n, DRAM_OP_all_reduce, "other", 0, out[0], DRAM_NONE);
    assert_int_equal(dram_collect(n.g, 1), DRAM_OK);
    assert_order(&n, "grad sum0 sum1 sum2 later0 other0");
    for (int o = 0; o < 3; o++) assert_int_equal(n.g->nodes[2 + o]->attr.bucket, 1);
    destroy(&n);
}

/* Slots that were added up: there from the start, in place, a bucket's squares before the next bucket. */
static void the_update_by_itself(void **state)
{
    (void)state;
    net n = {0};
    char name[32];
    dram_val out[DRAM_MAX_OUT];
    assert_int_equal(dram_graph_new("update", &n.slots, &n.g), DRAM_OK);
    for (int k = LAYERS - 1; k >= 0; k--) {
        snprintf(name, sizeof name, "w%d", k);
        n.weight[k] = fake_slot(n.g, "student", name, BYTES, DRAM_CATEGORY_STUDENT_WEIGHTS);
        n.gradient[k] = fake_slot(n.g, "gradient", name, BYTES, DRAM_CATEGORY_GRADIENTS);
    }
    for (int k = LAYERS - 1; k >= 0; k--) {
        n.sum[k] = small(&n, DRAM_OP_all_reduce_into, "sum", k, &n.gradient[k], 1);
        is_of_a_weight(&n);
    }
    append_updates(&n, false);
    for (int k = LAYERS - 1; k >= 0; k--) dram_graph_add(n.g, DRAM_OP_clear, "clear", NULL, &n.sum[k], 1, out);
    assert_int_equal(dram_passes_update(n.g, 2 * BYTES), DRAM_OK);
    assert_order(&n, "sum4 sum3 squares4 squares3 sum2 sum1 squares2 squares1 sum0 squares0 clip0 adamw4 adamw3 adamw2 "
                     "adamw1 adamw0 clear clear~2 clear~3 clear~4 clear~5");
    n.plan = fake_plan(&n.g, 1, &n.slots, true, true);
    for (int k = 0; k < LAYERS; k++) /* the sum is the slot */
        assert_int_equal(n.plan->programs[0].value[n.sum[k]].offset, n.plan->programs[0].value[n.gradient[k]].offset);
    destroy(&n);
}

/* Sums of micro-batches of which a rank keeps a piece are sums as well; they have bytes of their own. */
static void pieces_of_sums(void **state)
{
    (void)state;
    net n;
    char name[32];
    dram_val out[DRAM_MAX_OUT];
    build_backward(&n);
    for (int k = LAYERS - 1; k >= 0; k--) {
        snprintf(name, sizeof name, "g%d", k);
        dram_val slot = fake_slot(n.g, "gradient", name, BYTES / 4, DRAM_CATEGORY_GRADIENTS);
        snprintf(name, sizeof name, "sum%d", k);
        n.sum[k] =
            fake_node(n.g, DRAM_OP_reduce_scatter, name, BYTES / 4, WORK, 1, n.gradient[k], DRAM_NONE, DRAM_NONE);
        is_of_a_weight(&n);
        snprintf(name, sizeof name, "add%d", k);
        dram_graph_add(n.g, DRAM_OP_accumulate, name, NULL, (dram_val[]){slot, n.sum[k]}, 2, out);
    }
    assert_int_equal(dram_collect(n.g, 2 * BYTES), DRAM_OK);
    assert_int_equal(dram_fuse_updates(n.g), DRAM_OK);
    assert_order(&n, "wgrad4 dgrad4 wgrad3 sum4 sum3 dgrad3 wgrad2 dgrad2 wgrad1 add4 add3 sum2 sum1 dgrad1 wgrad0 "
                     "add2 add1 sum0 add0 dgrad0");
    destroy(&n);
}

/* What was put into buckets to be gathered stays there: a bucket's squares before the next bucket is gathered. */
static void gathers_in_buckets(void **state)
{
    (void)state;
    net n = {0};
    char name[32];
    assert_int_equal(dram_graph_new("update", &n.slots, &n.g), DRAM_OK);
    for (int k = 0; k < LAYERS; k++) {
        snprintf(name, sizeof name, "w%d", k);
        n.weight[k] = fake_slot(n.g, "student", name, BYTES, DRAM_CATEGORY_STUDENT_WEIGHTS);
        n.gradient[k] = fake_slot(n.g, "gradient", name, BYTES / 4, DRAM_CATEGORY_GRADIENTS);
    }
    n.sum[0] = small(&n, DRAM_OP_all_reduce_into, "sum", 0, &n.gradient[0], 1);
    is_of_a_weight(&n);
    dram_val squares = small(&n, DRAM_OP_sumsq, "squares", 0, &n.sum[0], 1);
    for (int k = 1; k < LAYERS; k += 2) {
        for (int i = k; i < k + 2; i++) {
            snprintf(name, sizeof name, "whole%d", i);
            n.sum[i] = fake_node(n.g, DRAM_OP_all_gather, name, BYTES, 0, 1, n.gradient[i], DRAM_NONE, DRAM_NONE);
            n.g->nodes[n.g->n_nodes - 1]->attr.bucket = 1 + k / 2;
        }
        for (int i = k; i < k + 2; i++)
            squares = small(&n, DRAM_OP_sumsq, "squares", i, (dram_val[]){n.sum[i], squares}, 2);
    }
    small(&n, DRAM_OP_clip_factor, "clip", 0, &squares, 1);
    assert_int_equal(dram_passes_update(n.g, 1), DRAM_OK);
    assert_order(&n, "sum0 squares0 whole1 whole2 squares1 squares2 whole3 whole4 squares3 squares4 clip0");
    destroy(&n);
}

/* A sum lies where its gradient was, to where the queues join. Workspaces of a bucket lie side by side, those of buckets
 * take turns in the same bytes. */
static void bytes_are_held_to_the_joins(void **state)
{
    (void)state;
    for (int fused = 0; fused < 2; fused++) {
        net n;
        build(&n, 2 * BYTES, fused);
        n.plan = fake_plan(&n.g, 1, &n.slots, true, true);
        const dram_program *p = &n.plan->programs[0];
        for (int k = 0; k < LAYERS; k++) {
            assert_int_equal(p->value[n.sum[k]].alias, n.gradient[k]);
            assert_int_equal(p->value[n.sum[k]].offset, p->value[n.gradient[k]].offset);
            assert_int_equal(p->value[n.gradient[k]].last, n.g->values[n.sum[k]]->producer);
        }
        int a = place_of(&n, "sum4"), b = place_of(&n, "sum3"), c = place_of(&n, "sum2"), d = place_of(&n, "sum0");
        assert_int_equal(p->workspace_offset[b], p->workspace_offset[a] + WORK);
        assert_int_equal(p->workspace_offset[c], p->workspace_offset[a]);
        assert_int_equal(p->workspace_offset[d], p->workspace_offset[a]);
        /* from the first sum to the join of the last, nothing else is there */
        int joined = place_of(&n, "squares0");
        for (int v = 0; v < n.g->n_values; v++) {
            const dram_place_of_value *at = &p->value[v];
            if (n.g->values[v]->slot != DRAM_NONE || at->last < a || at->first > joined) continue;
            assert_true(at->offset + at->bytes <= p->workspace_offset[a] ||
                        at->offset >= p->workspace_offset[a] + 2 * WORK);
        }
        destroy(&n);
    }
}

/* Three in a bucket: three pieces of scratch. */
static void neighbours_have_scratch_of_their_own(void **state)
{
    (void)state;
    net n;
    build(&n, 3 * BYTES, false);
    n.plan = fake_plan(&n.g, 1, &n.slots, true, true);
    const dram_program *p = &n.plan->programs[0];
    int a = place_of(&n, "sum4");
    for (int k = 0; k < 3; k++) assert_int_equal(p->workspace_offset[a + k], p->workspace_offset[a] + k * WORK);
    for (int v = 0; v < n.g->n_values; v++) {
        const dram_place_of_value *at = &p->value[v];
        if (n.g->values[v]->slot != DRAM_NONE || at->last < a || at->first > a + 2 || !at->bytes) continue;
        assert_true(at->offset + at->bytes <= p->workspace_offset[a] ||
                    at->offset >= p->workspace_offset[a] + 3 * WORK);
    }
    destroy(&n);
}

/* A copy may still read what a sum would write over: then the sum has bytes of its own. One that waits for the copy, or
 * comes after what compute has read, lies where its input was. */
static void a_sum_in_place_has_its_input_alone(void **state)
{
    (void)state;
    for (int late = 0; late < 2; late++) {
        net n = {0};
        assert_int_equal(dram_graph_new("step", &n.slots, &n.g), DRAM_OK);
        dram_val x = dram_graph_input(n.g, "x", DRAM_U8, DRAM_SHAPE(BYTES));
        dram_val v = node(&n, DRAM_OP_relu, "v", 0, x, DRAM_NONE);
        dram_val beside = node(&n, DRAM_OP_gelu, "beside", 0, v, DRAM_NONE);
        n.g->nodes[n.g->n_nodes - 1]->queue = late ? DRAM_QUEUE_COPY : DRAM_QUEUE_COMPUTE;
        dram_val sum = node(&n, DRAM_OP_all_reduce, "sum", 0, v, DRAM_NONE);
        dram_val y = node(&n, DRAM_OP_relu, "y", 0, sum, DRAM_NONE);
        dram_graph_output(n.g, node(&n, DRAM_OP_add, "z", 0, y, beside));
        n.plan = fake_plan(&n.g, 1, &n.slots, true, true);
        assert_int_equal(n.plan->programs[0].value[sum].alias, late ? DRAM_NONE : v);
        destroy(&n);
    }
}

/* Bytes of gradients at the fullest node, and at most two buckets of them are alive under fused updates. */
static void two_buckets_are_alive(void **state)
{
    (void)state;
    for (int bucket = 1; bucket <= 2; bucket++) {
        net n;
        build(&n, bucket * BYTES, true);
        n.plan = fake_plan(&n.g, 1, &n.slots, true, true);
        const dram_program *p = &n.plan->programs[0];
        int64_t most = 0;
        for (int i = 0; i < n.g->n_nodes; i++) {
            int64_t alive = 0;
            for (int k = 0; k < LAYERS; k++)
                if (p->value[n.gradient[k]].first <= i && p->value[n.sum[k]].last >= i) alive += BYTES;
            if (alive > most) most = alive;
        }
        assert_int_equal(most, 2 * bucket * BYTES);
        destroy(&n);
    }
}

/* The floor is a node alone: with sums it is as without. And without sums nothing is moved. */
static void one_rank_is_what_it_was(void **state)
{
    (void)state;
    net with, without;
    build(&with, BYTES, true);
    build_backward(&without);
    for (int k = 0; k < LAYERS; k++) without.sum[k] = without.gradient[k];
    append_updates(&without, true);
    dram_node *before[64];
    assert_true(without.g->n_nodes <= 64);
    memcpy(before, without.g->nodes, (size_t)without.g->n_nodes * sizeof *before);
    assert_int_equal(dram_collect(without.g, BYTES), DRAM_OK);
    assert_memory_equal(before, without.g->nodes, (size_t)without.g->n_nodes * sizeof *before);
    assert_int_equal(dram_fuse_updates(without.g), DRAM_OK);
    with.plan = fake_plan(&with.g, 1, &with.slots, true, true);
    without.plan = fake_plan(&without.g, 1, &without.slots, true, true);
    assert_int_equal(with.plan->floor_bytes, without.plan->floor_bytes);
    destroy(&with);
    destroy(&without);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buckets_with_lag_one),
        cmocka_unit_test(a_small_and_a_large_bucket),
        cmocka_unit_test(clipping_waits_for_all),
        cmocka_unit_test(gradients_of_one_node),
        cmocka_unit_test(the_update_by_itself),
        cmocka_unit_test(pieces_of_sums),
        cmocka_unit_test(gathers_in_buckets),
        cmocka_unit_test(bytes_are_held_to_the_joins),
        cmocka_unit_test(neighbours_have_scratch_of_their_own),
        cmocka_unit_test(a_sum_in_place_has_its_input_alone),
        cmocka_unit_test(two_buckets_are_alive),
        cmocka_unit_test(one_rank_is_what_it_was),
    };
    return cmocka_run_group_tests(tests, fake_setup, NULL);
}
